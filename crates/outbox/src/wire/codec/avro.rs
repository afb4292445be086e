//! Avro in Confluent's wire format.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, RwLock};

use apache_avro::reader::datum::GenericDatumReader;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::codec::frame::{Datum, split};
use crate::wire::codec::framing::Frame;
use crate::wire::codec::guard::guarded;
use crate::wire::codec::schema::Parsed;
use crate::wire::codec::state::{Resolution, Slot, State, whole};
use crate::wire::codec::{Error, Format};

/// Avro in Confluent's wire format, with the schemas known so far. Clones share them.
#[derive(Clone, Default)]
pub struct Avro(pub(super) Arc<RwLock<State>>);

impl std::fmt::Debug for Avro {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Avro")
    }
}

impl Avro {
    /// As [`Format::CONTENT_TYPE`].
    pub const CONTENT_TYPE: &'static str = "application/avro";
}

/// What a reader made of a datum; none when it panicked.
type Read<T> = Option<Result<T, apache_avro::Error>>;

/// Straight from the bytes, if the Rust type lets it: that it is called as the record is, say, is asked when reading and not when
/// writing. A type that doesn't is remembered, for the attempt costs more than the other way.
fn direct<T: DeserializeOwned>(writer: &'static Parsed, datum: &mut Datum<'_>) -> Read<T> {
    if writer.is_read_by_value.load(Relaxed) {
        return by_value(&writer.reader, datum);
    }
    let mut again = *datum;
    let read = guarded(|| writer.reader.read_deser::<T>(datum));
    if let Some(Err(_)) = &read
        && let whole @ Some(Ok(_)) = by_value(&writer.reader, &mut again)
        && again.left() == 0
    {
        writer.is_read_by_value.store(true, Relaxed);
        *datum = again;
        return whole;
    }
    read
}

/// Through apache-avro's `Value`.
fn by_value<T: DeserializeOwned>(reader: &GenericDatumReader<'static>, datum: &mut Datum<'_>) -> Read<T> {
    guarded(|| reader.read_value(datum).and_then(|value| apache_avro::from_value::<T>(&value)))
}

impl Format for Avro {
    const CONTENT_TYPE: &'static str = Self::CONTENT_TYPE;

    /// `value`, of the registered type `name`, as bytes in Confluent's wire format.
    ///
    /// # Errors
    /// [`Error::UnknownType`] when the type isn't registered, [`Error::Encode`] when the value doesn't fit its schema.
    fn encode<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, Error> {
        let known = whole(self.0.read()).known(name);
        let Some((schema, id)) = known.and_then(|k| Some((k.schema, k.id?))) else {
            return Err(Error::UnknownType { name: name.into() });
        };
        match schema.write(|| Frame::new(id), value) {
            Ok(frame) => Ok(frame.into_bytes()),
            Err(source) => Err(Error::Encode { name: name.into(), source: source.into() }),
        }
    }

    /// The value in `bytes`, which the caller expects to be of the type `name` (`ce_type`).
    ///
    /// # Errors
    /// None of them passes; see [`Error`]. `Codec::prepare` comes first.
    fn decode<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T, Error> {
        let (id, mut datum) = split(bytes)?;
        let slot = whole(self.0.read()).slot(id);
        let (writer, resolution) = match slot {
            None => return Err(Error::UnknownSchema { id }),
            Some(Slot::Unusable(reason)) => return Err(Error::UnusableSchema { id, reason: reason.as_ref().into() }),
            Some(Slot::Withheld(reason)) => return Err(Error::Withheld { id, reason: reason.as_ref().into() }),
            Some(Slot::Schema { writer, resolution }) => (writer, resolution),
        };
        if writer.name != name {
            return Err(Error::OtherRecord { id, expected: name.into(), found: writer.name.clone() });
        }
        let read = match resolution {
            Resolution::None => return Err(Error::UnknownType { name: name.into() }),
            Resolution::Direct => direct(writer, &mut datum),
            Resolution::Resolve(reader) => by_value(&reader, &mut datum),
        };
        match read {
            None => Err(Error::Panicked { name: name.into(), id }),
            Some(Err(source)) => Err(Error::Corrupt { name: name.into(), id, source: source.into() }),
            Some(Ok(_)) if datum.left() > 0 => Err(Error::Trailing { name: name.into(), id, extra: datum.left() }),
            Some(Ok(value)) => Ok(value),
        }
    }
}
