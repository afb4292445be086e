//! Charts of results, as SVG: of each one for a light page and one for a dark page. The same results give the same bytes.

mod backlog;
mod drain;
mod latency;
mod lines;
mod style;

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::line::{self, Line};
use style::{THEMES, Theme};

/// Draws one chart.
type Draw = fn(&[Line], &Theme) -> anyhow::Result<String>;

const CHARTS: [(&str, Draw); 3] = [("drain", drain::draw), ("latency", latency::draw), ("backlog", backlog::draw)];

/// Draws each of them from the lines of `results`, into the folder `charts` beside it.
///
/// # Errors
/// When a measure isn't there, or was measured without a peer.
pub fn plot(results: &Path) -> anyhow::Result<()> {
    let reading = || format!("reading results from {}", results.display());
    let lines = line::parse(&fs::read_to_string(results).with_context(reading)?).with_context(reading)?;
    let folder = results.with_file_name("charts");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for (name, draw) in CHARTS {
        for theme in &THEMES {
            let path = folder.join(format!("{name}-{}.svg", theme.name));
            let svg = draw(&lines, theme).with_context(|| format!("drawing {name} from {}", results.display()))?;
            fs::write(&path, svg).with_context(|| format!("writing {}", path.display()))?;
            eprintln!("bench: {}", path.display());
        }
    }
    Ok(())
}
