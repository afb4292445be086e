//! The table in `BENCHMARKS.md`.

use anyhow::Context as _;

use crate::figures::{CASES, thousands};
use crate::record::Record;

/// What stands before and behind the table.
const MARK: &str = "<!-- counts -->\n";

/// The table of `record`.
fn table(record: &Record) -> String {
    let mut table = "| case | one event | instructions | allocations | bytes |\n|---|---|---:|---:|---:|\n".to_owned();
    for (name, what) in CASES {
        if let Some(figures) = record.figures(name) {
            let (instructions, bytes) = (thousands(figures.instructions), thousands(figures.bytes));
            table += &format!("| `{name}` | {what} | {instructions} | {} | {bytes} |\n", figures.allocations);
        }
    }
    format!("{table}\nCounted on {}.\n", record.on)
}

/// `text` with the table of `record` between the marks.
///
/// # Errors
/// When the marks aren't there.
pub fn with(text: &str, record: &Record) -> anyhow::Result<String> {
    let mut parts = text.splitn(3, MARK);
    let (before, _, after) = (parts.next(), parts.next(), parts.next());
    let (before, after) = before.zip(after).context("BENCHMARKS.md has no table between two lines `<!-- counts -->`")?;
    Ok(format!("{before}{MARK}{}{MARK}{after}", table(record)))
}
