//! An event to publish, as who has transactions of their own makes one.

use std::borrow::Cow;

use uuid::Uuid;

use crate::ground::text::NAME;
use crate::publish::outbox::error::Error;
use crate::publish::outbox::rows::{FRAME, MAX_CAUSE, MAX_HEADERS, MAX_RECORD};
use crate::wire::codec::{self, Avro, Codec};
use crate::wire::message::Message;
use crate::wire::topics;

const CONTENT_TYPE: &str = "content-type";
/// Of a header beside its name and value.
const HEADER: usize = 6;
/// The headers that the relay writes itself.
const OWN: [&str; 8] = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "traceparent", "farandole"];

/// An event to publish: which topic, about what, of which type, and its value.
///
/// ```
/// use farandole_outbox::codec::Json;
/// use farandole_outbox::outbox::NewEvent;
///
/// let value = serde_json::json!({ "invoice": 17, "cents": 1200 }).to_string();
/// let event = NewEvent::new("billing", "17", "billing.InvoiceIssued", Json::CONTENT_TYPE, value)
///     .cause("POST /invoices")
///     .header("tenant", "acme");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub(super) topic: String,
    pub(super) id: Uuid,
    pub(super) key: String,
    pub(super) kind: Cow<'static, str>,
    pub(super) payload: Vec<u8>,
    /// None: Avro.
    content_type: Option<String>,
    headers: serde_json::Map<String, serde_json::Value>,
    pub(super) cause: Option<String>,
    pub(super) correlation: Option<Uuid>,
    pub(super) traceparent: Option<String>,
    pub(super) key_is_locked: bool,
    /// The topic of its type, where that is known.
    declared: Option<&'static str>,
}

impl NewEvent {
    /// An event whose value the caller has written.
    ///
    /// - `topic`: its whole name in Kafka, prefix and all.
    /// - `key`: the id of what the event is about. Events of one key stay in order; Kafka's key and `ce_subject`.
    /// - `kind`: the full name of its type, `ce_type`: `billing.InvoiceIssued`.
    /// - `content_type`: how `payload` is written: [`Json::CONTENT_TYPE`](codec::Json), or [`Avro::CONTENT_TYPE`] for Avro with its schema's
    ///   id in front, as Confluent's serializers write it.
    ///
    /// It gets a new id, which [`append`](super::append) gives back. What isn't right with it shows there.
    pub fn new(
        topic: impl Into<String>,
        key: impl Into<String>,
        kind: impl Into<Cow<'static, str>>,
        content_type: &str,
        payload: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            topic: topic.into(),
            id: Uuid::now_v7(),
            key: key.into(),
            kind: kind.into(),
            payload: payload.into(),
            content_type: (content_type != Avro::CONTENT_TYPE).then(|| content_type.to_owned()),
            headers: serde_json::Map::new(),
            cause: None,
            correlation: None,
            traceparent: None,
            key_is_locked: false,
            declared: None,
        }
    }

    /// An event whose value `codec` writes, of a type that [`messages!`](crate::messages) has declared; topic and key as in
    /// [`NewEvent::new`]. The topic is the type's (`TOPIC`), with your prefix if you have one: whoever reads another one doesn't look for it
    /// there.
    ///
    /// # Errors
    /// When the value doesn't fit its schema, or its type isn't [registered](Codec::register).
    ///
    /// ```
    /// use farandole_outbox::Codec;
    /// use farandole_outbox::outbox::NewEvent;
    /// # mod billing {
    /// #     #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    /// #     pub struct InvoiceIssued { pub invoice: i64, pub cents: i64 }
    /// #     impl InvoiceIssued {
    /// #         pub const NAME: &'static str = "billing.InvoiceIssued";
    /// #         pub const SCHEMA: &'static str = "";
    /// #         pub const TOPIC: &'static str = "billing";
    /// #     }
    /// # }
    /// farandole_outbox::messages! {
    ///     /// What billing publishes.
    ///     pub enum Event { InvoiceIssued(billing::InvoiceIssued) }
    /// }
    ///
    /// let codec = Codec::json();
    /// let issued = Event::from(billing::InvoiceIssued { invoice: 17, cents: 1200 });
    /// let event = NewEvent::of(&codec, "billing", "17", &issued)?;
    /// # Ok::<(), farandole_outbox::codec::Error>(())
    /// ```
    pub fn of<M: Message>(
        codec: &Codec,
        topic: impl Into<String>,
        key: impl Into<String>,
        event: &M,
    ) -> Result<Self, codec::Error> {
        let new = Self::new(topic, key, event.name(), codec.content_type(), event.encode(codec)?);
        Ok(Self { declared: Some(event.topic()), ..new })
    }

    /// Its id, which becomes `ce_id`.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The id `id` instead of a new one: for who has given it one already, and for an event that must not be new if it is appended twice,
    /// whose consumers tell that by `ce_id`. (Appended twice, it is two records all the same.)
    #[must_use]
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// The transaction holds the key locked already (it has updated or inserted the row of that key, or read it `for update`), as every
    /// other one does that appends for this key. It spares a lock of the server's. Said wrongly, events of this key may be published in
    /// another order than their transactions were committed.
    #[must_use]
    pub fn key_is_locked(mut self) -> Self {
        self.key_is_locked = true;
        self
    }

    /// What led to it: `topic/partition/offset`, or a name for the request; at most [`MAX_CAUSE`] bytes. Without it, a name made from
    /// the event's id.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What it shares with everything that one first request led to. Without it, a new one begins.
    #[must_use]
    pub fn correlation(mut self, correlation: Uuid) -> Self {
        self.correlation = Some(correlation);
        self
    }

    /// The W3C trace context to go on under. What isn't one is left out.
    #[must_use]
    pub fn traceparent(mut self, traceparent: Option<&str>) -> Self {
        self.traceparent = traceparent.filter(|text| crate::wire::traceparent::is_traceparent(text)).map(str::to_owned);
        self
    }

    /// A further header, of [`MAX_HEADERS`] at most with `content-type`. Those that the relay writes itself (`ce_…`, `traceparent`, `farandole`) can't be given.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match name {
            CONTENT_TYPE => self.content_type = Some(value.to_owned()),
            name => drop(self.headers.insert(name.to_owned(), value.into())),
        }
        self
    }

    /// What would be refused later, where nothing can be done about it; `farandole.append` refuses the same, see its migration.
    pub(super) fn check(&self) -> Result<(), Error> {
        let kind = || if self.kind.is_empty() { "event of no type".to_owned() } else { self.kind.to_string() };
        let wrong = |field, reason: &str| Err(Error::Field { kind: kind(), field, reason: reason.to_owned() });
        if !topics::is_name(&self.topic) {
            return wrong("topic", "is no name of a topic: 1 to 249 letters, digits, `.`, `_` and `-`");
        }
        if let Some(declared) = self.declared.filter(|declared| !self.topic.ends_with(declared)) {
            let reason =
                format!("is `{}`, and this type is of topic `{declared}` (its `TOPIC`), with or without a prefix", self.topic);
            return wrong("topic", &reason);
        }
        let texts = [("key", Some(&*self.key)), ("type", Some(&*self.kind)), ("cause", self.cause.as_deref())];
        let further =
            self.headers.iter().flat_map(|(name, value)| [("headers", Some(name.as_str())), ("headers", value.as_str())]);
        if let Some((field, _)) = texts.into_iter().chain(further).find(|(_, text)| text.is_some_and(|text| text.contains('\0')))
        {
            return wrong(field, "holds a zero byte, which PostgreSQL keeps in no text");
        }
        if self.kind.is_empty() || self.kind.len() > NAME {
            return wrong("type", "has to be 1 to 512 bytes: the full name of the event's type");
        }
        if self.key.is_empty() {
            return Err(Error::NoKey { kind: kind() });
        }
        if let Some(own) = self.headers.keys().find(|name| OWN.contains(&name.as_str())) {
            let reason = format!("name `{own}`, which the relay writes itself; a trace context is `traceparent`, an id `id`");
            return wrong("headers", &reason);
        }
        match self.headers.len() + 1 {
            headers if headers > MAX_HEADERS => return Err(Error::Headers { kind: kind(), headers }),
            _ => {}
        }
        let content_type = self.content_type();
        if content_type.is_empty() || content_type.len() > NAME {
            return wrong("content-type", "has to be 1 to 512 bytes: `application/json`, say");
        }
        if content_type == Avro::CONTENT_TYPE && Codec::schema_id(&self.payload).is_err() {
            return wrong("payload", "is said to be Avro, and doesn't begin with a zero byte and its schema's id");
        }
        match self.cause.as_ref().map_or(0, String::len) {
            bytes if bytes > MAX_CAUSE => return Err(Error::Cause { kind: kind(), bytes }),
            _ => {}
        }
        match self.size() {
            bytes if bytes > MAX_RECORD => Err(Error::TooLarge { kind: kind(), bytes }),
            _ => Ok(()),
        }
    }

    fn content_type(&self) -> &str {
        self.content_type.as_deref().unwrap_or(Avro::CONTENT_TYPE)
    }

    /// All further headers, as the outbox keeps them.
    pub(super) fn headers(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE.to_owned(), self.content_type().into());
        headers
    }

    /// Bytes of the record that it becomes, at most. The key is a header too; a cause is written escaped.
    fn size(&self) -> usize {
        let headers = |(name, value): (&String, &serde_json::Value)| name.len() + value.as_str().map_or(0, str::len) + HEADER;
        self.payload.len()
            + 2 * self.key.len()
            + self.kind.len()
            + 3 * self.cause.as_ref().map_or(0, String::len)
            + self.traceparent.as_ref().map_or(0, String::len)
            + (CONTENT_TYPE.len() + self.content_type().len() + HEADER)
            + self.headers.iter().map(headers).sum::<usize>()
            + FRAME
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;

    use super::*;
    use crate::ground::time::Timestamp;
    use crate::publish::relay::headers::Writer;
    use crate::publish::relay::read::RowRef;
    use crate::wire::chain::Place;
    use crate::wire::vectors::{cases, read};

    mod billing {
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct Issued {
            pub invoice: i64,
        }
        impl Issued {
            pub const NAME: &'static str = "billing.Issued";
            pub const SCHEMA: &'static str = "";
            pub const TOPIC: &'static str = "billing";
        }
    }

    crate::messages! {
        /// What billing publishes.
        pub enum Event { Issued(billing::Issued) }
    }

    #[test]
    fn an_event_goes_where_its_readers_look_for_it() {
        let to = |topic: &str| NewEvent::of(&Codec::json(), topic, "17", &Event::from(billing::Issued { invoice: 17 })).unwrap();
        for topic in ["billing", "shop.billing"] {
            to(topic).check().unwrap();
        }
        let said = to("orders").check().unwrap_err().to_string();
        assert_eq!(
            said,
            "billing.Issued can't be published: `topic` is `orders`, and this type is of topic `billing` (its `TOPIC`), with or without \
             a prefix"
        );
    }

    /// The vectors of `docs/wire.md`.
    #[test]
    fn records_count_as_the_document_says() {
        for case in cases(&read("sizes"), "records", 10) {
            let text = |name: &str| case["event"][name].as_str().unwrap();
            let value = vec![0; usize::try_from(case["value_bytes"].as_u64().unwrap()).unwrap()];
            let event = NewEvent::new("orders", text("subject"), text("type").to_owned(), text("content_type"), value);
            let event = event.cause(text("cause")).traceparent(case["event"]["traceparent"].as_str());
            let headers = case["headers"].as_array().unwrap().iter();
            let event = headers.fold(event, |e, h| e.header(h[0].as_str().unwrap(), h[1].as_str().unwrap()));
            assert_eq!(
                (event.size() as u64, event.check().is_ok()),
                (case["size"].as_u64().unwrap(), case["fits"] == true),
                "{case}"
            );
        }
    }

    /// Guard: the room that is counted for what isn't measured. A batch of one record, as Kafka's protocol has it, is no larger than what the
    /// record counts as, so a broker takes it whose `max.message.bytes` is that.
    #[test]
    fn a_batch_is_no_larger_than_its_record_counts_as() {
        let varint = |n: usize| (1..).find(|bytes| (2 * n) >> (7 * bytes) == 0).unwrap();
        let sized = |bytes: usize| varint(bytes) + bytes;
        let place = Place { lineage: i64::MAX, number: i64::MAX };
        let source = "s".repeat(256);
        for (key, kind, cause, headers, payload) in [
            ("k".to_owned(), "a.B".to_owned(), "c".to_owned(), Vec::new(), 1_040_000),
            ("k".repeat(200_000), "k".repeat(512), ";".repeat(1024), Vec::new(), 600_000),
            (
                "k".to_owned(),
                "a.B".to_owned(),
                String::new(),
                (0..199).map(|n| (format!("{n:0>70}"), "v".repeat(4_900))).collect(),
                5,
            ),
            ("k".to_owned(), "a.B".to_owned(), String::new(), vec![("n".repeat(9_000), "v".repeat(1_030_000))], 5),
        ] {
            let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let event = NewEvent::new("t", key.as_str(), kind.clone(), "application/json", vec![b' '; payload]);
            let event =
                headers.iter().fold(event.cause(&*cause).traceparent(Some(trace)), |e, (name, value)| e.header(name, value));
            event.check().unwrap();
            let more = serde_json::Value::from(event.headers()).to_string();
            let row = RowRef {
                seq: 1,
                topic: "t",
                id: Uuid::max(),
                aggregate: &key,
                kind: &kind,
                payload: &event.payload,
                time: Timestamp::from_micros(1),
                cause: &cause,
                correlation: Uuid::max(),
                i: i16::MAX,
                n: i16::MAX,
                traceparent: Some(trace),
                command: None,
                headers: Some(&more),
            };
            let written = Writer::new(&*source).write(&row, place, Some(place));
            let lines = written.iter().map(|h| sized(h.key.len()) + sized(h.value.unwrap_or_default().len())).sum::<usize>();
            // Attributes, and the differences of time and offset, of the first record.
            let record = 3 + sized(key.len()) + sized(payload) + varint(written.count()) + lines;
            let batch = 61 + sized(record);
            assert!(batch <= event.size(), "{batch} bytes count as {}", event.size());
        }
    }

    #[test]
    fn what_postgres_keeps_in_no_text_is_named() {
        let event = |key: &str, cause: &str, header: &str| {
            NewEvent::new("t", key, "a.B", "application/json", "{}").cause(cause).header("h", header).check()
        };
        event("k", "c", "v").unwrap();
        for (field, spoilt) in
            [("key", event("k\0", "c", "v")), ("cause", event("k", "c\0", "v")), ("headers", event("k", "c", "\0"))]
        {
            let said = spoilt.unwrap_err().to_string();
            assert!(said.contains(&format!("`{field}` holds a zero byte")), "{said}");
        }
    }
}
