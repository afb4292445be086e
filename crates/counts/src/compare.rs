//! What was counted beside what was written down.

use crate::figures::{is_grown, is_shrunk, thousands};
use crate::record::Record;

/// What is to be done about a figure that moved.
const WRITE: &str = "`scripts/counts --write`";

/// What a comparison says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// What must not be.
    pub failures: Vec<String>,
    /// What may be, and somebody should know.
    pub hints: Vec<String>,
}

/// Compares `now` with `before`. Instructions are compared only where both were counted on the same compiler and libc; allocations
/// follow from the sources alone.
pub fn compare(before: &Record, now: &Record) -> Compared {
    let mut compared = Compared::default();
    let same = before.on == now.on;
    if !same {
        let (before, now) = (&before.on, &now.on);
        let hint =
            format!("instructions aren't compared: written down are those of {before}, this is {now}; then write: {WRITE}");
        compared.hints.push(hint);
    }
    for case in &now.cases {
        let Some(figures) = before.figures(&case.name) else {
            compared.failures.push(format!("{} isn't written down: {WRITE}", case.name));
            continue;
        };
        for ((what, before), (_, now)) in figures.named().into_iter().zip(case.figures.named()) {
            if what == "instructions" && !same {
                continue;
            }
            let (name, was, is, percent) = (&case.name, said(before), said(now), (now / before - 1.0) * 100.0);
            if is_grown(before, now) {
                compared.failures.push(format!(
                    "{name}: {was} {what} an event have become {is} ({percent:+.1} %). Find out why; if it is worth it, {WRITE}, \
                     and say why in CHANGELOG.md"
                ));
            } else if is_shrunk(before, now) {
                compared
                    .hints
                    .push(format!("{name}: {was} {what} an event have become {is} ({percent:+.1} %). Keep that: {WRITE}"));
            }
        }
    }
    let gone = before.cases.iter().filter(|case| now.figures(&case.name).is_none());
    compared.failures.extend(gone.map(|case| format!("{} is written down, and isn't counted any more: {WRITE}", case.name)));
    compared
}

fn said(figure: f64) -> String {
    if figure.fract() == 0.0 { thousands(figure as u64) } else { figure.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::record::{Case, On};

    fn record(rustc: &str, instructions: u64, allocations: f64) -> Record {
        let on = On { rustc: rustc.to_owned(), libc: "glibc 2".to_owned() };
        let figures = Figures { instructions, allocations, bytes: 100 };
        Record { on, cases: vec![Case { name: "encode".to_owned(), figures }] }
    }

    /// Guard: the comparison. Without it costs grow unseen.
    #[test]
    fn what_grows_fails_and_says_by_how_much() {
        let before = record("1", 10_000, 4.0);
        assert_eq!(compare(&before, &record("1", 10_300, 4.0)), Compared::default(), "3 % are chance");
        let Compared { failures, hints } = compare(&before, &record("1", 10_301, 5.0));
        assert!(hints.is_empty());
        assert_eq!(failures.len(), 2, "{failures:?}");
        assert!(failures[0].starts_with("encode: 10,000 instructions an event have become 10,301 (+3.0 %)"), "{failures:?}");
        assert!(failures[1].starts_with("encode: 4 allocations an event have become 5 (+25.0 %)"), "{failures:?}");
        assert!(failures[1].contains("`scripts/counts --write`, and say why in CHANGELOG.md"), "{failures:?}");
    }

    #[test]
    fn what_shrinks_passes_with_a_hint() {
        let Compared { failures, hints } = compare(&record("1", 10_000, 4.0), &record("1", 9_000, 4.0));
        assert!(failures.is_empty());
        assert!(hints[0].contains("10,000 instructions an event have become 9,000 (-10.0 %)"), "{hints:?}");
    }

    #[test]
    fn another_compiler_is_compared_in_what_it_doesnt_decide_on() {
        let Compared { failures, hints } = compare(&record("1", 10_000, 4.0), &record("2", 20_000, 5.0));
        assert!(hints[0].starts_with("instructions aren't compared"), "{hints:?}");
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].contains("4 allocations"), "{failures:?}");
    }

    #[test]
    fn a_case_that_comes_or_goes_is_missed() {
        let mut none = record("1", 1, 1.0);
        none.cases.clear();
        assert_eq!(compare(&none, &record("1", 1, 1.0)).failures, ["encode isn't written down: `scripts/counts --write`"]);
        assert_eq!(compare(&record("1", 1, 1.0), &none).failures.len(), 1);
    }
}
