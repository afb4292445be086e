//! One value of every event; a new event is added here.

use std::fmt::Debug;

use apache_avro::{AvroResult, Schema};
use schemas::{inventory::*, loyalty::*, orders::*, payments::*};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::codec::{direct, encode, parse, resolved};

/// A sample and how its type is read, without the type.
pub struct Sample {
    pub name: &'static str,
    pub schema: Schema,
    pub bytes: Vec<u8>,
    /// Reads straight into the type and writes it again.
    pub direct: fn(&Schema, &[u8]) -> AvroResult<Vec<u8>>,
    /// Reads what `.0` wrote as `.1`, through resolution, and writes it as `.1`.
    pub resolved: fn(&Schema, &Schema, &[u8]) -> AvroResult<Vec<u8>>,
}

fn sample<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &'static str, schema: &str, value: T) -> Sample {
    let schema = parse(schema);
    let bytes = encode(&schema, &value);
    assert_eq!(direct::<T>(&schema, &bytes).unwrap(), value, "{name} straight");
    assert_eq!(resolved::<T>(&schema, &schema, &bytes).unwrap(), value, "{name} through resolution");
    Sample {
        name,
        schema,
        bytes,
        direct: |schema, bytes| Ok(encode(schema, &direct::<T>(schema, bytes)?)),
        resolved: |writer, reader, bytes| Ok(encode(reader, &resolved::<T>(writer, reader, bytes)?)),
    }
}

macro_rules! samples {
    ($($event:ident { $($fields:tt)* })*) => {
        vec![$(sample($event::NAME, $event::SCHEMA, $event { $($fields)* })),*]
    };
}

pub fn order_id() -> Uuid {
    Uuid::from_u128(0x0193_5d2e_7c00_7000_8000_0000_0000_0001)
}

/// 2024-11-24T08:53:20Z.
const AT: i64 = 1_732_438_400_000_000;

pub fn order_placed() -> OrderPlaced {
    OrderPlaced {
        order_id: order_id(),
        customer: "C-1".into(),
        currency: "EUR".into(),
        total: 12_50,
        lines: vec![
            OrderLine { sku: "TEA".into(), quantity: 2, unit_price: 5_00 },
            OrderLine { sku: "CUP-ü".into(), quantity: 1, unit_price: 2_50 },
        ],
        card_token: "tok_1".into(),
        placed_at: AT,
        confirm_by: AT + 900_000_000,
    }
}

pub fn all() -> Vec<Sample> {
    let (order_id, currency, card_token) = (order_id(), || "EUR".to_owned(), || "tok_1".to_owned());
    let authorisation_id = || "auth_1".to_owned();
    let lines = || vec![StockLine { sku: "TEA".into(), quantity: 2 }];
    let mut all = samples! {
        OrderConfirmed { order_id, confirmed_at: AT }
        OrderRejected {
            order_id, reason: RejectionReason::UnknownSku, detail: "".into(), skus: vec!["A".into(), "B".into()], rejected_at: AT,
        }
        OrderCancelled { order_id, reason: CancellationReason::NotConfirmedInTime, cancelled_at: -1 }
        StockReceived { receipt_id: order_id, sku: "TEA".into(), quantity: i64::MAX, received_at: AT }
        StockReserved { order_id, lines: lines(), reserved_at: AT }
        StockShort {
            order_id,
            missing: vec![
                MissingLine { sku: "TEA".into(), requested: 2, available: 1, known: true },
                MissingLine { sku: "CUP".into(), requested: 1, available: 0, known: false },
            ],
            decided_at: AT,
        }
        StockReleased { order_id, lines: lines(), released_at: AT }
        PaymentExpected {
            order_id,
            seen: Seen::OrderPlaced,
            terms: Some(PaymentTerms { amount: 12_50, currency: currency(), card_token: card_token() }),
            expected_at: AT,
        }
        PaymentExpected { order_id, seen: Seen::StockReserved, terms: None, expected_at: AT }
        PaymentRequested { order_id, amount: 12_50, currency: currency(), card_token: card_token(), requested_at: AT }
        PaymentAuthorised {
            order_id, authorisation_id: authorisation_id(), amount: 12_50, currency: currency(), authorised_at: AT,
        }
        PaymentDeclined { order_id, reason: "insufficient_funds".into(), declined_at: AT }
        PaymentAbandoned { order_id, reason: "OrderCancelled".into(), abandoned_at: AT }
        VoidRequested {
            order_id, authorisation_id: authorisation_id(), amount: 12_50, currency: currency(), requested_at: AT,
        }
        PaymentVoided { order_id, authorisation_id: authorisation_id(), amount: 12_50, currency: currency(), voided_at: AT }
        PointsEarned { customer: "C-1".into(), order_id, points: 12, earned_at: AT }
    };
    all.push(sample(OrderPlaced::NAME, OrderPlaced::SCHEMA, order_placed()));
    all
}
