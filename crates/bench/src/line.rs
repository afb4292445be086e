//! A line of `--json`: the one shape that all measures print, and that charts are drawn from.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// Steps of the quantiles' scale: even where a share is drawn by how many lie above it, so that a tail has as much room as the middle.
const STEPS: u32 = 60;
/// The last of them: 99.9 %. Of the 24,000 events of a run, 24 lie above.
const NINES: f64 = 3.0;

/// One measure; see `--help` for what its fields say.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub measure: String,
    pub value: f64,
    pub unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    pub runs: Vec<(f64, Option<f64>)>,
    pub cpu_s: (f64, Option<f64>),
    pub peak_mb: (f64, Option<f64>),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Quantiles>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
    pub machine: String,
    pub versions: String,
}

/// Quantiles of each run's two sides, at the same shares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// 0 to 0.999.
    pub shares: Vec<f64>,
    /// As many values as shares, of ours and of the peer.
    pub runs: Vec<(Vec<f64>, Option<Vec<f64>>)>,
}

impl Quantiles {
    /// At the shares that a chart shows; without runs yet.
    pub fn new() -> Self {
        let shares = (0..=STEPS).map(|step| 1.0 - 10_f64.powf(-NINES * f64::from(step) / f64::from(STEPS)));
        Self { shares: shares.map(|share| (share * 1e6).round() / 1e6).collect(), runs: Vec::new() }
    }
}

/// The lines of a file.
///
/// # Errors
/// Where one isn't such a line.
pub fn parse(text: &str) -> anyhow::Result<Vec<Line>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(n, line)| serde_json::from_str(line).with_context(|| format!("line {} is none of `--json`", n + 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_even_in_nines() {
        let shares = Quantiles::new().shares;
        assert_eq!((shares.len(), shares[0], shares[20], shares[40], shares[60]), (61, 0.0, 0.9, 0.99, 0.999));
        assert!(shares.is_sorted());
    }

    #[test]
    fn what_is_no_line_is_named() {
        let error = parse("\n{\"measure\": \"relay drain\"}\n").unwrap_err();
        assert!(format!("{error:#}").starts_with("line 2 is none of `--json`: missing field `value`"), "{error:#}");
    }
}
