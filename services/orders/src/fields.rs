//! A request's fields, read one by one, so that every wrong one is named at once.

use farandole::FieldError;
use serde_json::{Map, Value};

/// One complaint.
pub fn error(field: impl Into<String>, reason: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), reason: reason.into() }
}

/// The complaints so far. A reader gives a harmless stand-in for a wrong field; no stand-in is used, since the request fails.
#[derive(Debug, Default)]
pub struct Wrong(pub Vec<FieldError>);

impl Wrong {
    /// A field that nobody reads is a caller's slip, and what it was to say would be lost.
    pub fn known(&mut self, of: &Map<String, Value>, before: &str, known: &[&str]) {
        let unknown = of.keys().filter(|name| !known.contains(&name.as_str()));
        let shown = |name: &String| name.chars().take(64).collect::<String>();
        self.0.extend(unknown.take(known.len()).map(|name| error(format!("{before}{}", shown(name)), "is unknown")));
    }

    /// A text of 1 to `longest` characters.
    pub fn text(&mut self, fields: &Map<String, Value>, name: &str, longest: usize) -> String {
        self.checked(fields, name, name, &format!("1 to {longest} characters, none of them a control character"), |text| {
            (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        })
    }

    /// Acquirers take printable ASCII only.
    pub fn token(&mut self, fields: &Map<String, Value>) -> String {
        self.checked(fields, "card_token", "card_token", "1 to 128 printable ASCII characters", |text| {
            (1..=128).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        })
    }

    /// Three upper-case letters, in the field `path`.
    pub fn currency(&mut self, fields: &Map<String, Value>, path: &str) -> String {
        self.checked(fields, "currency", path, "three upper-case letters (ISO 4217), such as EUR", |text| {
            text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase())
        })
    }

    /// The text `name`, if it is `ok`; `must` says what it has to be.
    pub fn checked(&mut self, of: &Map<String, Value>, name: &str, path: &str, must: &str, ok: impl Fn(&str) -> bool) -> String {
        match of.get(name) {
            Some(Value::String(text)) if ok(text) => return text.clone(),
            None => self.0.push(error(path, format!("is required: {must}"))),
            Some(_) => self.0.push(error(path, format!("must be a text of {must}"))),
        }
        String::new()
    }

    /// The number `name`, within its bounds.
    pub fn integer(&mut self, of: &Map<String, Value>, name: &str, path: String, lowest: i64, highest: i64) -> i64 {
        match of.get(name).map(Value::as_i64) {
            Some(Some(number)) if (lowest..=highest).contains(&number) => return number,
            None => self.0.push(error(path, format!("is required: an integer from {lowest} to {highest}"))),
            Some(_) => self.0.push(error(path, format!("must be an integer from {lowest} to {highest}"))),
        }
        lowest
    }
}
