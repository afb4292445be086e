//! How fast an outbox is drained, beside the peer: a bar each, its runs as dots, its cost in words.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::style::{Canvas, HEAD, Theme, beside_peer, chart, letters, number, px};
use crate::line::Line;

/// Where bars begin, and where the longest run may end: the words behind it need the rest.
const LEFT: i32 = 96;
const RIGHT: i32 = 520;
/// From one bar's top to the next one's, and a bar's height.
const ROW: i32 = 52;
const BAR: i32 = 30;
/// Between two ticks, events a second.
const TICK: u32 = 50_000;

struct Bar<'t> {
    name: &'t str,
    color: RGBColor,
    median: f64,
    runs: Vec<f64>,
    cost: String,
}

pub fn draw(lines: &[Line], theme: &Theme) -> anyhow::Result<String> {
    let found = beside_peer(lines, "relay drain")?;
    let Some(line) = found.last() else { return Ok(String::new()) };
    let cost = |cpu: f64, mb: f64| format!("{cpu:.1} s CPU, {} MB", number(mb));
    let bars = [
        Bar {
            name: "Farandole",
            color: theme.ours,
            median: line.value,
            runs: line.runs.iter().map(|run| run.0).collect(),
            cost: cost(line.cpu_s.0, line.peak_mb.0),
        },
        Bar {
            name: line.peer_name.as_deref().unwrap_or_default(),
            color: theme.peer,
            median: line.peer.unwrap_or_default(),
            runs: line.runs.iter().filter_map(|run| run.1).collect(),
            cost: cost(line.cpu_s.1.unwrap_or_default(), line.peak_mb.1.unwrap_or_default()),
        },
    ];
    let title = format!("Draining an outbox of {} rows", number(f64::from(line.rows.unwrap_or_default())));
    let how = format!("Events a second: median of {} runs, each run a dot. Longer is better.", line.runs.len());
    chart(theme, HEAD + 2 * ROW + 30, &title, &how, |canvas| {
        let longest = bars.iter().flat_map(|bar| &bar.runs).copied().fold(1.0, f64::max);
        let at = |value: f64| px(LEFT) + (value / longest * f64::from(px(RIGHT - LEFT))) as i32;
        let bottom = HEAD + 2 * ROW - 6;
        canvas.draw(&PathElement::new([(at(0.0), px(bottom)), (at(longest), px(bottom))], theme.muted.stroke_width(2)))?;
        for tick in (0..=longest as u32).step_by(TICK as usize) {
            let x = at(f64::from(tick));
            canvas.draw(&PathElement::new([(x, px(bottom)), (x, px(bottom + 5))], theme.muted.stroke_width(2)))?;
            let label = Text::new(number(f64::from(tick)), (x, px(bottom + 15)), letters(11.0, theme.muted, HPos::Center));
            canvas.draw(&label)?;
        }
        bars.iter().zip([HEAD + 8, HEAD + ROW + 2]).try_for_each(|(one, top)| bar(canvas, theme, one, top, &at))
    })
}

fn bar(canvas: &Canvas<'_>, theme: &Theme, bar: &Bar<'_>, top: i32, at: &impl Fn(f64) -> i32) -> anyhow::Result<()> {
    let middle = top + BAR / 2;
    canvas.draw(&Text::new(bar.name.to_owned(), (px(LEFT - 10), px(middle)), letters(13.0, theme.ink, HPos::Right)))?;
    canvas.draw(&Rectangle::new([(at(0.0), px(top)), (at(bar.median), px(top + BAR))], bar.color.filled()))?;
    for run in &bar.runs {
        canvas.draw(&Circle::new((at(*run), px(middle)), px(5), theme.grid.filled()))?;
        canvas.draw(&Circle::new((at(*run), px(middle)), px(4), theme.ink.filled()))?;
    }
    let end = at(bar.runs.iter().copied().fold(bar.median, f64::max)) + px(12);
    canvas.draw(&Text::new(
        format!("{}/s", number((bar.median / 100.0).round() * 100.0)),
        (end, px(middle - 8)),
        letters(14.0, bar.color, HPos::Left),
    ))?;
    canvas.draw(&Text::new(bar.cost.clone(), (end, px(middle + 9)), letters(11.5, theme.muted, HPos::Left)))?;
    Ok(())
}
