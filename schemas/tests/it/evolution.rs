//! Old and new readers and writers side by side, with real bytes.

use apache_avro::Schema;
use schemas::orders::{OrderLine, OrderPlaced};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    codec::{direct, encode, parse, resolved},
    sample,
};

const RELEASED: &str = include_str!("../../released/orders/OrderPlaced/1.avsc");

/// OrderPlaced as a later version may be: fields in the record and in its lines, an enum and a nullable record.
/// Named as the record is, which reading straight into a type insists on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "OrderPlaced")]
struct Later<Channel, Gift> {
    order_id: String,
    customer: String,
    currency: String,
    total: i64,
    lines: Vec<LaterLine>,
    card_token: String,
    placed_at: i64,
    confirm_by: i64,
    channel: Channel,
    gift: Option<Gift>,
    note: String,
    batch: String,
}

type Second = Later<Channel, Gift>;
type Third = Later<ThirdChannel, ThirdGift>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "OrderLine")]
struct LaterLine {
    sku: String,
    quantity: i32,
    unit_price: i64,
    discount: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Channel {
    #[serde(rename = "WEB")]
    Web,
    #[serde(rename = "OTHER")]
    Other,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Gift {
    text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Channel")]
enum ThirdChannel {
    #[serde(rename = "WEB")]
    Web,
    #[serde(rename = "OTHER")]
    Other,
    #[serde(rename = "KIOSK")]
    Kiosk,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Gift")]
struct ThirdGift {
    text: String,
    wrap: bool,
}

fn second(channels: &[&str], gift_fields: Value) -> Schema {
    let mut schema: Value = serde_json::from_str(RELEASED).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    let line = fields[4]["type"]["items"]["fields"].as_array_mut().unwrap();
    line.push(json!({"name": "discount", "type": "long", "default": 0}));
    let channel = json!({"type": "enum", "name": "Channel", "symbols": channels, "default": "OTHER"});
    let gift = json!(["null", {"type": "record", "name": "Gift", "fields": gift_fields}]);
    fields.push(json!({"name": "channel", "type": channel, "default": "WEB"}));
    fields.push(json!({"name": "gift", "type": gift, "default": null}));
    fields.push(json!({"name": "note", "type": "string", "default": "none"}));
    let uuid = json!({"type": "string", "logicalType": "uuid"});
    fields.push(json!({"name": "batch", "type": uuid, "default": "00000000-0000-0000-0000-000000000000"}));
    parse(&schema.to_string())
}

fn second_as_is() -> Schema {
    second(&["WEB", "OTHER"], json!([{"name": "text", "type": "string"}]))
}

fn placed_second(old: &OrderPlaced) -> Second {
    let line = |l: &OrderLine| LaterLine { sku: l.sku.clone(), quantity: l.quantity, unit_price: l.unit_price, discount: 0 };
    Second {
        order_id: old.order_id.to_string(),
        customer: old.customer.clone(),
        currency: old.currency.clone(),
        total: old.total,
        lines: old.lines.iter().map(line).collect(),
        card_token: old.card_token.clone(),
        placed_at: old.placed_at,
        confirm_by: old.confirm_by,
        channel: Channel::Web,
        gift: None,
        note: "none".into(),
        batch: Uuid::nil().to_string(),
    }
}

#[test]
fn a_new_reader_fills_in_what_an_old_writer_did_not_know() {
    let (v1, v2, old) = (parse(RELEASED), second_as_is(), sample::order_placed());
    let read: Second = resolved(&v1, &v2, &encode(&v1, &old)).unwrap();
    assert_eq!(read, placed_second(&old));
}

#[test]
fn an_old_reader_passes_over_what_a_new_writer_added() {
    let (v1, v2, old) = (parse(RELEASED), second_as_is(), sample::order_placed());
    let mut new = placed_second(&old);
    new.lines[0].discount = 7;
    new.gift = Some(Gift { text: "for you".into() });
    let bytes = encode(&v2, &new);
    assert_eq!(direct::<Second>(&v2, &bytes).unwrap(), new);
    assert_eq!(resolved::<OrderPlaced>(&v2, &v1, &bytes).unwrap(), old);
}

/// Inside an enum and inside a nullable record: the two places where resolution has to look twice.
#[test]
fn a_new_symbol_reads_as_the_default_and_a_nullable_record_may_grow() {
    let v2 = second_as_is();
    let wrap = json!([{"name": "text", "type": "string"}, {"name": "wrap", "type": "boolean", "default": false}]);
    let v3 = second(&["WEB", "OTHER", "KIOSK"], wrap);
    let plain = placed_second(&sample::order_placed());
    let text = || "for you".to_owned();
    let as_second = Second { gift: Some(Gift { text: text() }), channel: Channel::Other, ..plain };
    let as_third = |channel, wrap| {
        let Second { order_id, customer, currency, total, lines, card_token, placed_at, confirm_by, note, batch, .. } =
            as_second.clone();
        let gift = Some(ThirdGift { text: text(), wrap });
        Third { order_id, customer, currency, total, lines, card_token, placed_at, confirm_by, channel, gift, note, batch }
    };

    let bytes = encode(&v3, &as_third(ThirdChannel::Kiosk, true));
    assert_eq!(resolved::<Second>(&v3, &v2, &bytes).unwrap(), as_second);
    assert!(direct::<Second>(&v3, &bytes).is_err(), "a symbol that the type doesn't have needs resolution");

    let bytes = encode(&v2, &as_second);
    assert_eq!(resolved::<Third>(&v2, &v3, &bytes).unwrap(), as_third(ThirdChannel::Other, false));
}
