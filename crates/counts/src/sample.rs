//! The shop's orders and payments that are counted: always the same, ids and times included.

use farandole::chain::Place;
use farandole::record::Header;
use farandole::relay::headers::Writer;
use farandole::relay::read::RowRef;
use farandole::{Record, Timestamp};
use rdkafka::message::Headers as _;
use schemas::orders::{OrderLine, OrderPlaced};
use schemas::payments::PaymentAuthorised;
use uuid::Uuid;

pub const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// 2026-11-21T12:00:00Z.
pub const AT: i64 = 1_795_262_400_000_000;

/// The id of the order with this number.
pub fn order_id(number: u64) -> Uuid {
    // Multiplied, so that ids differ in all of their bytes, as those that are drawn do.
    Uuid::from_u128(0x019a_a678_0000_7000_8000_0000_0000_0000 | u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4))
}

/// An order of three lines.
pub fn order(number: u64) -> OrderPlaced {
    let line = |sku: &str, quantity, unit_price| OrderLine { sku: sku.to_owned(), quantity, unit_price };
    OrderPlaced {
        order_id: order_id(number),
        customer: "17850".to_owned(),
        currency: "GBP".to_owned(),
        total: 6 * 255 + 6 * 339 + 8 * 275,
        lines: vec![line("85123A", 6, 255), line("71053", 6, 339), line("84406B", 8, 275)],
        card_token: "tok_17850".to_owned(),
        placed_at: AT,
        confirm_by: AT + 60_000_000,
    }
}

/// The card holds what that order is worth.
pub fn authorised(number: u64) -> PaymentAuthorised {
    PaymentAuthorised {
        order_id: order_id(number),
        authorisation_id: "au_019aa6780000700080000000".to_owned(),
        amount: order(number).total,
        currency: "GBP".to_owned(),
        expires_at: Some(AT + 7 * 24 * 3_600_000_000),
        authorised_at: AT + 1_000_000,
    }
}

/// What a row of the outbox holds, owned.
pub struct Stored {
    pub seq: i64,
    pub topic: &'static str,
    pub id: Uuid,
    pub aggregate: String,
    pub kind: &'static str,
    pub payload: Vec<u8>,
    pub cause: String,
}

impl Stored {
    /// The row as the relay has it.
    pub fn row(&self) -> RowRef<'_> {
        RowRef {
            seq: self.seq,
            topic: self.topic,
            id: self.id,
            aggregate: &self.aggregate,
            kind: self.kind,
            payload: &self.payload,
            time: Timestamp::from_micros(AT + 137 * self.seq),
            cause: &self.cause,
            correlation: self.id,
            i: 1,
            n: 1,
            traceparent: Some(TRACEPARENT),
            command: None,
            headers: None,
        }
    }

    /// The record that a consumer reads, at `number` of its service's history, which is its place in partition 3.
    pub fn record(&self, number: i64) -> Record {
        let place = |number| Place { lineage: 1, number };
        let headers =
            Writer::new(format!("/farandole/{}", self.topic)).write(&self.row(), place(number), Some(place(number - 1)));
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        let headers = headers.iter().map(|header| Header { name: header.key.to_owned(), value: text(header.value) });
        Record {
            topic: self.topic.to_owned(),
            partition: 3,
            offset: number,
            key: Some(self.aggregate.clone().into_bytes()),
            value: Some(self.payload.clone()),
            headers: headers.collect(),
        }
    }
}
