//! Pure tests: framing, both ways of decoding, and bytes that nobody should have sent.
//!
//! Rust names are the schemas' names, by `rename` here, since that is the quicker way; `whole` has types called otherwise.

#![allow(clippy::unwrap_used)]

mod hostile;
mod json;
mod vectors;
mod whole;

use std::fmt::Debug;
use std::hint::black_box;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wire::codec::format::RecordType;
use crate::wire::codec::schema::{intern, made_up_id};
use crate::wire::codec::state::Slot;
use crate::wire::codec::{Codec, Error};

const NAME: &str = "test.orders.OrderPlaced";
const V1: &str = r#"{"type": "record", "name": "OrderPlaced", "namespace": "test.orders", "fields": [
    {"name": "order_id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "customer", "type": "string"}, {"name": "currency", "type": "string"}, {"name": "total", "type": "long"},
    {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "sku", "type": "string"}, {"name": "quantity", "type": "int"}, {"name": "unit_price", "type": "long"}]}}},
    {"name": "channel", "type": {"type": "enum", "name": "Channel", "symbols": ["WEB", "PHONE", "OTHER"], "default": "OTHER"}},
    {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "note", "type": ["null", "string"], "default": null}]}"#;
/// A later release: new fields with defaults, a new symbol, an optional enum, a line's type by its name, no note, and fields moved.
const V2: &str = r#"{"type": "record", "name": "OrderPlaced", "namespace": "test.orders", "doc": "Later.", "fields": [
    {"name": "customer", "type": "string"}, {"name": "order_id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "currency", "type": "string"}, {"name": "total", "type": "long"},
    {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "sku", "type": "string"}, {"name": "quantity", "type": "int"}, {"name": "unit_price", "type": "long"},
        {"name": "gift", "type": "boolean", "default": false}]}}},
    {"name": "channel", "type": {"type": "enum", "name": "Channel", "symbols": ["WEB", "APP", "PHONE", "OTHER"], "default": "OTHER"}},
    {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "points", "type": "int", "default": 7},
    {"name": "extra", "type": {"type": "array", "items": "Line"}, "default": []},
    {"name": "second", "type": ["null", "Channel"], "default": null}]}"#;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "OrderPlaced")]
struct Order1 {
    order_id: String,
    customer: String,
    currency: String,
    total: i64,
    lines: Vec<Line1>,
    channel: Channel1,
    placed_at: i64,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Line")]
struct Line1 {
    sku: String,
    quantity: i32,
    unit_price: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Channel", rename_all = "UPPERCASE")]
enum Channel1 {
    Web,
    Phone,
    Other,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "OrderPlaced")]
struct Order2 {
    customer: String,
    order_id: String,
    currency: String,
    total: i64,
    lines: Vec<Line2>,
    channel: Channel2,
    placed_at: i64,
    points: i32,
    extra: Vec<Line2>,
    second: Option<Channel2>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Line")]
struct Line2 {
    sku: String,
    quantity: i32,
    unit_price: i64,
    gift: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Channel", rename_all = "UPPERCASE")]
enum Channel2 {
    Web,
    App,
    Phone,
    Other,
}

fn order1() -> Order1 {
    let line = |i: i32| Line1 { sku: format!("SKU-{i:05}"), quantity: i, unit_price: 1999 };
    Order1 {
        order_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        customer: "customer-4711".into(),
        currency: "EUR".into(),
        total: 11_994,
        lines: vec![line(1), line(2), line(3)],
        channel: Channel1::Phone,
        placed_at: 1_790_000_000_000_000,
        note: Some("ring twice".into()),
    }
}

fn order2(channel: Channel2, second: Option<Channel2>) -> Order2 {
    let line = Line2 { sku: "A".into(), quantity: 1, unit_price: 2, gift: true };
    Order2 {
        customer: "c".into(),
        order_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        currency: "EUR".into(),
        total: 2,
        lines: vec![line.clone()],
        channel,
        placed_at: 5,
        points: 1,
        extra: vec![line],
        second,
    }
}

const fn t(schema: &'static str) -> RecordType {
    RecordType { name: NAME, schema, topic: "test" }
}

fn codec(schema: &'static str) -> Codec {
    Codec::offline(&[t(schema)])
}

/// A codec of a service built with `ours` that has met `theirs`.
fn reader(ours: &'static str, theirs: &'static str) -> Codec {
    let codec = codec(ours);
    codec.add(made_up_id(theirs), theirs);
    codec
}

fn evolve<W: Serialize, R: DeserializeOwned>(written: (&'static str, &W), ours: &'static str) -> Result<R, Error> {
    let bytes = codec(written.0).encode(NAME, written.1).unwrap();
    reader(ours, written.0).decode(NAME, &bytes)
}

fn text<T: Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_value_is_framed_as_confluent_does() {
    let schema =
        r#"{"type": "record", "name": "a.B", "fields": [{"name": "x", "type": "int"}, {"name": "s", "type": "string"}]}"#;
    let codec = Codec::offline(&[]);
    codec.write().know(intern(schema).unwrap(), Some(0x0102_0304)).unwrap();
    #[derive(Serialize)]
    struct B {
        x: i32,
        s: &'static str,
    }
    let bytes = codec.encode("a.B", &B { x: -3, s: "hi" }).unwrap();
    assert_eq!(bytes, [0, 1, 2, 3, 4, /* zigzag -3 */ 5, /* length 2 */ 4, b'h', b'i']);
    assert_eq!(Codec::schema_id(&bytes).unwrap(), 0x0102_0304);
}

#[test]
fn both_ways_give_the_value_back() {
    assert_eq!(evolve::<_, Order1>((V1, &order1()), V1).unwrap(), order1());
    let later = order2(Channel2::App, Some(Channel2::Web));
    assert_eq!(evolve::<_, Order2>((V2, &later), V2).unwrap(), later);
    // The same through resolution: a schema that differs from ours in an attribute only.
    let odd: &'static str = V1.replace(r#""name": "customer","#, r#""name": "customer", "pii": true,"#).leak();
    let reader = reader(V1, odd);
    assert!(matches!(
        reader.read().slot(made_up_id(odd)),
        Some(Slot::Schema { resolution: super::state::Resolution::Resolve(_), .. })
    ));
    assert_eq!(evolve::<_, Order1>((odd, &order1()), V1).unwrap(), order1());
}

#[test]
fn docs_and_defaults_keep_the_direct_way() {
    let other = V1.replace(r#""name": "customer","#, r#""name": "customer", "doc": "Who.","#).replace(r#", "default": null"#, "");
    let other: &'static str = other.leak();
    let codec = reader(V1, other);
    assert!(matches!(
        codec.read().slot(made_up_id(other)),
        Some(Slot::Schema { resolution: super::state::Resolution::Direct, .. })
    ));
    assert_ne!(made_up_id(other), made_up_id(V1));
}

#[test]
fn old_releases_read_new_ones() {
    let read: Order1 = evolve((V2, &order2(Channel2::Phone, None)), V1).unwrap();
    assert_eq!(read.channel, Channel1::Phone, "by name, not by number");
    assert_eq!((read.note, read.lines), (None, vec![Line1 { sku: "A".into(), quantity: 1, unit_price: 2 }]));
    // A symbol that the old release doesn't know becomes the default.
    assert_eq!(evolve::<_, Order1>((V2, &order2(Channel2::App, None)), V1).unwrap().channel, Channel1::Other);
}

#[test]
fn new_releases_read_old_ones() {
    let read: Order2 = evolve((V1, &order1()), V2).unwrap();
    assert_eq!((read.points, read.extra, read.second, read.lines[2].gift), (7, vec![], None, false));
    assert_eq!((read.customer, read.channel), ("customer-4711".into(), Channel2::Phone));
}

#[test]
fn an_optional_enums_new_symbol_becomes_the_default() {
    let cut = r#""symbols": ["WEB", "APP", "PHONE", "OTHER"]"#;
    let older: &'static str = V2.replace(cut, r#""symbols": ["WEB", "PHONE", "OTHER"]"#).leak();
    let read: Order2 = evolve((V2, &order2(Channel2::Web, Some(Channel2::App))), older).unwrap();
    assert_eq!(read.second, Some(Channel2::Other));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let codec = codec(V1);
    let good = codec.encode(NAME, &order1()).unwrap();
    let id = made_up_id(V1);
    let unknown = text(codec.encode("a.B", &1));
    assert!(unknown.starts_with("type a.B is not registered with this codec: to read it, call"), "{unknown}");
    assert_eq!(text(codec.encode(NAME, &1)), format!("encoding {NAME}"));
    assert_eq!(text(codec.decode::<Order1>(NAME, &[])), "0 bytes without a leading schema id");
    assert_eq!(text(codec.decode::<Order1>(NAME, &[1, 0, 0, 0, 1, 4])), "6 bytes without a leading schema id");
    assert_eq!(text(codec.decode::<Order1>(NAME, &[0, 0, 0, 0, 1, 4])), "the registry has no schema with id 1");
    let wrong = text(codec.decode::<Order1>("a.B", &good));
    assert_eq!(wrong, format!("expected a.B, found {NAME} (schema {id})"));
    let longer = [&good[..], &[0, 0]].concat();
    assert_eq!(text(codec.decode::<Order1>(NAME, &longer)), format!("2 trailing bytes after {NAME} written with schema {id}"));
    codec.write().doubt(9, Some(Slot::Unusable("it is PROTOBUF, not Avro".into())));
    assert_eq!(text(codec.decode::<Order1>(NAME, &[0, 0, 0, 0, 9])), "schema 9 can't be used: it is PROTOBUF, not Avro");
}

#[test]
fn one_name_has_one_schema_and_the_right_one() {
    let codec = codec(V1);
    codec.add_reader_schema(&[t(V1)]).unwrap();
    assert!(text(codec.add_reader_schema(&[t(V2)])).contains("two different ones"));
    assert!(
        text(codec.add_reader_schema(&[RecordType { name: "a.C", schema: V1, topic: "test" }]))
            .contains("it names a test.orders.OrderPlaced")
    );
}

#[test]
fn a_type_known_late_is_read() {
    let codec = Codec::offline(&[]);
    let bytes = self::codec(V1).encode(NAME, &order1()).unwrap();
    codec.add(made_up_id(V1), V1);
    assert!(matches!(codec.decode::<Order1>(NAME, &bytes), Err(Error::UnknownType { .. })));
    codec.add_reader_schema(&[t(V1)]).unwrap();
    assert_eq!(codec.decode::<Order1>(NAME, &bytes).unwrap(), order1());
    assert!(matches!(codec.encode(NAME, &order1()), Err(Error::UnknownType { .. })), "heard, not published");
}

/// A value read directly, and one read through resolution.
fn samples() -> [(Codec, Vec<u8>); 2] {
    let later = codec(V2).encode(NAME, &order2(Channel2::Web, Some(Channel2::App))).unwrap();
    [(codec(V1), codec(V1).encode(NAME, &order1()).unwrap()), (reader(V1, V2), later)]
}

/// `cargo test -p farandole --release --lib -- --ignored --nocapture timing`
#[test]
#[ignore = "a measurement"]
fn timing() {
    fn best(what: &str, mut run: impl FnMut()) {
        let n = 10_000;
        let round = |run: &mut dyn FnMut()| {
            let started = Instant::now();
            (0..n).for_each(|_| run());
            started.elapsed().as_nanos() / n
        };
        let best = (0..60).map(|_| round(&mut run)).min();
        println!("{what}: {} ns", best.unwrap());
    }
    let [(direct, bytes), (resolving, later)] = samples();
    let order = order1();
    let bare = intern(V1).unwrap();
    println!("{} bytes, {} bytes", bytes.len(), later.len());
    best("encode, apache-avro alone", || drop(black_box(bare.write(Vec::new, &order).unwrap())));
    best("decode, apache-avro alone", || drop(black_box(bare.reader.read_deser::<Order1>(&mut &bytes[5..]).unwrap())));
    best("encode", || drop(black_box(direct.encode(NAME, &order).unwrap())));
    best("decode, directly", || drop(black_box(direct.decode::<Order1>(NAME, &bytes).unwrap())));
    best("decode, resolving", || drop(black_box(resolving.decode::<Order1>(NAME, &later).unwrap())));
}
