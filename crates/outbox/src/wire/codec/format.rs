//! Ways to write values as bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::codec::error::Error;

/// One record type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordType {
    /// Full name, which is the wire's `ce_type`: `farandole.orders.OrderPlaced`.
    pub name: &'static str,
    /// The Avro schema's text; empty where values are JSON.
    pub schema: &'static str,
    /// The topic that it is published to, as its owner calls it: without a prefix.
    pub topic: &'static str,
}

/// A way to write values as bytes. Which one it was says header `content-type`.
pub trait Format {
    /// What the header says.
    const CONTENT_TYPE: &'static str;

    /// `value`, of the type with full name `name`, as bytes.
    ///
    /// # Errors
    /// When it can't be written.
    fn encode<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, Error>;

    /// The value of the type `name` in `bytes`: all of them, and nothing else.
    ///
    /// # Errors
    /// When they aren't one.
    fn decode<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T, Error>;
}
