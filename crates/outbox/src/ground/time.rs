//! Instants as the wire and the database hold them: whole microseconds since 1970-01-01T00:00:00Z.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Microseconds since the epoch, UTC. PostgreSQL and Avro's `timestamp-micros` keep no more, so nothing is lost on the way.
///
/// **Invariant:** it lies within the years 1 to 9999, so that it is an RFC 3339 date, and a `timestamptz` of PostgreSQL. What a record or
/// row says beyond that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

/// A number of microseconds that is no instant here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} microseconds since 1970 is not within the years 1 to 9999")]
pub struct OutOfRange(i64);

impl TryFrom<i64> for Timestamp {
    type Error = OutOfRange;

    fn try_from(micros: i64) -> Result<Self, OutOfRange> {
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) { Ok(Self(micros)) } else { Err(OutOfRange(micros)) }
    }
}

impl From<Timestamp> for i64 {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-30T22:00:00Z: a day short of the year's end, as the library for dates has it, so that it is one in every time zone.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// From microseconds since the epoch; the nearest instant that there is when there is none. [`TryFrom`] tells.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339, to the microsecond. None when it is something else, or not from year 1 to 9999-12-30T22:00:00Z.
    pub fn parse(text: &str) -> Option<Self> {
        Self::try_from(text.parse::<jiff::Timestamp>().ok()?.as_microsecond()).ok()
    }

    /// This instant and `later`; stays at the end of time rather than wrap round.
    pub fn plus(self, later: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(i64::try_from(later.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl std::fmt::Display for Timestamp {
    /// RFC 3339 with microseconds, as `ce_time` has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The range is that of the type; the epoch stands for what can't be.
        write!(f, "{:.6}", jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }
}

/// The longest wait that a clock is asked for: it adds to any instant, and nobody waits for its end.
pub const LONGEST: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// `wait` from now, however long somebody asked to wait.
pub fn later(wait: Duration) -> Instant {
    Instant::now() + wait.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_number_or_text_comes_a_date_is_one(micros: i64, wait: u64, text in ".{0,40}") {
            for time in [Timestamp::from_micros(micros), Timestamp::from_micros(micros).plus(Duration::from_secs(wait))] {
                let shown = time.to_string();
                prop_assert_eq!(shown.len(), "2026-11-21T12:00:00.000000Z".len(), "{}", shown);
                prop_assert_eq!(Timestamp::parse(&shown), Some(time), "{}", shown);
            }
            prop_assert_eq!(Timestamp::try_from(micros).is_ok(), Timestamp::from_micros(micros).micros() == micros);
            let _ = Timestamp::parse(&text);
        }
    }

    #[test]
    fn the_ends_of_time() {
        for (micros, shown) in [
            (i64::MIN, "0001-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (0, "1970-01-01T00:00:00.000000Z"),
            (i64::MAX, "9999-12-30T22:00:00.000000Z"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_string(), shown);
            assert_eq!(serde_json::from_value::<Timestamp>(micros.into()).is_ok(), (-1..=0).contains(&micros), "{micros}");
        }
        for text in
            ["-000001-01-01T00:00:00Z", "-009999-01-02T01:59:59Z", "+010000-01-01T00:00:00Z", "now", "", "2026-02-30T00:00:00Z"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        assert!(later(Duration::MAX) > Instant::now());
    }
}
