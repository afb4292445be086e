//! Values with units, for a service's own settings.
//!
//! A [`Duration`](std::time::Duration) needs nothing: `"20s"` is read as it stands. The length of something in bytes is
//! `#[serde(with = "farandole::config::units::size")]`. Where a duration is read by other code than
//! [`Config::load`](crate::Config::load), `#[serde(with = "farandole::config::units::duration")]` reads it from the same texts.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

/// Durations: `"250ms"`, `"10s"`, `"1h 30m"`, `"7d"`.
pub mod duration {
    use std::time::Duration;

    use jiff::{Span, SpanRelativeTo, SpanRound, Unit};
    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    use crate::ground::time::LONGEST;

    /// Reads one: numbers with units from days to nanoseconds.
    ///
    /// # Errors
    /// What would be right. The longest that is taken is ten years, which is for ever here, and adds to any date and clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use farandole::config::units::duration;
    ///
    /// assert_eq!(duration::parse("1m 30s"), Ok(Duration::from_secs(90)));
    /// assert!(duration::parse("90").unwrap_err().contains("a unit"));
    /// ```
    pub fn parse(text: &str) -> Result<Duration, String> {
        let wrong = || {
            format!(
                "`{text}` is not a duration; write a number and a unit, up to \"3650d\": \"250ms\", \"10s\", \"1h 30m\", \
                 \"7d\""
            )
        };
        let span: Span = text.parse().map_err(|_| wrong())?;
        // A month has no length of its own, so it is refused; nor is anything before now waited for.
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        let duration = Duration::try_from(length).map_err(|_| wrong())?;
        if duration > LONGEST { Err(format!("`{text}` is too long; the longest is \"3650d\"")) } else { Ok(duration) }
    }

    /// As it is written, from days down.
    pub fn text(value: Duration) -> String {
        let round = SpanRound::new().largest(Unit::Day).smallest(Unit::Nanosecond).days_are_24_hours();
        let span = Span::try_from(value).and_then(|span| span.round(round));
        // Beyond what a calendar has; none such is ever read.
        span.map_or_else(|_| format!("{value:?}"), |span| format!("{span:#}"))
    }

    /// For serde.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*value))
    }

    /// For serde.
    ///
    /// # Errors
    /// What would be right.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse(&super::Text::deserialize(deserializer)?.0).map_err(D::Error::custom)
    }
}

/// Sizes in bytes: `"512B"`, `"64KiB"`, `"1MiB"`, `"1GiB"`.
pub mod size {
    use bytesize::{ByteSize, GIB, KIB, MIB};
    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    /// The largest that is taken: more than there is memory, and sums of it hold.
    const LARGEST: u64 = 1 << 40;

    /// Reads one.
    ///
    /// # Errors
    /// What would be right.
    ///
    /// ```
    /// use farandole::config::units::size;
    ///
    /// assert_eq!(size::parse("64KiB"), Ok(65_536));
    /// assert!(size::parse("64").unwrap_err().contains("a unit"));
    /// ```
    pub fn parse(text: &str) -> Result<usize, String> {
        let wrong = || format!("`{text}` is not a size; write a number and a unit: \"512B\", \"64KiB\", \"1MiB\", \"1GiB\"");
        // The library takes a bare number for bytes. Here, as with durations, who leaves the unit out is asked what was meant.
        if !text.ends_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(wrong());
        }
        let size = text.parse::<ByteSize>().map_err(|_| wrong())?.as_u64();
        let fits = usize::try_from(size).ok().filter(|_| size <= LARGEST);
        fits.ok_or_else(|| format!("`{text}` is too large; the largest is \"1024GiB\""))
    }

    /// For serde: in the largest unit that leaves no rest, since a rounded one would read back as another size.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        let value = *value as u64;
        let whole = |unit: u64| value >= unit && value.is_multiple_of(unit);
        let (name, unit) =
            [("GiB", GIB), ("MiB", MIB), ("KiB", KIB)].into_iter().find(|(_, unit)| whole(*unit)).unwrap_or(("B", 1));
        serializer.serialize_str(&format!("{}{name}", value / unit))
    }

    /// For serde.
    ///
    /// # Errors
    /// What would be right.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        parse(&super::Text::deserialize(deserializer)?.0).map_err(D::Error::custom)
    }
}

/// An address and a port, for `deserialize_with`.
///
/// # Errors
/// What would be right.
pub fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<std::net::SocketAddr, D::Error> {
    let Text(text) = Text::deserialize(deserializer)?;
    let wrong = || {
        format!(
            "`{text}` is not a socket address; write an address and a port: \"127.0.0.1:8080\", \"0.0.0.0:8080\", \
             \"[::]:8080\""
        )
    };
    text.parse().map_err(|_| D::Error::custom(wrong()))
}

/// A string, or a bare number as it was written: so that `timeout = 10` is told about units rather than types.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Text;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number and its unit, in quotes")
            }
            fn visit_str<E>(self, v: &str) -> Result<Text, E> {
                Ok(Text(v.trim().to_owned()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_bounded_value_or_says_what_would_be_right(text in "[0-9]{0,25}(ms|s|m|h|d|mo|B|KiB|MiB|GiB|MB|x)? ?|[0-9]{1,3}[dhm] [0-9]{1,4}m?s( ago)?|.{0,20}") {
            match super::duration::parse(&text) {
                Ok(duration) => {
                    prop_assert!(std::time::Instant::now().checked_add(duration).is_some());
                    let written = toml::Value::try_from(Of { duration }).unwrap()["duration"].as_str().unwrap_or_default().to_owned();
                    prop_assert_eq!(super::duration::parse(&written), Ok(duration));
                }
                Err(why) => prop_assert!(why.contains("\"10s\"") || why.contains("3650d"), "{}", why),
            }
            match super::size::parse(&text) {
                Ok(size) => prop_assert!(size <= 1 << 40),
                Err(why) => prop_assert!(why.contains("\"1MiB\"") || why.contains("1024GiB"), "{}", why),
            }
        }
    }

    #[test]
    fn units_are_told_apart() {
        let seconds = |text: &str| super::duration::parse(text).map(|duration| duration.as_secs_f64());
        for (text, length) in
            [("10s", 10.0), ("250ms", 0.25), ("1.5h", 5400.0), ("7d", 604_800.0), ("1d 1m", 86_460.0), ("PT2M", 120.0)]
        {
            assert_eq!(seconds(text), Ok(length), "{text}");
        }
        for wrong in ["", "10", "10 x", "-5s", "5s ago", "1mo", "1y", "s"] {
            assert!(seconds(wrong).is_err_and(|why| why.contains("is not a duration")), "{wrong}");
        }
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1.5MiB", 1_572_864), ("1MB", 1_000_000)] {
            assert_eq!(super::size::parse(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "64", "-1B", "64 parsecs", "KiB"] {
            assert!(super::size::parse(wrong).is_err_and(|why| why.contains("is not a size")), "{wrong}");
        }
    }

    #[derive(serde::Serialize)]
    struct Of {
        #[serde(with = "super::duration")]
        duration: std::time::Duration,
    }
}
