//! `CHANGELOG.md` has a line for each figure that was ever written down, the newest first, and says why one was raised:
//!
//! ```text
//! - encode: 12,300 instructions, 14 allocations, 900 bytes; headers of one's own
//! - encode: 11,000 instructions, 12 allocations, 880 bytes
//! ```
//!
//! **The rule**: the first line of a case says what `counts.toml` says, and a line in which a figure is higher than in the next one
//! of its case gives a reason. So a higher figure in `counts.toml` alone fails, and so does a line without a word.

use crate::figures::{CASES, Figures};
use crate::record::Record;

/// Under what heading lines are added.
const HEADING: &str = "### Counts";
/// Stands where a reason is to be written.
const WHY: &str = "WHY?";

/// One line.
#[derive(Debug, PartialEq)]
struct Line<'a> {
    case: &'a str,
    figures: Figures,
    reason: &'a str,
}

fn parse(line: &str) -> Option<Line<'_>> {
    let (case, rest) = line.strip_prefix("- ")?.split_once(": ")?;
    let (figures, reason) = rest.split_once(';').unwrap_or((rest, ""));
    let mut parts = figures.trim_end().split(", ");
    let mut of = |unit: &str| parts.next().and_then(|part| part.strip_suffix(unit)).map(|number| number.replace(',', ""));
    let (instructions, allocations, bytes) = (of(" instructions")?, of(" allocations")?, of(" bytes")?);
    let (instructions, allocations, bytes) = (instructions.parse().ok()?, allocations.parse().ok()?, bytes.parse().ok()?);
    Some(Line { case, figures: Figures { instructions, allocations, bytes }, reason: reason.trim() })
}

/// What of `changelog` breaks the rule.
pub fn check(changelog: &str, record: &Record) -> Vec<String> {
    let mut wrong = Vec::new();
    for case in &record.cases {
        let lines: Vec<Line<'_>> = changelog.lines().filter_map(parse).filter(|line| line.case == case.name).collect();
        let (name, figures) = (&case.name, case.figures);
        match lines.first() {
            Some(newest) if newest.figures == figures => {}
            _ => wrong.push(format!("CHANGELOG.md doesn't begin {name} with what counts.toml says: `- {name}: {figures}; why`")),
        }
        for pair in lines.windows(2) {
            let (newer, older) = (&pair[0], &pair[1]);
            let raised = newer.figures.named().into_iter().zip(older.figures.named()).find(|(newer, older)| newer.1 > older.1);
            if let Some(((what, newer), (_, older))) = raised.filter(|_| newer.reason.is_empty() || newer.reason.starts_with(WHY))
            {
                wrong.push(format!("CHANGELOG.md raises {what} of {name} from {older} to {newer}: say why, behind `;`"));
            }
        }
    }
    wrong
}

/// `changelog` with a line for each figure of `record` that it doesn't begin with yet; what was raised asks for its reason.
///
/// # Errors
/// When there is no heading to put them under.
pub fn add(changelog: &str, record: &Record) -> anyhow::Result<String> {
    let mut added = String::new();
    for (name, _) in CASES {
        let Some(figures) = record.figures(name) else { continue };
        let newest = changelog.lines().filter_map(parse).find(|line| line.case == name).map(|line| line.figures);
        if newest.as_ref() == Some(figures) {
            continue;
        }
        let raised =
            newest.is_some_and(|newest| figures.named().iter().zip(newest.named()).any(|(now, before)| now.1 > before.1));
        added += &format!("- {name}: {figures}{}\n", if raised { format!("; {WHY}") } else { String::new() });
    }
    if added.is_empty() {
        return Ok(changelog.to_owned());
    }
    // Behind the heading, its words, and an empty line.
    let at = changelog.find(HEADING).and_then(|at| Some(at + changelog[at..].find("\n- ")? + 1));
    let at = at.or_else(|| changelog.ends_with("\n\n").then_some(changelog.len()).filter(|_| changelog.contains(HEADING)));
    let at = at.ok_or_else(|| anyhow::anyhow!("CHANGELOG.md has no `{HEADING}` with a list under it"))?;
    Ok(format!("{}{added}{}", &changelog[..at], &changelog[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Case, On};

    fn record(instructions: u64) -> Record {
        let on = On { rustc: "1".to_owned(), libc: "2".to_owned() };
        let figures = Figures { instructions, allocations: 12.5, bytes: 1_900 };
        Record { on, cases: vec![Case { name: "encode".to_owned(), figures }] }
    }

    const FIRST: &str = "# Changelog\n\n### Counts\n\nWords.\n\n- encode: 11,000 instructions, 12.5 allocations, 1,900 bytes\n";

    /// Guard: the rule. Without it somebody raises a figure, and nobody reads of it.
    #[test]
    fn a_figure_is_raised_only_with_a_line_and_a_reason() {
        assert_eq!(check(FIRST, &record(11_000)), [""; 0]);
        assert_eq!(check(FIRST, &record(12_000)).len(), 1, "raised without a line");
        assert_eq!(check(FIRST, &record(10_000)).len(), 1, "lowered without a line: it could be raised again unseen");

        let asked = add(FIRST, &record(12_000)).unwrap();
        assert!(
            asked.contains("Words.\n\n- encode: 12,000 instructions, 12.5 allocations, 1,900 bytes; WHY?\n- encode: 11,000"),
            "{asked}"
        );
        let wrong = check(&asked, &record(12_000));
        assert_eq!(wrong, ["CHANGELOG.md raises instructions of encode from 11000 to 12000: say why, behind `;`"]);
        assert_eq!(check(&asked.replace("; WHY?", ""), &record(12_000)).len(), 1, "a line without a reason");
        let told = asked.replace("WHY?", "a header more");
        assert_eq!(check(&told, &record(12_000)), [""; 0]);
        assert_eq!(check(&told, &record(11_000)).len(), 1, "the newest line counts");
    }

    #[test]
    fn a_figure_that_was_lowered_needs_no_reason() {
        let added = add(FIRST, &record(10_000)).unwrap();
        assert!(added.contains("- encode: 10,000 instructions, 12.5 allocations, 1,900 bytes\n- encode: 11,000"), "{added}");
        assert_eq!(check(&added, &record(10_000)), [""; 0]);
        assert_eq!(add(&added, &record(10_000)).unwrap(), added, "nothing to add");
    }

    #[test]
    fn other_lines_are_none() {
        for line in ["- encode: faster", "- 11,000 instructions", "encode: 1 instructions, 1 allocations, 1 bytes", "- a: b: c"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_first_lines_go_behind_the_words() {
        let empty = "### Counts\n\nWords.\n\n";
        assert_eq!(
            add(empty, &record(1)).unwrap(),
            "### Counts\n\nWords.\n\n- encode: 1 instructions, 12.5 allocations, 1,900 bytes\n"
        );
        assert!(add("# Changelog\n", &record(1)).is_err());
    }
}
