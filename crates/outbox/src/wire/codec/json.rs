//! JSON, read strictly: one object, nothing behind it, every fault with the field that has it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::codec::{Error, Format};

/// JSON text, as serde writes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl Json {
    /// As [`Format::CONTENT_TYPE`].
    pub const CONTENT_TYPE: &'static str = "application/json";
}

impl Format for Json {
    const CONTENT_TYPE: &'static str = Self::CONTENT_TYPE;

    fn encode<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(value).map_err(|source| Error::EncodeJson { name: name.into(), source })
    }

    /// Nests as deep as the type does: what is skipped costs no stack. Allocates no more than a few times the text.
    fn decode<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T, Error> {
        // serde would take a list of the fields' values for a struct.
        if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Error::NoObject { name: name.into() });
        }
        // serde looks at the bytes of those texts only that it keeps.
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let source = serde::de::Error::custom(format_args!("it isn't UTF-8: {error}"));
            Error::Json { name: name.into(), field: ".".into(), source }
        })?;
        let mut text = serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut text).map_err(|error| {
            let field = error.path().to_string();
            Error::Json { name: name.into(), field, source: error.into_inner() }
        })?;
        match text.end() {
            Ok(()) => Ok(value),
            Err(source) => Err(Error::Json { name: name.into(), field: "(behind the value)".into(), source }),
        }
    }
}
