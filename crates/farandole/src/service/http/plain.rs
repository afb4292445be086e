//! Strict JSON: each field once, only characters that can be stored.
//!
//! Of a field that is named twice parsers take the last, or the first: caller and service, or two services, would read two requests. A
//! NUL in a text is taken by no database. Neither shows once a body has become a value, so it is looked at before.

use std::collections::HashSet;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::participant::problem::{FieldError, Problem};

/// Where the walk is, and what it found wrong.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    wrong: Option<Wrong>,
}

enum Wrong {
    Twice(String),
    Nul(String),
}

/// Refuses a body that isn't plain JSON.
pub(super) fn check(bytes: &[u8]) -> Result<(), Problem> {
    let malformed = |what| Err(Problem::new(400, "malformed-json", what));
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => return malformed("the body begins with a byte-order mark; send it without"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return malformed("the body is UTF-16; send it as UTF-8"),
        [0x1f, 0x8b, ..] => return malformed("the body is compressed with gzip; send it uncompressed"),
        _ => {}
    }
    let mut walk = Walk::default();
    match serde_json::Deserializer::from_slice(bytes).deserialize_any(&mut walk) {
        Ok(()) => Ok(()),
        Err(error) => Err(match walk.wrong {
            Some(Wrong::Twice(field)) => {
                let reason = "is named twice; name it once".to_owned();
                let mut problem = Problem::new(400, "duplicate-field", format!("`{field}` is named twice"));
                problem.errors = vec![FieldError { field, reason }];
                problem
            }
            Some(Wrong::Nul(field)) => {
                Problem::invalid(vec![FieldError { field, reason: "holds a NUL character, which can't be stored".to_owned() }])
            }
            None => no_json(&error),
        }),
    }
}

pub(super) fn no_json(error: &serde_json::Error) -> Problem {
    Problem::new(400, "malformed-json", format!("the body is not valid JSON: {error}"))
}

impl Walk {
    /// Where it is, as `lines[3].sku`.
    fn place(&self) -> String {
        let path = self.path.concat();
        let path = path.trim_start_matches('.');
        if path.is_empty() { "(the whole body)".to_owned() } else { path.chars().take(200).collect() }
    }

    fn stop<E: serde::de::Error>(&mut self, wrong: Wrong) -> E {
        self.wrong = Some(wrong);
        E::custom("")
    }

    fn text<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(self.stop(Wrong::Nul(self.place()))) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for n in 0.. {
            self.path.push(format!("[{n}]"));
            let more = items.next_element_seed(&mut *self)?;
            self.path.pop();
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            self.path.push(format!(".{name}"));
            self.text(&name)?;
            if !seen.insert(name) {
                return Err(self.stop(Wrong::Twice(self.place())));
            }
            fields.next_value_seed(&mut *self)?;
            self.path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_names_what_is_wrong_in_it() {
        for (body, status, field) in [
            (r#"{"a": 1, "b": {"a": 2}, "c": [{"a": 1}, {"a": null}, true, 1.5, -3]}"#, 0, ""),
            (r#"{"a": 1, "b": 2, "a": 3}"#, 400, "a"),
            (r#"{"lines": [{"sku": "x"}, {"sku": "x", "n": 1, "n": 1}]}"#, 400, "lines[1].n"),
            ("{\"a\": 1, \"\\u0061\": 3}", 400, "a"),
            ("{\"lines\": [{\"sku\": \"a\\u0000b\"}]}", 422, "lines[0].sku"),
            ("{\"a\\u0000b\": 1}", 422, "a\0b"),
            ("\"\\u0000\"", 422, "(the whole body)"),
        ] {
            let problem = check(body.as_bytes()).err();
            let found = problem.as_ref().map_or((0, ""), |p| (p.status, p.errors.first().map_or("", |e| e.field.as_str())));
            assert_eq!(found, (status, field), "{body}");
        }
        for (bytes, word) in [
            (&b"\xef\xbb\xbf{}"[..], "byte-order mark"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
            (b"\x1f\x8b\x08\x00", "gzip"),
            (b"{", "not valid JSON"),
            (b"\xff", "not valid JSON"),
        ] {
            let problem = check(bytes).unwrap_err();
            assert!(problem.status == 400 && problem.detail.contains(word), "{problem:?}");
        }
        assert_eq!(check("[".repeat(100_000).as_bytes()).unwrap_err().status, 400, "as deep as the stack is not");
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>, text in r#"[\[\]{}:,"a\\u0 1.e-]{0,60}"#) {
            let _ = check(&bytes);
            // What is JSON is refused for what it says alone.
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                let problem = check(text.as_bytes()).err();
                prop_assert!(problem.is_none_or(|p| !p.errors.is_empty()), "{}", text);
            }
        }
    }
}
