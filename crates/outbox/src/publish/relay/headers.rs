//! The headers of a record: CloudEvents in binary mode, trace context, and the `farandole` header that [`chain`](crate::chain) reads.
//!
//! | header | value |
//! |---|---|
//! | `ce_specversion` | `1.0` |
//! | `ce_id` | the event's id |
//! | `ce_source` | `/farandole/<service>`, or [`Config::source`](super::Config::source) |
//! | `ce_type` | the event's full type name |
//! | `ce_subject` | the aggregate's id, which is the key too |
//! | `ce_time` | when it happened, RFC 3339 in UTC with microseconds |
//! | `content-type` | `application/avro`, or what the row's headers say |
//! | `traceparent` | W3C trace context, if the row has one |
//! | `farandole` | `l=…;n=…;p=…;c=…;k=…;i=…/…[;cmd=…]` |
//!
//! and, of an event that opens effects, `farandole-effects`, by which a heal makes their idempotency keys again. It is an entry
//! of the row's `headers`.
//!
//! Entries of the row's `headers` whose value is a string follow; a name of the table above is left out, but for `content-type`.

use std::fmt::Write as _;

use rdkafka::message::{Header, OwnedHeaders};

use crate::ground::time::Timestamp;
use crate::publish::relay::read::RowRef;
use crate::wire::chain::Place;

/// The names that the relay writes itself.
const OWN: [&str; 9] =
    ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "content-type", "traceparent", "farandole"];

/// Writes headers, one record after the other, into buffers that it keeps.
pub struct Writer {
    source: String,
    time: String,
    /// The second that `time` holds, and its length up to the fraction.
    second: Option<i64>,
    whole: usize,
    link: String,
}

impl Writer {
    /// For records of this source.
    pub fn new(source: impl Into<String>) -> Self {
        let (time, link) = (String::with_capacity(32), String::with_capacity(256));
        Self { source: source.into(), time, second: None, whole: 0, link }
    }

    /// The headers of `row` when it is published at `place`, after `previous` in its partition.
    pub fn write(&mut self, row: &RowRef<'_>, place: Place, previous: Option<Place>) -> OwnedHeaders {
        self.write_time(row.time);
        self.write_link(row, place, previous);
        let extra = row.headers.and_then(|text| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).ok());
        let content_type = extra.as_ref().and_then(|e| e.get("content-type")?.as_str()).unwrap_or("application/avro");
        let mut id = uuid::Uuid::encode_buffer();
        let id = &*row.id.as_hyphenated().encode_lower(&mut id);
        let mut headers = text(OwnedHeaders::new_with_capacity(OWN.len()), "ce_specversion", "1.0");
        headers = text(headers, "ce_id", id);
        headers = text(headers, "ce_source", &self.source);
        headers = text(headers, "ce_type", row.kind);
        headers = text(headers, "ce_subject", row.aggregate);
        headers = text(headers, "ce_time", &self.time);
        headers = text(headers, "content-type", content_type);
        if let Some(traceparent) = row.traceparent {
            headers = text(headers, "traceparent", traceparent);
        }
        headers = text(headers, "farandole", &self.link);
        for (name, value) in extra.iter().flatten() {
            if let Some(value) = value.as_str().filter(|_| !OWN.contains(&name.as_str()) && !name.contains('\0')) {
                headers = text(headers, name, value);
            }
        }
        headers
    }

    /// Most rows happened in the same second as the one before: then only the fraction is written.
    fn write_time(&mut self, time: Timestamp) {
        let (second, fraction) = (time.micros().div_euclid(1_000_000), time.micros().rem_euclid(1_000_000));
        if self.second != Some(second) {
            self.time.clear();
            let _ = write!(self.time, "{}", Timestamp::from_micros(second.saturating_mul(1_000_000))); // a String takes all
            // Of `2026-11-21T12:00:00.000000Z` what is before the fraction; a year of five digits has its own length.
            let whole = self.time.len().saturating_sub("000000Z".len());
            self.time.truncate(whole);
            self.second = Some(second);
            self.whole = whole;
        }
        self.time.truncate(self.whole);
        let mut unit = 100_000;
        while unit > 0 {
            // A digit is below 10.
            self.time.push(char::from(b'0' + (fraction / unit % 10) as u8));
            unit /= 10;
        }
        self.time.push('Z');
    }

    fn write_link(&mut self, row: &RowRef<'_>, place: Place, previous: Option<Place>) {
        let link = &mut self.link;
        link.clear();
        link.push_str("l=");
        number(link, place.lineage);
        link.push_str(";n=");
        number(link, place.number);
        link.push_str(";p=");
        match previous {
            Some(previous) => {
                number(link, previous.lineage);
                link.push(':');
                number(link, previous.number);
            }
            None => link.push('-'),
        }
        link.push_str(";c=");
        escape_into(link, row.cause);
        let mut k = uuid::Uuid::encode_buffer();
        link.push_str(";k=");
        link.push_str(row.correlation.as_hyphenated().encode_lower(&mut k));
        link.push_str(";i=");
        number(link, row.i.into());
        link.push('/');
        number(link, row.n.into());
        if let Some(command) = row.command {
            link.push_str(";cmd=");
            link.push_str(command);
        }
    }
}

/// Decimal digits without the formatting machinery, which costs as much as the rest of a header.
fn number(out: &mut String, n: i64) {
    if n < 0 {
        out.push('-');
    }
    let (mut digits, mut at, mut rest) = ([0_u8; 20], 20, n.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits[at..].iter().for_each(|digit| out.push(char::from(*digit)));
}

fn text(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

fn escape_into(out: &mut String, text: &str) {
    if text.bytes().any(|b| matches!(b, b';' | b'%' | b',' | 0..=0x1f)) {
        out.push_str(&crate::wire::chain::escape(text));
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;
    use uuid::Uuid;

    use super::*;
    use crate::wire::chain::Link;

    fn row() -> RowRef<'static> {
        RowRef {
            seq: 7,
            topic: "orders",
            id: Uuid::from_u128(1),
            aggregate: "o-1",
            kind: "farandole.orders.OrderPlaced",
            payload: b"x",
            time: Timestamp::from_micros(1_763_733_600_123_456),
            cause: "carts/0/7",
            correlation: Uuid::from_u128(2),
            i: 1,
            n: 2,
            traceparent: None,
            command: None,
            headers: None,
        }
    }

    fn written(row: &RowRef<'_>, previous: Option<Place>) -> Vec<(String, String)> {
        let headers = Writer::new("/farandole/orders").write(row, Place { lineage: 1, number: 42 }, previous);
        headers.iter().map(|h| (h.key.to_owned(), String::from_utf8(h.value.unwrap().to_vec()).unwrap())).collect()
    }

    #[test]
    fn all_nine_in_order() {
        let mut row = row();
        row.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let headers = written(&row, Some(Place { lineage: 1, number: 40 }));
        assert_eq!(headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), OWN);
        assert_eq!(headers[5].1, "2025-11-21T14:00:00.123456Z");
        assert_eq!(headers[8].1, "l=1;n=42;p=1:40;c=carts/0/7;k=00000000-0000-0000-0000-000000000002;i=1/2");
    }

    #[test]
    fn the_link_reads_back_whatever_the_cause() {
        let mut row = row();
        for cause in ["carts/0/7", "a;b%c,d", "", "%3B", "zeile\n"] {
            row.cause = cause;
            row.command = Some("scope,key%3B,hash");
            let headers = written(&row, None);
            let link = Link::parse(&headers.iter().find(|(n, _)| n == "farandole").unwrap().1).unwrap();
            assert_eq!((link.cause.as_str(), link.previous, link.of), (cause, None, (1, 2)));
            assert_eq!(link.command.as_deref(), Some("scope,key%3B,hash"));
        }
    }

    #[test]
    fn numbers_and_times_are_written_in_full() {
        for n in [0, 7, 10, 42, -5, i64::MAX, i64::MIN] {
            let mut out = String::new();
            number(&mut out, n);
            assert_eq!(out, n.to_string());
        }
        let mut writer = Writer::new("/farandole/orders");
        for micros in [0, 1, 999_999, 1_000_000, 1_763_733_600_000_007, 1_763_733_600_123_456, -1] {
            writer.write_time(Timestamp::from_micros(micros));
            assert_eq!(writer.time, Timestamp::from_micros(micros).to_string());
        }
    }

    #[test]
    fn own_headers_follow_and_change_none_but_the_content_type() {
        let mut row = row();
        row.headers = Some(r#"{"content-type": "application/json", "tenant": "t1", "ce_id": "forged", "depth": 3}"#);
        let headers = written(&row, None);
        let value = |name: &str| headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!(value("content-type"), ["application/json"]);
        assert_eq!(value("tenant"), ["t1"]);
        assert_eq!(value("ce_id"), ["00000000-0000-0000-0000-000000000001"]);
        assert_eq!(value("depth"), [""; 0]);
    }
}
