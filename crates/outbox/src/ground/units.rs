//! Values with units, for `#[serde(with = "farandole::config::units::duration")]`.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serializer;

use crate::ground::secret::MASK;

/// Durations: `"250ms"`, `"10s"`, `"5m"`, `"2h"`, `"7d"`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// The longest that is taken: ten years, which is for ever here, and adds to any date and clock.
    const LONGEST: Duration = crate::ground::time::LONGEST;

    const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

    /// Reads one.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Duration, String> {
        let wrong =
            || format!("`{text}` is no duration; write a whole number and its unit: \"250ms\", \"10s\", \"5m\", \"2h\", \"7d\"");
        let (number, unit) = super::split(text);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if number.is_empty() {
            return Err(wrong());
        }
        // Digits that make no u64 are too many.
        let duration = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*millis)).map(Duration::from_millis);
        let fits = duration.filter(|duration| *duration <= LONGEST);
        fits.ok_or_else(|| format!("`{text}` is too long; the longest is \"3650d\""))
    }

    /// As it is written: in the largest unit that leaves no rest.
    pub fn text(value: Duration) -> String {
        let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
        // The largest unit that leaves no rest; milliseconds always do.
        let (name, unit) =
            UNITS.iter().rev().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit)).unwrap_or(&UNITS[1]);
        format!("{}{name}", millis / unit)
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
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// The largest that is taken: more than there is memory, and sums of it hold.
    const LARGEST: usize = 1 << 40;

    const UNITS: [(&str, usize); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

    /// Reads one.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<usize, String> {
        let wrong = || format!("`{text}` is no size; write a whole number and its unit: \"512B\", \"64KiB\", \"1MiB\", \"1GiB\"");
        let (number, unit) = super::split(text);
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if number.is_empty() {
            return Err(wrong());
        }
        let size = number.parse::<usize>().ok().and_then(|n| n.checked_mul(*bytes)).filter(|size| *size <= LARGEST);
        size.ok_or_else(|| format!("`{text}` is too large; the largest is \"1024GiB\""))
    }

    /// For serde.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(value: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, unit) = UNITS.iter().rev().find(|(_, unit)| value >= unit && value.is_multiple_of(*unit)).unwrap_or(&UNITS[0]);
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
pub fn listen<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<std::net::SocketAddr, D::Error> {
    use serde::{Deserialize as _, de::Error as _};
    let Text(text) = Text::deserialize(deserializer)?;
    let wrong =
        || format!("`{text}` is no socket address; write one and its port: \"127.0.0.1:8080\", \"0.0.0.0:8080\", \"[::]:8080\"");
    text.parse().map_err(|_| D::Error::custom(wrong()))
}

/// A string, or a bare number as it was written: so that `timeout = 10` is told about units rather than types.
struct Text(String);

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl serde::de::Visitor<'_> for Any {
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

fn split(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    (number, unit.trim())
}

/// Writes that there is a secret, not which.
///
/// # Errors
/// The serializer's.
pub fn masked<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.expose_secret().is_empty() { "" } else { MASK })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_bounded_value_or_says_what_would_be_right(text in "[0-9]{0,25}(ms|s|m|h|d|B|KiB|MiB|GiB|x)? ?|.{0,20}") {
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

    #[derive(serde::Serialize)]
    struct Of {
        #[serde(with = "super::duration")]
        duration: std::time::Duration,
    }
}
