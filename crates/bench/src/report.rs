//! Figures and how they are shown.

use std::time::{Duration, Instant};

use crate::line::{Line, Quantiles};
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

/// What a limit is called where a peer's name would stand.
const LIMIT: &str = "limit";

/// One measure: ours and the peer's, run by run.
#[derive(Debug)]
pub struct Figure {
    pub measure: &'static str,
    pub unit: &'static str,
    /// Who the peer is; empty if there is none.
    pub peer: &'static str,
    /// What is to be reached, which stands in the peer's place where none has run.
    pub limit: Option<f64>,
    /// Rows in the outbox, of what is measured on a backlog; events in the topic, of a rebuild.
    pub rows: Option<u32>,
    pub runs: Vec<(Side, Option<Side>)>,
    /// The whole distribution, of what is one.
    pub quantiles: Option<Quantiles>,
    /// What else was measured with it.
    pub detail: Option<serde_json::Value>,
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
        Self { measure, unit, peer, limit: None, rows: None, runs: Vec::new(), quantiles: None, detail: None }
    }

    /// What is to be reached.
    #[must_use]
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// On a backlog of so many rows.
    #[must_use]
    pub fn rows(mut self, rows: u32) -> Self {
        self.rows = Some(rows);
        self
    }

    fn ours(&self, of: impl Fn(&Side) -> f64) -> f64 {
        median(self.runs.iter().map(|(ours, _)| of(ours)).collect())
    }

    fn theirs(&self, of: impl Fn(&Side) -> f64) -> Option<f64> {
        let theirs: Vec<f64> = self.runs.iter().filter_map(|(_, peer)| peer.as_ref().map(&of)).collect();
        (!theirs.is_empty()).then(|| median(theirs))
    }

    /// What ours stands beside, and its name: the peer's median, or the limit.
    fn beside(&self) -> Option<(f64, &'static str)> {
        let peer = self.theirs(|s| s.value).map(|value| (value, self.peer));
        peer.or_else(|| self.limit.map(|limit| (limit, LIMIT)))
    }

    /// For `--json`.
    pub fn line(&self, machine: &str, versions: &str) -> Line {
        let (value, beside) = (self.ours(|s| s.value), self.beside());
        Line {
            measure: self.measure.to_owned(),
            value,
            unit: self.unit.to_owned(),
            peer: beside.map(|(peer, _)| peer),
            ratio: beside.map(|(peer, _)| value / peer),
            peer_name: beside.map(|(_, name)| name.to_owned()),
            rows: self.rows,
            runs: self.runs.iter().map(|(ours, peer)| (ours.value, peer.map(|p| p.value))).collect(),
            cpu_s: (self.ours(|s| s.cpu_s), self.theirs(|s| s.cpu_s)),
            peak_mb: (self.ours(|s| s.peak_mb), self.theirs(|s| s.peak_mb)),
            quantiles: self.quantiles.clone(),
            detail: self.detail.clone(),
            machine: machine.to_owned(),
            versions: versions.to_owned(),
        }
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
        "{:<19} {:>9} {:>15} {:<12} {:>9} {:>15} {:>6} {:>13} {:>11}  peer",
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
    let (ours, beside) = (figure.ours(|s| s.value), figure.beside());
    let none = || "–".to_owned();
    let both = |of: fn(&Side) -> f64, show: fn(f64) -> String| match figure.theirs(of) {
        Some(peer) => format!("{} | {}", show(figure.ours(of)), show(peer)),
        None => show(figure.ours(of)),
    };
    println!(
        "{:<19} {:>9} {:>15} {:<12} {:>9} {:>15} {:>6} {:>13} {:>11}  {}",
        figure.rows.map_or_else(|| figure.measure.to_owned(), |rows| format!("{} {rows}", figure.measure)),
        digits(ours),
        range(figure.runs.iter().map(|(ours, _)| ours.value).collect()),
        figure.unit,
        beside.map_or_else(none, |(peer, _)| digits(peer)),
        if theirs.is_empty() { none() } else { range(theirs) },
        beside.map_or_else(none, |(peer, _)| digits(ours / peer)),
        both(|s| s.cpu_s, digits),
        both(|s| s.peak_mb, |mb| format!("{mb:.0}")),
        beside.map_or("", |(_, name)| name),
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn side(value: f64) -> Side {
        Side { value, cpu_s: value / 10.0, peak_mb: 7.0 }
    }

    #[test]
    fn medians_of_the_runs_and_their_ratio() {
        let mut figure = Figure::new("relay drain", "events/s", "the peer").limit(40.0).rows(1_000);
        figure.runs = vec![(side(30.0), Some(side(10.0))), (side(10.0), Some(side(5.0))), (side(20.0), Some(side(4.0)))];
        let json = serde_json::to_value(figure.line("a machine", "versions")).unwrap();
        let expected = json!({
            "measure": "relay drain", "value": 20.0, "unit": "events/s", "peer": 5.0, "ratio": 4.0, "peer_name": "the peer",
            "rows": 1_000, "runs": [[30.0, 10.0], [10.0, 5.0], [20.0, 4.0]], "cpu_s": [2.0, 0.5], "peak_mb": [7.0, 7.0],
            "machine": "a machine", "versions": "versions",
        });
        assert_eq!(json, expected);
    }

    /// Without a peer's run the limit stands in its place; without either nothing does.
    #[test]
    fn beside_a_limit_or_nothing() {
        let beside = |figure: Figure| {
            let figure = Figure { runs: vec![(side(20.0), None)], ..figure };
            let json = serde_json::to_value(figure.line("a machine", "versions")).unwrap();
            assert_eq!(json["runs"], json!([[20.0, null]]));
            ["peer", "ratio", "peer_name"].map(|name| json.get(name).cloned())
        };
        let new = || Figure::new("relay drain", "events/s", "the peer");
        assert_eq!(beside(new().limit(40.0)), [json!(40.0), json!(0.5), json!("limit")].map(Some));
        assert_eq!(beside(new()), [None, None, None]);
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
