//! Lines of both sides: medians, the range of the runs as a band, and names where the lines end.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::style::{Canvas, HEAD, Theme, letters, px};

/// Beside the plot: labels of the vertical axis, and names of the lines.
const LEFT: i32 = 56;
const RIGHT: i32 = 104;
/// Below it: labels of the horizontal axis, and its name; above it: the name of the vertical one.
const BOTTOM: i32 = 52;
const ABOVE: i32 = 24;
/// Between two names at the least.
const APART: i32 = 18;

/// An axis on which places are drawn evenly; what they are called is its ticks' business.
#[derive(Debug, Clone)]
pub struct Axis {
    pub name: &'static str,
    pub from: f64,
    pub to: f64,
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// By powers of ten, from `low` to `high`; ticks at `marks` that lie between.
    pub fn powers(name: &'static str, low: f64, high: f64, marks: &[f64], show: fn(f64) -> String) -> Self {
        let ticks = marks.iter().filter(|mark| (low..=high).contains(*mark)).map(|mark| (mark.log10(), show(*mark)));
        Self { name, from: low.log10(), to: high.log10(), ticks: ticks.collect() }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (first, last): (i32, i32)) -> i32 {
        first + ((place - self.from) / (self.to - self.from) * f64::from(last - first)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.iter().map(|(at, _)| *at).collect() }
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(place: &f64) -> String {
        place.to_string()
    }

    fn format_ext(&self, place: &f64) -> String {
        self.ticks.iter().find(|(at, _)| at == place).map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// One place of a line, in its axes' terms.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    pub x: f64,
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Point {
    /// Of the values of all runs, as `scale` draws them.
    pub fn of(x: f64, mut values: Vec<f64>, scale: impl Fn(f64) -> f64) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |n: usize| values.get(n).copied().map(&scale).unwrap_or_default();
        Self { x, low: at(0), median: at(values.len() / 2), high: at(values.len().saturating_sub(1)) }
    }
}

/// One side.
pub struct Side<'t> {
    pub name: &'t str,
    pub color: RGBColor,
    pub points: Vec<Point>,
    /// Places that have their value beside them.
    pub labels: Vec<(f64, f64, String)>,
}

/// Draws both below the title of `canvas`. `dots` is for few places, that were measured one by one.
pub fn draw(canvas: &Canvas<'_>, theme: &Theme, x: &Axis, y: &Axis, sides: &[Side<'_>; 2], dots: bool) -> anyhow::Result<()> {
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(px(HEAD + ABOVE))
        .margin_right(px(RIGHT))
        .x_label_area_size(px(BOTTOM))
        .y_label_area_size(px(LEFT))
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(theme.grid.stroke_width(2))
        .light_line_style(TRANSPARENT)
        .axis_style(theme.muted.stroke_width(2))
        .label_style(letters(11.5, theme.muted, HPos::Center))
        .draw()?;
    let (across, down) = chart.plotting_area().get_pixel_range();
    let below = ((across.start + across.end) / 2, down.end + px(BOTTOM - 14));
    canvas.draw(&Text::new(x.name, below, letters(12.0, theme.muted, HPos::Center)))?;
    canvas.draw(&Text::new(y.name, (px(16), px(HEAD + 8)), letters(12.0, theme.muted, HPos::Left)))?;
    for side in sides {
        let back = side.points.iter().rev().map(|point| (point.x, point.low));
        let band: Vec<(f64, f64)> = side.points.iter().map(|point| (point.x, point.high)).chain(back).collect();
        chart.draw_series([Polygon::new(band, side.color.mix(0.18))])?;
    }
    for side in sides {
        let medians = side.points.iter().map(|point| (point.x, point.median));
        chart.draw_series(LineSeries::new(medians.clone(), side.color.stroke_width(5)))?;
        if dots {
            chart.draw_series(medians.map(|at| Circle::new(at, px(4), side.color.filled())))?;
        }
    }
    let place = |point: (f64, f64)| chart.backend_coord(&point);
    for (side, other) in sides.iter().zip(sides.iter().rev()) {
        for (n, (at, value, text)) in side.labels.iter().enumerate() {
            // Away from the other line.
            let above = other.labels.get(n).is_none_or(|(_, theirs, _)| value > theirs);
            let (left, top) = place((*at, *value));
            canvas.draw(&Circle::new((left, top), px(4), side.color.filled()))?;
            let top = if above { top - px(13) } else { top + px(14) };
            canvas.draw(&Text::new(text.clone(), (left, top), letters(12.0, side.color, HPos::Center)))?;
        }
    }
    let ends = sides.each_ref().map(|side| side.points.last().map_or((0, 0), |point| place((point.x, point.median))));
    for (side, (left, top)) in sides.iter().zip(spread(ends)) {
        canvas.draw(&Text::new(side.name.to_owned(), (left + px(10), top), letters(13.0, side.color, HPos::Left)))?;
    }
    Ok(())
}

/// Two names' places, moved apart where one would lie on the other.
fn spread([one, other]: [(i32, i32); 2]) -> [(i32, i32); 2] {
    let lacking = px(APART) - (one.1 - other.1).abs();
    if lacking <= 0 {
        return [one, other];
    }
    let (half, down) = (lacking / 2 + 1, if one.1 > other.1 { 1 } else { -1 });
    [(one.0, one.1 + down * half), (other.0, other.1 - down * half)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lie_on_each_other() {
        assert_eq!(spread([(0, 100), (0, 200)]), [(0, 100), (0, 200)]);
        for ends in [[(0, 100), (0, 110)], [(0, 110), (0, 100)], [(0, 100), (0, 100)]] {
            let [one, other] = spread(ends);
            assert!((one.1 - other.1).abs() >= px(APART), "{ends:?}");
            assert_eq!(one.1 > other.1, ends[0].1 > ends[1].1, "{ends:?}");
        }
    }
}
