//! What a codec is without Avro: all values are JSON, and no registry is asked.

use tokio_util::sync::CancellationToken;

use crate::database::sessions::Sessions;
use crate::wire::codec::format::RecordType;
use crate::wire::codec::{Codec, Encoding, Error};
use crate::wire::settings::{Registry, Subjects};

impl Codec {
    /// A codec of JSON: there is no registry without the feature `avro`.
    pub fn with(_registry: &Registry, _sessions: impl Into<Sessions>) -> Self {
        Self::json()
    }

    /// A codec of JSON, as [`Codec::with`].
    pub fn uncached(_registry: &Registry) -> Self {
        Self::json()
    }

    /// A codec for pure tests and benchmarks.
    pub fn offline(_types: &[RecordType]) -> Self {
        Self::json()
    }

    /// Nothing has to be registered of JSON.
    ///
    /// # Errors
    /// When it is told to write Avro.
    pub async fn register(&self, topic: &str, types: &[RecordType]) -> Result<(), Error> {
        self.register_under(topic, types, Subjects::TopicRecord).await
    }

    /// As [`Codec::register`].
    ///
    /// # Errors
    /// When it is told to write Avro.
    pub async fn register_under(&self, _topic: &str, types: &[RecordType], _named: Subjects) -> Result<(), Error> {
        match types.first() {
            Some(first) if self.encoding == Encoding::Avro => Err(Error::NoAvro { name: first.name.to_owned() }),
            _ => Ok(()),
        }
    }

    /// There is nothing to ask for again.
    ///
    /// # Errors
    /// None.
    pub async fn refresh(&self) -> Result<(), Error> {
        Ok(())
    }

    /// There is nothing to keep fresh.
    pub async fn keep_fresh(&self, _stop: &CancellationToken) {}

    /// There are none.
    pub fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    /// There is nothing to load.
    ///
    /// # Errors
    /// None: a value that is Avro says so when it is read.
    pub async fn prepare(&self, _ids: impl IntoIterator<Item = i32>) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn know_as(&self, _t: &RecordType, _id: Option<i32>) -> Result<(), Error> {
        Ok(())
    }
}
