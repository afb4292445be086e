//! The values of a section, as serde reads them: TOML, and besides a [`Duration`] from a text with its unit.
//!
//! serde itself reads a `Duration` from a table of `secs` and `nanos` only. A service's own settings would each need an attribute for
//! `"20s"`, whose absence nothing but a failed start would tell.

use std::time::Duration;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use toml::Value;

use crate::config::units::duration;

/// What serde calls the parts of a [`Duration`].
const PARTS: [&str; 2] = ["secs", "nanos"];

/// A value to read from.
pub(super) struct Values(pub Value);

impl IntoDeserializer<'_, toml::de::Error> for Values {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Values {
    type Error = toml::de::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Values));
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Value::Table(fields) => {
                let mut fields = MapDeserializer::new(fields.into_iter().map(|(name, value)| (name, Values(value))));
                let value = visitor.visit_map(&mut fields)?;
                fields.end().map(|()| value)
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let text = match &self.0 {
            Value::String(text) if *fields == PARTS => text.trim().to_owned(),
            // Refused, with a word on units.
            Value::Integer(number) if *fields == PARTS => number.to_string(),
            Value::Datetime(_) => return self.0.deserialize_struct(name, fields, visitor),
            _ => return self.deserialize_any(visitor),
        };
        let length = duration::parse(&text).map_err(Self::Error::custom)?;
        let parts = [length.as_secs(), length.subsec_nanos().into()];
        visitor.visit_map(MapDeserializer::new(std::iter::zip(PARTS, parts)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

/// `value` with each [`Duration`] in it as text, as it is written in files and shown.
pub(super) fn with_units(value: Value) -> Value {
    match value {
        Value::Table(fields) => match length(&fields) {
            Some(text) => Value::String(text),
            None => Value::Table(fields.into_iter().map(|(name, value)| (name, with_units(value))).collect()),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(with_units).collect()),
        plain => plain,
    }
}

/// The text of a table that is a [`Duration`]; none of one that is too long to be read back.
fn length(fields: &toml::Table) -> Option<String> {
    let part = |name: &str| fields.get(name)?.as_integer();
    let (secs, nanos) = (part(PARTS[0])?, part(PARTS[1])?);
    let length = Duration::new(secs.try_into().ok()?, nanos.try_into().ok()?);
    let text = duration::text(length);
    (fields.len() == PARTS.len() && duration::parse(&text) == Ok(length)).then_some(text)
}
