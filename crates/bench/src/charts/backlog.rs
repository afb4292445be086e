//! What an event costs when an outbox is drained, by how many rows are in it.

use super::lines::{self, Axis, Point, Side};
use super::style::{HEAD, Theme, beside_peer, chart, number, short};
use crate::line::Line;

const ROWS: [f64; 10] = [1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7];
const MICROSECONDS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

pub fn draw(lines: &[Line], theme: &Theme) -> anyhow::Result<String> {
    let mut found = beside_peer(lines, "backlog")?;
    found.sort_by_key(|line| line.rows);
    let rows = |line: &Line| f64::from(line.rows.unwrap_or(1));
    let (first, last) = (found.first().map_or(1.0, |line| rows(line)), found.last().map_or(1.0, |line| rows(line)));
    let side = |name, color, ours: bool| {
        let value = |run: &(f64, Option<f64>)| if ours { Some(run.0) } else { run.1 };
        let at = |line: &&Line| Point::of(rows(line).log10(), line.runs.iter().filter_map(value).collect(), f64::log10);
        let points: Vec<Point> = found.iter().map(at).collect();
        let labels = points.iter().map(|point| (point.x, point.median, short(10_f64.powf(point.median)))).collect();
        Side { name, color, points, labels }
    };
    let peer = found.first().and_then(|line| line.peer_name.as_deref()).unwrap_or_default();
    let sides = [side("Farandole", theme.ours, true), side(peer, theme.peer, false)];
    let all = || sides.iter().flat_map(|side| &side.points);
    let low = all().map(|point| point.low).fold(f64::INFINITY, f64::min);
    let high = all().map(|point| point.high).fold(f64::NEG_INFINITY, f64::max);
    let x = Axis::powers("rows in the outbox", first / 1.2, last * 1.05, &ROWS, number);
    let y = Axis::powers("µs of CPU time an event", 10_f64.powf(low - 0.2), 10_f64.powf(high + 0.1), &MICROSECONDS, number);
    let runs = found.first().map_or(0, |line| line.runs.len());
    let how = format!("Publishing process, its start included: median of {runs} runs, and their range. Lower is better.");
    chart(theme, HEAD + 310, "What an event costs, by the size of the backlog", &how, |canvas| {
        lines::draw(canvas, theme, &x, &y, &sides, true)
    })
}
