//! Reads the fields of an object one by one and keeps every complaint, so that a caller hears of all wrong fields at once.
//!
//! A reader gives a harmless stand-in for a wrong field; [`Fields::finish`] then fails, so no stand-in is ever used.

use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::problem::{Problem, Wrong};

/// The fields that are not read yet, and the complaints so far.
pub struct Fields {
    left: Map<String, Value>,
    wrong: Vec<Wrong>,
}

// === impl Fields ===

impl Fields {
    /// The fields of a JSON object.
    pub fn of_json(body: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice::<Pairs>(body) {
            Ok(Pairs(pairs)) => Ok(Self::of(pairs)),
            Err(error) if error.is_data() => Err(Problem::malformed("the body must be a JSON object".to_owned())),
            Err(error) => Err(Problem::malformed(format!("the body is not JSON: {error}"))),
        }
    }

    /// The pairs of a query.
    pub fn of_query(pairs: Vec<(String, String)>) -> Self {
        Self::of(pairs.into_iter().map(|(name, value)| (name, Value::String(value))))
    }

    /// A name given twice is a complaint: which of the two is meant, nobody can tell.
    fn of(pairs: impl IntoIterator<Item = (String, Value)>) -> Self {
        let mut fields = Self { left: Map::new(), wrong: Vec::new() };
        for (name, value) in pairs {
            if fields.left.insert(name.clone(), value).is_some() {
                fields.complain(&name, "must be given once");
            }
        }
        fields
    }

    pub fn complain(&mut self, field: &str, message: impl Into<String>) {
        self.wrong.push(Wrong { field: field.to_owned(), message: message.into() });
    }

    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field)
    }

    /// A text of 1 to `longest` visible ASCII characters and spaces.
    pub fn text(&mut self, field: &str, longest: usize) -> String {
        match self.take(field) {
            Some(Value::String(text)) if is_plain(&text, longest) => return text,
            None => self.complain(field, "is required"),
            Some(_) => self.complain(field, format!("must be a text of 1 to {longest} printable ASCII characters")),
        }
        String::new()
    }

    /// A text that means something.
    pub fn parsed<T>(&mut self, field: &str, parse: impl Fn(&str) -> Option<T>, expected: &str) -> Option<T> {
        let found = match self.take(field) {
            None => {
                self.complain(field, "is required");
                return None;
            }
            Some(Value::String(text)) => parse(&text),
            Some(_) => None,
        };
        if found.is_none() {
            self.complain(field, expected);
        }
        found
    }

    pub fn integer(&mut self, field: &str, range: RangeInclusive<u64>) -> u64 {
        let lowest = *range.start();
        match self.take(field) {
            Some(value) => self.within(field, value.as_u64(), range),
            None => {
                self.complain(field, "is required");
                lowest
            }
        }
    }

    pub fn integer_or(&mut self, field: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        match self.take(field) {
            Some(value) => self.within(field, value.as_u64(), range),
            None => default,
        }
    }

    /// An integer written as text, as in a query.
    pub fn digits_or(&mut self, field: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        match self.take(field) {
            Some(value) => self.within(field, value.as_str().and_then(|text| u64::from_str(text).ok()), range),
            None => default,
        }
    }

    /// A part: 0 to 1; 0 without the field.
    pub fn rate(&mut self, field: &str) -> f64 {
        match self.take(field).map(|value| value.as_f64()) {
            None => return 0.0,
            Some(Some(rate)) if (0.0..=1.0).contains(&rate) => return rate,
            Some(_) => self.complain(field, "must be a number from 0 to 1"),
        }
        0.0
    }

    /// `true` or `false`; false without the field.
    pub fn switch(&mut self, field: &str) -> bool {
        match self.take(field) {
            None => return false,
            Some(Value::Bool(on)) => return on,
            Some(_) => self.complain(field, "must be true or false"),
        }
        false
    }

    /// Fails with every complaint, unknown fields included.
    pub fn finish(mut self) -> Result<(), Problem> {
        for field in std::mem::take(&mut self.left).keys() {
            self.complain(field, "is unknown");
        }
        match self.wrong.is_empty() {
            true => Ok(()),
            false => Err(Problem::wrong(self.wrong)),
        }
    }

    fn within(&mut self, field: &str, number: Option<u64>, range: RangeInclusive<u64>) -> u64 {
        match number.filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                self.complain(field, format!("must be an integer from {} to {}", range.start(), range.end()));
                *range.start()
            }
        }
    }
}

/// An object's fields as they stand there: a map would keep one of two that have a name in common.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// No control characters: a line break would let two requests look the same to the idempotency check.
pub fn is_plain(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
}
