//! What all charts have in common: size, colours, letters, and the title above.

use anyhow::Context as _;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::line::Line;

/// Where a chart is drawn.
pub type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Coordinates are whole numbers, so a chart is drawn larger than it is shown.
const SCALE: i32 = 2;
/// At which it is shown.
const WIDTH: i32 = 720;

/// So many pixels of what is shown.
pub const fn px(shown: i32) -> i32 {
    shown * SCALE
}

/// Colours of Okabe and Ito, which everybody can tell apart, made dark enough to be read as letters.
pub struct Theme {
    pub name: &'static str,
    pub ours: RGBColor,
    pub peer: RGBColor,
    pub ink: RGBColor,
    pub muted: RGBColor,
    pub grid: RGBColor,
    background: RGBColor,
}

/// On white, and on what GitHub shows at night.
pub const THEMES: [Theme; 2] = [
    Theme {
        name: "light",
        ours: RGBColor(0, 104, 170),
        peer: RGBColor(176, 74, 0),
        ink: RGBColor(31, 35, 40),
        muted: RGBColor(89, 99, 110),
        grid: RGBColor(221, 225, 230),
        background: RGBColor(255, 255, 255),
    },
    Theme {
        name: "dark",
        ours: RGBColor(86, 180, 233),
        peer: RGBColor(230, 159, 0),
        ink: RGBColor(230, 237, 243),
        muted: RGBColor(155, 164, 174),
        grid: RGBColor(48, 54, 61),
        background: RGBColor(13, 17, 23),
    },
];

/// Letters of `size` pixels, as shown, that begin, are centred or end at their place.
pub fn letters(size: f64, color: RGBColor, at: HPos) -> TextStyle<'static> {
    // What the crate writes is its size divided by this.
    let font = ("sans-serif", size * f64::from(SCALE) * 1.24).into_font();
    TextStyle { font, color: color.to_backend_color(), pos: Pos::new(at, VPos::Center) }
}

/// Above what is drawn, in pixels.
pub const HEAD: i32 = 64;

/// A chart of `height` pixels: title, what is to be read how, and what `draw` draws below [`HEAD`].
pub fn chart(
    theme: &Theme,
    height: i32,
    title: &str,
    how: &str,
    draw: impl FnOnce(&Canvas<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let size = (u32::try_from(px(WIDTH))?, u32::try_from(px(height))?);
        let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        canvas.fill(&theme.background)?;
        let mut bold = letters(16.0, theme.ink, HPos::Left);
        bold.font = bold.font.style(FontStyle::Bold);
        canvas.draw(&Text::new(title.to_owned(), (px(16), px(22)), bold))?;
        canvas.draw(&Text::new(how.to_owned(), (px(16), px(44)), letters(12.5, theme.muted, HPos::Left)))?;
        draw(&canvas)?;
        canvas.present()?;
    }
    Ok(svg)
}

/// The lines of a measure that was taken beside a peer.
pub fn beside_peer<'l>(lines: &'l [Line], measure: &str) -> anyhow::Result<Vec<&'l Line>> {
    let found: Vec<&Line> =
        lines.iter().filter(|line| line.measure == measure && line.runs.iter().all(|run| run.1.is_some())).collect();
    let what = measure.split(' ').next().unwrap_or_default();
    let first = || format!("no `{measure}` beside a peer; `scripts/bench {what} --peer debezium --json` measures it");
    found.first().with_context(first)?;
    Ok(found)
}

/// Digits in threes.
pub fn number(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As many digits as mean something.
pub fn short(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { number(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!([0.0, 999.4, 1_000.0, 255_100.0, 1e6].map(number), ["0", "999", "1,000", "255,100", "1,000,000"]);
        assert_eq!([4.34, 24.0, 178.3].map(short), ["4.3", "24.0", "178"]);
    }
}
