//! Figures and how they are shown.

use serde_json::{Value, json};

/// One side of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Side {
    /// In the measure's unit.
    pub value: f64,
    /// CPU seconds of this process.
    pub cpu_s: f64,
}

/// One measure: ours and the peer's, run by run.
#[derive(Debug)]
pub struct Figure {
    pub measure: &'static str,
    pub unit: &'static str,
    pub peer: &'static str,
    pub runs: Vec<(Side, Option<Side>)>,
    /// Peak memory of this process in MB, both sides together.
    pub peak_mb: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl Figure {
    fn ours(&self, of: impl Fn(&Side) -> f64) -> f64 {
        median(self.runs.iter().map(|(ours, _)| of(ours)).collect())
    }

    fn theirs(&self, of: impl Fn(&Side) -> f64) -> Option<f64> {
        let theirs: Vec<f64> = self.runs.iter().filter_map(|(_, peer)| peer.as_ref().map(&of)).collect();
        (!theirs.is_empty()).then(|| median(theirs))
    }

    /// One object of a line.
    pub fn json(&self) -> Value {
        let (ours, peer) = (self.ours(|s| s.value), self.theirs(|s| s.value));
        json!({
            "measure": self.measure, "unit": self.unit, "ours": ours, "peer": peer, "peer_name": self.peer,
            "ratio": peer.map(|peer| ours / peer),
            "runs": self.runs.iter().map(|(ours, peer)| json!([ours.value, peer.map(|p| p.value)])).collect::<Vec<_>>(),
            "cpu_s": [self.ours(|s| s.cpu_s), self.theirs(|s| s.cpu_s)],
            "peak_mb": [self.peak_mb, Value::Null],
        })
    }
}

/// Median with range, and the peer's.
pub fn table(figures: &[Figure]) {
    println!("{:<18} {:>12} {:>25} {:>12} {:>8}  peer", "measure", "ours", "range", "peer", "ratio");
    for figure in figures {
        let values: Vec<f64> = figure.runs.iter().map(|(ours, _)| ours.value).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let ours = figure.ours(|s| s.value);
        let peer = figure.theirs(|s| s.value);
        println!(
            "{:<18} {:>12} {:>25} {:>12} {:>8}  {}",
            figure.measure,
            format!("{ours:.0} {}", figure.unit),
            format!("{least:.0}–{most:.0}"),
            peer.map_or_else(|| "–".to_owned(), |p| format!("{p:.0}")),
            peer.map_or_else(|| "–".to_owned(), |p| format!("{:.1}", ours / p)),
            figure.peer,
        );
    }
}
