//! O33: what encoding accepts, decoding gives back: over what Avro and serde offer, both ways of decoding.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use proptest::prelude::*;
use serde::de::Visitor;
use serde::{Deserializer, Serializer};
use uuid::Uuid;

use crate::wire::codec::Proofs;
use crate::wire::codec::tests::*;

const TYPE: &str = "test.whole.Thing";

/// A record of one field of this schema.
fn of(field: &str) -> &'static str {
    format!(r#"{{"type": "record", "name": "Thing", "namespace": "test.whole", "fields": [{{"name": "it", "type": {field}}}]}}"#)
        .leak()
}

/// Called as no record is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Elsewhere<T> {
    it: T,
}

/// Bytes, as `serde_bytes` writes them.
#[derive(Debug, Clone, PartialEq)]
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner {
    n: i32,
    colour: Option<Colour>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Either {
    Nothing,
    Text(String),
    Number(i64),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    n: i32,
    #[serde(flatten)]
    rest: Inner2,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner2 {
    m: i64,
    s: Option<String>,
}

/// Whether the value is accepted; if so it comes back, straight and through resolution.
fn comes_back<T>(schema: &'static str, value: T) -> bool
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let t = [RecordType { name: TYPE, schema, topic: "test" }];
    let writer = Codec::offline(&t);
    assert!(writer.encode(TYPE, &0_i32).is_err_and(|e| matches!(e, Error::Encode { .. })), "unusable: {schema}");
    let Ok(bytes) = writer.encode_proving(TYPE, &value, &Proofs::new()) else { return false };
    assert_eq!(writer.decode::<T>(TYPE, &bytes).unwrap(), value, "{schema}");
    // A second time, as what was learnt of the type says.
    assert_eq!(writer.decode::<T>(TYPE, &bytes).unwrap(), value, "{schema}");
    let odd: &'static str = schema.replacen(r#""fields""#, r#""origin": "elsewhere", "fields""#, 1).leak();
    let resolving = Codec::offline(&[RecordType { name: TYPE, schema: odd, topic: "test" }]);
    let id = Codec::schema_id(&bytes).unwrap();
    resolving.add(id, schema);
    assert!(
        matches!(resolving.read().slot(id), Some(Slot::Schema { resolution: super::super::state::Resolution::Resolve(_), .. })),
        "{schema}"
    );
    assert_eq!(resolving.decode::<T>(TYPE, &bytes).unwrap(), value, "resolving {schema}");
    true
}

fn field<T>(schema: &str, values: impl IntoIterator<Item = T>) -> bool
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone,
{
    let schema = of(schema);
    values.into_iter().map(|it| comes_back(schema, Elsewhere { it })).fold(true, |all, one| all & one)
}

const INNER: &str = r#"{"type": "record", "name": "Part", "fields": [{"name": "n", "type": "int"},
    {"name": "colour", "type": ["null", {"type": "enum", "name": "Shade", "symbols": ["RED", "GREEN"]}], "default": null}]}"#;

#[test]
fn names_of_rust_types_dont_matter() {
    let inner = |n| Inner { n, colour: (n > 0).then_some(Colour::Green) };
    assert!(field(INNER, [inner(0), inner(1)]));
    assert!(field(&format!(r#"{{"type": "array", "items": {INNER}}}"#), [vec![], vec![inner(0), inner(7)]]));
    assert!(field(&format!(r#"["null", {INNER}]"#), [None, Some(inner(2))]));
    assert!(field(&format!(r#"{{"type": "map", "values": {INNER}}}"#), [BTreeMap::from([("a".to_owned(), inner(1))])]));
    assert!(field(r#"{"type": "enum", "name": "Shade", "symbols": ["RED", "GREEN"]}"#, [Colour::Red, Colour::Green]));
    // By name, not by place.
    assert!(field(r#"{"type": "enum", "name": "Shade", "symbols": ["GREEN", "RED"]}"#, [Colour::Red, Colour::Green]));
}

#[test]
fn uuids_are_written_as_their_schema_says() {
    let id = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
    assert!(field(r#"{"type": "string", "logicalType": "uuid"}"#, [id]));
    let _ = field(r#""string""#, [id]); // accepted or refused when it is written, never one way
    assert!(field(r#"["null", {"type": "string", "logicalType": "uuid"}]"#, [None, Some(id)]));
    assert!(field(r#"{"type": "array", "items": {"type": "string", "logicalType": "uuid"}}"#, [vec![id, id]]));
    assert!(field(r#"{"type": "fixed", "size": 16, "name": "Sixteen", "logicalType": "uuid"}"#, [id]));
}

#[test]
fn primitive_and_logical_types() {
    assert!(field(r#""int""#, [i32::MIN, -1, 0, i32::MAX]) && field(r#""int""#, [i8::MIN, 0, i8::MAX]));
    assert!(field(r#""int""#, [u16::MAX]) && field(r#""long""#, [u32::MAX]) && field(r#""long""#, [i64::MIN, i64::MAX]));
    assert!(
        field(r#""boolean""#, [true, false])
            && field(r#""float""#, [f32::MIN, f32::INFINITY])
            && field(r#""double""#, [f64::MAX, -0.0])
    );
    assert!(field(r#""string""#, ["", "日本"].map(str::to_owned)) && field(r#""string""#, ['x', '本']));
    for logical in ["timestamp-millis", "timestamp-micros", "local-timestamp-micros", "time-micros"] {
        assert!(field(&format!(r#"{{"type": "long", "logicalType": "{logical}"}}"#), [i64::MIN, 0, i64::MAX]), "{logical}");
    }
    assert!(field(r#"{"type": "int", "logicalType": "date"}"#, [-1, 20_000]));
    assert!(field(r#"["null", "double"]"#, [None, Some(0.1)]) && field(r#"["null", "boolean"]"#, [None, Some(true)]));
    assert!(field(r#"{"type": "map", "values": "long"}"#, [HashMap::from([("a".to_owned(), 1_i64), ("b".to_owned(), 2)])]));
    assert!(field(r#"{"type": "array", "items": ["null", "string"]}"#, [vec![None, Some("x".to_owned())]]));
    // Out of an int's reach: refused when written.
    assert!(!field(r#""int""#, [i64::MAX]) && !field(r#""string""#, [1_i32]));
}

#[test]
fn bytes_in_all_their_kinds() {
    let raw = |n: u8| Raw((0..n).map(|b| b.wrapping_mul(37)).collect());
    assert!(field(r#""bytes""#, [raw(0), raw(200)]));
    assert!(field(r#"{"type": "fixed", "size": 3, "name": "Three"}"#, [raw(3)]));
    assert!(!field(r#"{"type": "fixed", "size": 3, "name": "Three"}"#, [raw(4)]));
    assert!(field(r#"["null", "bytes"]"#, [None, Some(raw(1))]));
}

#[test]
fn unions_and_structs_in_other_clothes() {
    // What isn't accepted is refused when it is written, by one of the two.
    let _ = field(r#"["null", "string", "long"]"#, [Either::Nothing, Either::Text("x".into()), Either::Number(7)]);
    let _ = field(
        r#"{"type": "record", "name": "Pair", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "string"}]}"#,
        [(1, "x".to_owned())],
    );
    let _ = field(r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}"#, [Raw(vec![1, 2])]);
    let _ = field(r#"{"type": "fixed", "size": 12, "name": "Span", "logicalType": "duration"}"#, [Raw(vec![1; 12])]);
    let _ = field(r#""bytes""#, [vec![1_u8, 2]]);
    let flat = r#"{"type": "record", "name": "Thing", "namespace": "test.whole", "fields": [{"name": "n", "type": "int"},
        {"name": "m", "type": "long"}, {"name": "s", "type": ["null", "string"], "default": null}]}"#;
    let _ = comes_back(flat, Flat { n: 1, rest: Inner2 { m: 2, s: Some("x".into()) } });
}

/// Without naming each field: more than half of the time goes into looking the names up. Guard: [`Parsed::write`]'s first attempt.
/// And who needs text is asked no second time: the guard of that is `is_written_as_text`.
#[test]
fn a_type_is_written_as_for_machines_unless_it_cant_be() {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static FOR_MACHINES: AtomicU32 = AtomicU32::new(0);
    static FOR_PEOPLE: AtomicU32 = AtomicU32::new(0);
    #[derive(Debug, Clone, PartialEq, Deserialize)]
    struct Thing<T> {
        it: T,
    }
    impl<T: Serialize> Serialize for Thing<T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{SerializeStruct as _, SerializeTupleStruct as _};
            if serializer.is_human_readable() {
                FOR_PEOPLE.fetch_add(1, Relaxed);
                let mut record = serializer.serialize_struct("Thing", 1)?;
                record.serialize_field("it", &self.it)?;
                record.end()
            } else {
                FOR_MACHINES.fetch_add(1, Relaxed);
                let mut record = serializer.serialize_tuple_struct("Thing", 1)?;
                record.serialize_field(&self.it)?;
                record.end()
            }
        }
    }
    let asked = || (FOR_MACHINES.swap(0, Relaxed), FOR_PEOPLE.swap(0, Relaxed));
    // A text of its own, since what is learnt of a schema is kept as long as the process.
    let text = of(r#"{"type": "string", "logicalType": "uuid", "origin": "machines"}"#);
    let codec = Codec::offline(&[RecordType { name: TYPE, schema: text, topic: "test" }]);
    let id = Uuid::from_u128(7);
    let by_place = codec.encode(TYPE, &Thing { it: id.to_string() }).unwrap();
    assert_eq!(asked(), (1, 0));
    let first = codec.encode(TYPE, &Thing { it: id }).unwrap();
    assert_eq!(asked(), (1, 1));
    let second = codec.encode(TYPE, &Thing { it: id }).unwrap();
    assert_eq!(asked(), (0, 1));
    assert!(by_place == first && first == second);
    assert_eq!(codec.decode::<Thing<Uuid>>(TYPE, &first).unwrap().it, id);
    // What fits neither way is an error, and teaches nothing.
    let other = of(r#"{"type": "string", "logicalType": "uuid", "origin": "machines again"}"#);
    let codec = Codec::offline(&[RecordType { name: TYPE, schema: other, topic: "test" }]);
    assert!(codec.encode(TYPE, &Thing { it: 1 }).is_err_and(|e| matches!(e, Error::Encode { .. })));
    asked();
    codec.encode(TYPE, &Thing { it: "x" }).unwrap();
    assert_eq!(asked(), (1, 0));
    // Bytes that a schema calls no UUIDs.
    assert!(field(r#""bytes""#, [id]));
}

/// Writes what it can't read: found out when it is written. Guard: [`Codec::encode_proving`].
#[test]
fn a_one_way_type_is_refused_where_it_is_written() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct OneWay {
        #[serde(rename(deserialize = "that"))]
        it: i32,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Forgets {
        #[serde(deserialize_with = "always_seven")]
        it: i32,
    }
    fn always_seven<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        i32::deserialize(deserializer).map(|_| 7)
    }
    let avro = Codec::offline(&[RecordType { name: TYPE, schema: of(r#""int""#), topic: "test" }]);
    for codec in [avro, Codec::json()] {
        let error = codec.encode_proving(TYPE, &OneWay { it: 1 }, &Proofs::new()).unwrap_err();
        assert!(
            matches!(&error, Error::OneWay { .. }) && error.to_string().contains("can be written but not read back"),
            "{error}"
        );
        let error = codec.encode_proving(TYPE, &Forgets { it: 1 }, &Proofs::new()).unwrap_err();
        assert!(matches!(&error, Error::OneWay { .. }), "{error}");
        codec.encode_proving(TYPE, &Forgets { it: 7 }, &Proofs::new()).unwrap();
    }
}

proptest! {
    #[test]
    fn any_value_of_a_type_called_otherwise_comes_back(
        ns in prop::collection::vec((any::<i32>(), prop::option::of(prop::bool::ANY)), 0..5),
        text in prop::option::of(".{0,8}"),
        id in any::<u128>(),
    ) {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        struct Odd { parts: Vec<Inner>, text: Option<String>, id: Uuid }
        const SCHEMA: &str = r#"{"type": "record", "name": "Thing", "namespace": "test.whole", "fields": [
            {"name": "parts", "type": {"type": "array", "items": {"type": "record", "name": "Part", "fields": [{"name": "n", "type": "int"},
                {"name": "colour", "type": ["null", {"type": "enum", "name": "Shade", "symbols": ["RED", "GREEN"]}], "default": null}]}}},
            {"name": "text", "type": ["null", "string"], "default": null}, {"name": "id", "type": {"type": "string", "logicalType": "uuid"}}]}"#;
        let colour = |red: bool| if red { Colour::Red } else { Colour::Green };
        let parts = ns.into_iter().map(|(n, red)| Inner { n, colour: red.map(colour) }).collect();
        let value = Odd { parts, text, id: Uuid::from_u128(id) };
        prop_assert!(comes_back(SCHEMA, value));
    }
}
