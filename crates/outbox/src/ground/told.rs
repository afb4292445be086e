//! Rate-limited warnings about conditions that persist.

use std::time::{Duration, Instant};

/// The same words are logged again after so long: often enough for who looks at the end of a log, and 1,440 lines a day.
const REMIND: Duration = Duration::from_secs(60);

/// What was said last, and when.
#[derive(Debug, Default)]
pub struct Told(Option<(String, Instant)>);

impl Told {
    /// Whether `why` is to be said: it is new, or hasn't been for a while.
    pub fn is_due(&mut self, why: &str) -> bool {
        self.is_due_at(why, Instant::now())
    }

    fn is_due_at(&mut self, why: &str, now: Instant) -> bool {
        let due = self.0.as_ref().is_none_or(|(last, at)| last != why || now.duration_since(*at) >= REMIND);
        if due {
            self.0 = Some((why.to_owned(), now));
        }
        due
    }

    /// It is over: the next is new, whatever it says.
    pub fn over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_once_a_minute_and_what_changes_at_once() {
        let (mut told, began) = (Told::default(), Instant::now());
        let said: Vec<u64> = (0..150).filter(|s| told.is_due_at("it isn't there", began + Duration::from_secs(*s))).collect();
        assert_eq!(said, [0, 60, 120]);
        let later = |s| began + Duration::from_secs(s);
        assert!(told.is_due_at("nobody reads it", later(151)) && !told.is_due_at("nobody reads it", later(152)));
        assert!(told.is_due_at("it isn't there", later(153)), "another reason than the last");
        told.over();
        assert!(told.is_due_at("it isn't there", later(154)), "after it was well");
    }
}
