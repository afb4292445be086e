//! From commit to consumer: how many milliseconds, by percentile. The axis is even in nines, so that the tail can be seen.

use anyhow::Context as _;

use super::lines::{self, Axis, Point, Side};
use super::style::{HEAD, Theme, beside_peer, chart, short};
use crate::line::{Line, Quantiles};

/// Where the axis begins: the very fastest of thousands say nothing.
const LEAST: f64 = 0.1;
const TICKS: [(f64, &str); 8] = [
    (LEAST, "10 %"),
    (0.5, "50 %"),
    (0.75, "75 %"),
    (0.9, "90 %"),
    (0.95, "95 %"),
    (0.99, "99 %"),
    (0.995, "99.5 %"),
    (0.999, "99.9 %"),
];
const MILLISECONDS: [f64; 12] = [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

/// Where a share lies: 1 at 0.9, 2 at 0.99.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

pub fn draw(lines: &[Line], theme: &Theme) -> anyhow::Result<String> {
    let found = beside_peer(lines, "latency p50")?;
    let line = found.last().context("no `latency p50`")?;
    let p99 = beside_peer(lines, "latency p99")?;
    let p99 = p99.last().context("no `latency p99`")?;
    let quantiles = line.quantiles.as_ref().context("`latency p50` has no quantiles")?;
    let medians = [(0.5, line), (0.99, p99)];
    let side = |name, color, ours: bool| {
        let values = medians.map(|(share, of)| (nines(share), if ours { of.value } else { of.peer.unwrap_or_default() }));
        Side {
            name,
            color,
            points: points(quantiles, ours),
            labels: values.map(|(x, value)| (x, value.log10(), short(value))).to_vec(),
        }
    };
    let sides = [side("Farandole", theme.ours, true), side(line.peer_name.as_deref().unwrap_or_default(), theme.peer, false)];
    let all = || sides.iter().flat_map(|side| &side.points);
    let low = all().map(|point| point.low).fold(f64::INFINITY, f64::min);
    let high = all().map(|point| point.high).fold(f64::NEG_INFINITY, f64::max);
    let x = Axis {
        name: "percentile",
        from: nines(LEAST),
        to: nines(0.999),
        ticks: TICKS.iter().map(|(share, label)| (nines(*share), (*label).to_owned())).collect(),
    };
    let y = Axis::powers("milliseconds", 10_f64.powf(low - 0.1), 10_f64.powf(high + 0.1), &MILLISECONDS, |ms| format!("{ms}"));
    let how = format!(
        "2,000 events a second, one a transaction: median of {} runs, and their range. Lower is better.",
        quantiles.runs.len()
    );
    chart(theme, HEAD + 340, "From commit to consumer", &how, |canvas| lines::draw(canvas, theme, &x, &y, &sides, false))
}

fn points(quantiles: &Quantiles, ours: bool) -> Vec<Point> {
    let of_run = |run: &(Vec<f64>, Option<Vec<f64>>), n: usize| {
        let values = if ours { Some(&run.0) } else { run.1.as_ref() };
        values.and_then(|values| values.get(n)).copied()
    };
    let at = |(n, share): (usize, &f64)| {
        let values = quantiles.runs.iter().filter_map(|run| of_run(run, n)).collect();
        // A record may be seen before its writer knows that it is committed: that counts as 0, which has no place here.
        Point::of(nines(*share), values, |ms| ms.max(0.1).log10())
    };
    quantiles.shares.iter().enumerate().filter(|(_, share)| **share >= LEAST).map(at).collect()
}
