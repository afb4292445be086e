//! A record of a topic.

use std::borrow::Cow;

use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ground::text::{NAME, name, name_of_place, storable_into};
use crate::wire::chain::Link;
use crate::wire::codec::{self, Codec, Encoding};

/// Headers of a record. We write nine, tracing and tenants add a few.
const HEADERS: usize = 256;
/// Bytes of the headers that are looked at, by name. The `farandole` header holds a cause and a command, both bounded where they come in,
/// escaped.
const LONGEST: [(&str, usize); 5] =
    [("ce_source", NAME), ("ce_id", NAME), ("ce_type", NAME), ("content-type", NAME), ("farandole", 16 * 1024)];
/// What a header costs in memory beside its text.
const HEADER: usize = 64;

/// A record as it was read, owned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Topic, with its prefix.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<Header>,
}

/// A header, as text; of one that is none, `:hex:` and its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

impl Record {
    /// Copies a message out of the consumer's buffers.
    pub fn copy(message: &BorrowedMessage<'_>) -> Self {
        let mut record = Self::default();
        record.refill(message);
        record
    }

    /// The same into this one, in the memory that it has: a record is some twenty allocations.
    pub fn refill(&mut self, message: &BorrowedMessage<'_>) {
        message.topic().clone_into(&mut self.topic);
        (self.partition, self.offset) = (message.partition(), message.offset());
        refill(&mut self.key, message.key());
        refill(&mut self.value, message.payload());
        let mut count = 0;
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            if count == self.headers.len() {
                self.headers.push(Header::default());
            }
            let Header { name, value } = &mut self.headers[count];
            storable_into(header.key.as_bytes(), name);
            storable_into(header.value.unwrap_or_default(), value);
            count += 1;
        }
        self.headers.truncate(count);
    }

    /// Where it is: topic/partition@offset.
    pub fn at(&self) -> String {
        format!("{}/{}@{}", self.topic, self.partition, self.offset)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|h| h.name == name).map(|h| h.value.as_str())
    }

    /// The source and place that the headers name; `None` when the record has no `farandole` header.
    ///
    /// # Errors
    /// When the header is there and damaged, or names no source; and when the record has more headers, or longer ones, than are read.
    pub fn link(&self) -> Result<Option<(&str, Link)>, String> {
        if let Some(what) = self.excess() {
            return Err(what);
        }
        let Some(header) = self.header("farandole") else { return Ok(None) };
        let link = Link::parse(header).map_err(|e| e.to_string())?;
        match self.header("ce_source") {
            Some(source) => Ok(Some((source, link))),
            None => Err("header `ce_source` is missing".to_owned()),
        }
    }

    /// The id and place of a record that the relay of `source` wrote; none of any other: one without our headers, with damaged ones
    /// (no relay writes such, whatever source they name), or of another source.
    pub fn ours(&self, source: &str) -> Option<(Uuid, Link)> {
        if self.header("ce_source")? != source {
            return None;
        }
        let (_, link) = self.link().ok().flatten()?;
        Some((Uuid::parse_str(self.header("ce_id")?).ok()?, link))
    }

    /// What of its headers is more than is read. What a stranger writes would otherwise be kept at any length: sources in every position.
    fn excess(&self) -> Option<String> {
        if self.headers.len() > HEADERS {
            return Some(format!("the record has {} headers; the limit is {HEADERS}", self.headers.len()));
        }
        // Nearly none is longer than the least of the bounds, and this is asked of each record.
        self.headers.iter().filter(|header| header.value.len() > NAME).find_map(|long| {
            let (name, longest) = LONGEST.iter().find(|(name, longest)| *name == long.name && long.value.len() > *longest)?;
            // Where a name comes twice, the first one counts.
            let counts = self.headers.iter().find(|header| header.name == *name).is_some_and(|first| std::ptr::eq(first, long));
            counts.then(|| format!("header `{name}` is {} bytes; the limit is {longest}", long.value.len()))
        })
    }

    /// The id of the schema that the value was written with, if it is framed.
    pub fn schema_id(&self) -> Option<i32> {
        let is_json = self.header("content-type").and_then(Encoding::of_content_type) == Some(Encoding::Json);
        if is_json { None } else { Codec::schema_id(self.value.as_deref()?).ok() }
    }

    /// Bytes in memory, for limits on batches.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|h| HEADER + h.name.len() + h.value.len()).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len) + headers
    }

    /// The name (`ground::text::name`) under which an unreadable record parks: of its key, or of its place when it has none.
    pub fn aggregate(&self) -> String {
        match self.key.as_deref() {
            Some(key) if !key.is_empty() => name(key).into_owned(),
            _ => name_of_place(format_args!("{}/{}/{}", self.topic, self.partition, self.offset)),
        }
    }

    /// Its type: header `ce_type`.
    pub fn kind(&self) -> Option<&str> {
        self.header("ce_type")
    }

    /// Its value, as the type `name`.
    ///
    /// # Errors
    /// As [`Codec::decode`]; a record without a value can't be read either.
    ///
    /// ```
    /// use farandole_outbox::codec::{Codec, Error};
    /// use farandole_outbox::Record;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Paid {
    ///     invoice: i64,
    /// }
    ///
    /// /// The invoice that was paid, if the record says so.
    /// fn paid(record: &Record, codec: &Codec) -> Result<Option<i64>, Error> {
    ///     match record.kind() {
    ///         Some(kind @ "billing.Paid") => Ok(Some(record.decode::<Paid>(codec, kind)?.invoice)),
    ///         _ => Ok(None),
    ///     }
    /// }
    /// ```
    pub fn decode<T: serde::de::DeserializeOwned>(&self, codec: &Codec, name: &str) -> Result<T, codec::Error> {
        self.codec(codec).decode(name, self.value.as_deref().unwrap_or_default())
    }

    /// `codec`, for the format that this record's `content-type` names.
    pub fn codec<'a>(&self, codec: &'a Codec) -> Cow<'a, Codec> {
        codec.for_content_type(self.header("content-type"))
    }
}

/// Puts `bytes` in place of what was there.
fn refill(old: &mut Option<Vec<u8>>, bytes: Option<&[u8]>) {
    match (bytes, old) {
        (Some(bytes), Some(old)) => bytes.clone_into(old),
        (bytes, old) => *old = bytes.map(<[u8]>::to_vec),
    }
}
