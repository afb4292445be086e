//! Reads the fields of a request one by one and keeps every complaint, so that a caller hears of all wrong fields at once.
//!
//! A reader gives a harmless stand-in for a wrong field; [`Fields::finish`] then fails, so no stand-in is ever used.

use std::fmt;

use axum::http::HeaderMap;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::problem::Problem;

/// What a field must be, and how it is read.
pub type Kind<T> = (&'static str, fn(&Value) -> Option<T>);

pub const TEXT: Kind<String> = ("a text of 1 to 128 printable ASCII characters", |value| plain::<128>(value.as_str()?));
pub const ID: Kind<Uuid> = ("an id", |value| value.as_str()?.parse().ok());
/// Of a page; a query has it as text.
pub const LIMIT: Kind<usize> =
    ("an integer from 1 to 1000", |value| value.as_str()?.parse().ok().filter(|n| (1..=1_000).contains(n)));
pub const RATE: Kind<f64> = ("a number from 0 to 1", |value| value.as_f64().filter(|rate| (0.0..=1.0).contains(rate)));
pub const SWITCH: Kind<bool> = ("true or false", Value::as_bool);
pub const SEED: Kind<u64> = ("an integer from 0 to 18446744073709551615", Value::as_u64);

/// The fields of a JSON object or a query that are not read yet, and the complaints so far.
pub struct Fields {
    left: Map<String, Value>,
    wrong: Vec<(String, String)>,
}

impl Fields {
    pub fn of_json(body: &[u8]) -> Result<Self, Problem> {
        serde_json::from_slice(body).map_err(|error| Problem::new("invalid_request", format!("the body can't be read: {error}")))
    }

    fn complain(&mut self, field: &str, message: impl Into<String>) {
        self.wrong.push((field.to_owned(), message.into()));
    }

    /// What a field says, if it is there.
    pub fn may<T>(&mut self, field: &str, (expected, read): Kind<T>) -> Option<T> {
        let found = read(&self.left.remove(field)?);
        if found.is_none() {
            self.complain(field, format!("must be {expected}"));
        }
        found
    }

    /// What a field says, which must be there.
    pub fn must<T: Default>(&mut self, field: &str, kind: Kind<T>) -> T {
        if !self.left.contains_key(field) {
            self.complain(field, "is required");
        }
        self.may(field, kind).unwrap_or_default()
    }

    /// The idempotency key of a request, as long as others allow.
    pub fn key(&mut self, headers: &HeaderMap) -> String {
        let mut keys = headers.get_all("idempotency-key").iter().map(|key| plain::<255>(key.to_str().ok()?));
        match (keys.next(), keys.next()) {
            (Some(Some(key)), None) => return key,
            (None, _) => self.complain("Idempotency-Key", "this header is required"),
            _ => self.complain("Idempotency-Key", "must be given once, 1 to 255 printable ASCII characters"),
        }
        String::new()
    }

    /// Fails with every complaint, unknown fields included.
    pub fn finish(mut self) -> Result<(), Problem> {
        for field in std::mem::take(&mut self.left).keys() {
            self.complain(field, "is unknown");
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(Problem::wrong(&self.wrong)) }
    }
}

/// A text without control characters, so that it stays on one line wherever it is told.
pub fn plain<const LONGEST: usize>(text: &str) -> Option<String> {
    let plain = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    plain.then(|| text.to_owned())
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Fields, A::Error> {
                let mut fields = Fields { left: Map::new(), wrong: Vec::new() };
                while let Some((name, value)) = pairs.next_entry::<String, Value>()? {
                    // Which of two is meant, nobody can tell.
                    if fields.left.insert(name.clone(), value).is_some() {
                        fields.complain(&name, "must be given once");
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
