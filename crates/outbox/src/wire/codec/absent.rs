//! Stand-ins for Avro in a build without the feature.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::codec::error::Error;
use crate::wire::codec::format::Format;

/// Avro, which this program was built without (feature `avro`).
#[derive(Debug, Clone, Copy, Default)]
pub struct Avro(());

impl Avro {
    /// As [`Format::CONTENT_TYPE`].
    pub const CONTENT_TYPE: &'static str = "application/avro";
}

impl Format for Avro {
    const CONTENT_TYPE: &'static str = Self::CONTENT_TYPE;

    fn encode<T: Serialize>(&self, name: &str, _value: &T) -> Result<Vec<u8>, Error> {
        Err(Error::NoAvro { name: name.to_owned() })
    }

    fn decode<T: DeserializeOwned>(&self, name: &str, _bytes: &[u8]) -> Result<T, Error> {
        Err(Error::NoAvro { name: name.to_owned() })
    }
}

/// There is none.
pub(super) enum Remote {}
