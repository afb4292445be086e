//! Reading records as a participant's events.

use std::marker::PhantomData;

use crate::fold::Error;
use crate::ground::error::chain_of;
use crate::participant::Participant;
use crate::wire::codec::Codec;
use crate::wire::message::Message as _;
use crate::wire::record::Record;

/// Reads records as events of `P`.
#[derive(Debug, Clone)]
pub(crate) struct Events<P> {
    codec: Codec,
    of: PhantomData<fn() -> P>,
}

impl<P: Participant> Events<P> {
    pub fn new(codec: Codec) -> Self {
        Self { codec, of: PhantomData }
    }

    /// Gets the schemas of these ids, wherever they aren't known yet.
    pub async fn prepare(&self, ids: impl IntoIterator<Item = i32>) -> Result<(), Error> {
        self.codec.prepare(ids).await.map_err(Error::Schemas)
    }

    /// The event in a record whose schema is known.
    pub fn read(&self, record: &Record) -> Result<P::Event, Error> {
        let unreadable = |reason: String| Error::Unreadable { place: record.at(), reason };
        let kind = record.kind().ok_or_else(|| unreadable("header `ce_type` is missing".to_owned()))?;
        let index = P::Event::find(kind).ok_or_else(|| Error::UnknownType { place: record.at(), kind: kind.to_owned() })?;
        let value = record.value.as_deref().ok_or_else(|| unreadable(format!("{kind} has no value")))?;
        P::Event::decode(index, &record.codec(&self.codec), value).map_err(|error| unreadable(chain_of(&error)))
    }
}
