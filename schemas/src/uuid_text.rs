//! Serde for `{"type": "string", "logicalType": "uuid"}`: always text.
//!
//! `uuid`'s own serde writes bytes to formats that aren't human-readable, which apache-avro is by default, and a
//! string schema refuses bytes. With this the types don't depend on that global setting.

use std::fmt;

use serde::{Deserializer, Serialize, Serializer, de::Visitor};
use uuid::Uuid;

/// A UUID that is written as text.
pub(crate) struct Text<'a>(pub &'a Uuid);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    deserializer.deserialize_str(TextVisitor)
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Uuid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a UUID as text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Uuid, E> {
        Uuid::try_parse(text).map_err(E::custom)
    }
}
