//! The formats that a codec has.

use crate::wire::codec::{Avro, Json};

/// The formats that a codec has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// [`Avro`], the default.
    Avro,
    /// [`Json`].
    Json,
}

impl Encoding {
    /// What header `content-type` says of its values.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Avro => Avro::CONTENT_TYPE,
            Self::Json => Json::CONTENT_TYPE,
        }
    }

    /// The format that a `content-type` names, parameters aside.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        // As the kit writes them: what nearly every record says.
        match content_type {
            Avro::CONTENT_TYPE => return Some(Self::Avro),
            Json::CONTENT_TYPE => return Some(Self::Json),
            _ => {}
        }
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "text/json" => Some(Self::Json),
            "application/avro" | "avro/binary" | "application/vnd.apache.avro" => Some(Self::Avro),
            other if other.ends_with("+json") => Some(Self::Json),
            other if other.ends_with("+avro") => Some(Self::Avro),
            _ => None,
        }
    }
}
