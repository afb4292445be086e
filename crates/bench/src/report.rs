//! Figures and how they are shown.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::machine::Usage;

/// One side of a run.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// In the measure's unit.
    pub value: f64,
    /// CPU seconds of the process that did the work, while it was measured.
    pub cpu_s: f64,
    /// The most memory that it had, in MB.
    pub peak_mb: f64,
}

impl Side {
    /// From what its process had used before and after.
    pub fn new(value: f64, before: Usage, after: Usage) -> Self {
        Self { value, cpu_s: after.cpu_s - before.cpu_s, peak_mb: after.peak_mb }
    }
}

/// One measure: ours and the peer's, run by run.
#[derive(Debug)]
pub struct Figure {
    pub measure: &'static str,
    pub unit: &'static str,
    /// Who the peer is; empty if there is none.
    pub peer: &'static str,
    pub runs: Vec<(Side, Option<Side>)>,
}

/// The middle value; of an even number, the greater of the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The value below which `share` (0 to 1) of `sorted` lie.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Too little time to be a measurement.
const SHORT: Duration = Duration::from_millis(500);

/// A second's share of what came after the first look that saw something, so that nobody's start counts; each look is its time and
/// the total. When that was too short to mean anything it is said, and the start counts too: never more than it was.
pub fn rate_since(began: Instant, first: (Instant, u64), last: (Instant, u64)) -> f64 {
    let (took, came) = (last.0 - first.0, last.1 - first.1);
    if took >= SHORT {
        return came as f64 / took.as_secs_f64();
    }
    eprintln!("bench: too few events to measure: the figure has the start in it");
    last.1 as f64 / (last.0 - began).as_secs_f64()
}

impl Figure {
    /// A measure without runs yet.
    pub fn new(measure: &'static str, unit: &'static str, peer: &'static str) -> Self {
        Self { measure, unit, peer, runs: Vec::new() }
    }

    fn ours(&self, of: impl Fn(&Side) -> f64) -> f64 {
        median(self.runs.iter().map(|(ours, _)| of(ours)).collect())
    }

    fn theirs(&self, of: impl Fn(&Side) -> f64) -> Option<f64> {
        let theirs: Vec<f64> = self.runs.iter().filter_map(|(_, peer)| peer.as_ref().map(&of)).collect();
        (!theirs.is_empty()).then(|| median(theirs))
    }

    /// One object, for one line.
    pub fn json(&self, machine: &str, versions: &str) -> Value {
        let (ours, peer) = (self.ours(|s| s.value), self.theirs(|s| s.value));
        json!({
            "measure": self.measure, "unit": self.unit, "ours": ours, "peer": peer,
            "ratio": peer.map(|peer| ours / peer),
            "runs": self.runs.iter().map(|(ours, peer)| json!([ours.value, peer.map(|p| p.value)])).collect::<Vec<_>>(),
            "cpu_s": [self.ours(|s| s.cpu_s), self.theirs(|s| s.cpu_s)],
            "peak_mb": [self.ours(|s| s.peak_mb), self.theirs(|s| s.peak_mb)],
            "peer_name": (!self.peer.is_empty() && peer.is_some()).then_some(self.peer),
            "machine": machine, "versions": versions,
        })
    }
}

/// As many digits as mean something.
fn digits(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// What stands above the lines of [`row`].
pub fn heading(machine: &str, versions: &str) {
    println!("{machine}\n{versions}");
    println!(
        "{:<16} {:>9} {:>15} {:<12} {:>9} {:>15} {:>6} {:>13} {:>11}  peer",
        "measure", "ours", "range", "", "peer's", "range", "ratio", "CPU s", "peak MB"
    );
}

/// Medians with ranges, of both sides.
pub fn row(figure: &Figure) {
    let range = |values: Vec<f64>| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        format!("{}–{}", digits(least), digits(values.iter().copied().fold(0.0, f64::max)))
    };
    let theirs: Vec<f64> = figure.runs.iter().filter_map(|(_, peer)| Some(peer.as_ref()?.value)).collect();
    let (ours, peer) = (figure.ours(|s| s.value), figure.theirs(|s| s.value));
    let none = || "–".to_owned();
    let both = |of: fn(&Side) -> f64, show: fn(f64) -> String| match figure.theirs(of) {
        Some(peer) => format!("{} | {}", show(figure.ours(of)), show(peer)),
        None => show(figure.ours(of)),
    };
    println!(
        "{:<16} {:>9} {:>15} {:<12} {:>9} {:>15} {:>6} {:>13} {:>11}  {}",
        figure.measure,
        digits(ours),
        range(figure.runs.iter().map(|(ours, _)| ours.value).collect()),
        figure.unit,
        peer.map_or_else(none, digits),
        if theirs.is_empty() { none() } else { range(theirs) },
        peer.map_or_else(none, |p| digits(ours / p)),
        both(|s| s.cpu_s, digits),
        both(|s| s.peak_mb, |mb| format!("{mb:.0}")),
        if peer.is_some() { figure.peer } else { "" },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(value: f64) -> Side {
        Side { value, cpu_s: value / 10.0, peak_mb: 7.0 }
    }

    #[test]
    fn medians_of_the_runs_and_their_ratio() {
        let mut figure = Figure::new("relay", "events/s", "the peer");
        figure.runs = vec![(side(30.0), Some(side(10.0))), (side(10.0), Some(side(5.0))), (side(20.0), Some(side(4.0)))];
        let json = figure.json("a machine", "versions");
        assert_eq!((&json["ours"], &json["peer"], &json["ratio"]), (&20.0.into(), &5.0.into(), &4.0.into()));
        assert_eq!(json["cpu_s"], json!([2.0, 0.5]));
        assert_eq!(json["runs"][1], json!([10.0, 5.0]));
        figure.runs.iter_mut().for_each(|run| run.1 = None);
        let json = figure.json("a machine", "versions");
        assert_eq!((&json["peer"], &json["ratio"], &json["peer_name"]), (&Value::Null, &Value::Null, &Value::Null));
    }

    #[test]
    fn a_start_counts_only_when_the_rest_is_too_short() {
        let at = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(rate_since(at, (at + second, 100), (at + 3 * second, 1_100)), 500.0);
        assert_eq!(rate_since(at, (at + second, 100), (at + second, 1_100)), 1_100.0);
    }

    #[test]
    fn percentiles_at_the_ends() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| percentile(&values, share)), [0.0, 50.0, 99.0, 99.0]);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}
