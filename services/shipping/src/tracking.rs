//! The carrier's number of a parcel.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

/// Far longer than any carrier's.
const LONGEST: usize = 64;

/// Reads one: 1 to 64 ASCII letters, digits and hyphens, so that it can stand in the path of an address as it is.
///
/// # Errors
/// When it is none, in words.
pub fn read<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let right = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    right.then_some(text).ok_or_else(|| D::Error::custom(format!("must be 1 to {LONGEST} ASCII letters, digits and hyphens")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_number_can_stand_in_a_path() {
        let is_one = |text: &str| super::read(serde_json::Value::from(text)).is_ok();
        for right in ["1", "JJD-0003", "019ae5c2-7d1f-7c5a-8d1e-3f2b1a0c9d8e", "x".repeat(64).as_str()] {
            assert!(is_one(right), "{right}");
        }
        for wrong in ["", "../totals", "a b", "a?b", "%2e", "é", "x".repeat(65).as_str()] {
            assert!(!is_one(wrong), "{wrong}");
        }
    }
}
