//! What a rebuild is told.

use std::str::FromStr;

use crate::ground::time::Timestamp;

/// What to rebuild, and what to do with it.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// As the tables were when the events up to there had been folded; in a schema of their own, never swapped.
    pub until: Option<Until>,
    /// Compare the rebuilt tables with the live ones.
    pub verify: bool,
    /// Put them in the live tables' place.
    pub execute: bool,
    /// Also if they differ.
    pub accept_differences: bool,
    /// Also if a column that nothing fills holds something, which the rebuilt rows won't.
    pub accept_defaults: bool,
    /// Sets of replaced tables that are kept, the one that this replaces included.
    pub keep: usize,
    /// Begin even if the disk seems to be too small.
    pub ignore_space: bool,
    /// Show progress as a bar on standard error, where there is a terminal, instead of lines in the log.
    pub bar: bool,
}

impl Options {
    /// Folds, and does no more.
    pub const DEFAULT: Self = Self {
        until: None,
        verify: false,
        execute: false,
        accept_differences: false,
        accept_defaults: false,
        keep: 1,
        ignore_space: false,
        bar: false,
    };
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Up to where the past goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Up to the event of this number.
    Number(i64),
    /// Up to the last event that had happened by then, as its record says (`ce_time`).
    Time(Timestamp),
}

impl FromStr for Until {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse::<i64>() {
            return if number > 0 { Ok(Self::Number(number)) } else { Err("numbers of events begin at 1") };
        }
        Timestamp::parse(text).map(Self::Time).ok_or("neither an event's number nor a time like 2026-11-21T12:00:00Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_time() {
        assert_eq!("120000".parse(), Ok(Until::Number(120_000)));
        let time = |text| Timestamp::parse(text).map(Until::Time).ok_or("");
        assert_eq!("2026-11-21T13:00:00.5+01:00".parse(), time("2026-11-21T12:00:00.500000Z"));
        for wrong in ["", "0", "-7", "yesterday", "2026-11-21", "2026-11-21T12:00:00"] {
            assert!(wrong.parse::<Until>().is_err(), "{wrong}");
        }
    }
}
