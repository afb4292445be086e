//! JSON: there and back, and what nobody should have sent.

use proptest::prelude::*;

use crate::ground::error::chain_of;
use crate::wire::codec::tests::{Channel1, NAME, Order1, V1, codec, order1, t};
use crate::wire::codec::{Codec, Encoding};

fn fault(bytes: impl AsRef<[u8]>) -> String {
    chain_of(&Codec::json().decode::<Order1>(NAME, bytes.as_ref()).unwrap_err())
}

#[test]
fn a_value_comes_back() {
    let json = Codec::json();
    let bytes = json.encode(NAME, &order1()).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["channel"], "PHONE");
    assert_eq!(json.decode::<Order1>(NAME, &bytes).unwrap(), order1());
    let spaced = [b" \n\t", &bytes[..], b"\r\n "].concat();
    assert_eq!(json.decode::<Order1>(NAME, &spaced).unwrap(), order1());
}

#[test]
fn the_content_type_decides() {
    let avro = codec(V1);
    let (binary, text) = (avro.encode(NAME, &order1()).unwrap(), Codec::json().encode(NAME, &order1()).unwrap());
    for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.shop.order+json", "text/json"] {
        assert_eq!(avro.for_content_type(Some(content_type)).decode::<Order1>(NAME, &text).unwrap(), order1(), "{content_type}");
    }
    for content_type in [None, Some("application/avro"), Some("avro/binary"), Some("text/plain"), Some("")] {
        assert_eq!(avro.for_content_type(content_type).decode::<Order1>(NAME, &binary).unwrap(), order1(), "{content_type:?}");
    }
    assert!(avro.for_content_type(Some("application/json")).decode::<Order1>(NAME, &binary).is_err());
    assert!(avro.decode::<Order1>(NAME, &text).is_err());
    let writes = avro.clone().encoding(Encoding::Json);
    assert_eq!((writes.content_type(), writes.encode(NAME, &order1()).unwrap()), ("application/json", text));
    assert_eq!(writes.for_content_type(Some("application/avro")).decode::<Order1>(NAME, &binary).unwrap(), order1());
    assert_eq!((avro.content_type(), avro.headers()), ("application/avro", None));
}

#[tokio::test]
async fn nothing_needs_to_be_registered() {
    let json = Codec::json();
    json.register("orders", &[t(V1), t("")]).await.unwrap();
    json.add_reader_schema(&[t("")]).unwrap();
    json.prepare([1, 2, 3]).await.unwrap();
    assert_eq!(json.decode::<Order1>(NAME, &json.encode(NAME, &order1()).unwrap()).unwrap(), order1());
}

/// What parks names the field that is wrong, and what is wrong with it.
#[test]
fn each_fault_is_named_with_its_field() {
    let good = String::from_utf8(Codec::json().encode(NAME, &order1()).unwrap()).unwrap();
    for (old, new, words) in [
        (r#""total":11994"#, r#""total":"11994""#, ["field `total`", "invalid type: string"]),
        (r#""total":11994"#, r#""total":1.5"#, ["field `total`", "invalid type: floating point"]),
        (r#""total":11994"#, r#""total":99999999999999999999"#, ["field `total`", "expected i64"]),
        (r#""total":11994"#, r#""total":null"#, ["field `total`", "invalid type: null"]),
        (r#""total":11994"#, r#""total":1,"total":2"#, ["field `total`", "duplicate field `total`"]),
        (r#""total":11994,"#, "", ["field `.`", "missing field `total`"]),
        (r#""quantity":2,"#, "", ["field `lines[1]`", "missing field `quantity`"]),
        (r#""quantity":2,"#, r#""quantity":[],"#, ["field `lines[1].quantity`", "invalid type: sequence"]),
        (r#""quantity":2,"#, r#""quantity":2147483648,"#, ["field `lines[1].quantity`", "expected i32"]),
        (r#""PHONE""#, r#""FAX""#, ["field `channel`", "unknown variant `FAX`"]),
    ] {
        let bad = good.replacen(old, new, 1);
        assert_ne!(bad, good, "{old} isn't there");
        let said = fault(&bad);
        assert!(words.iter().all(|w| said.contains(w)) && said.contains(NAME), "{new}: {said}");
    }
    assert!(fault(format!("{good}x")).contains("trailing characters"), "{}", fault(format!("{good}x")));
    assert!(fault(format!("{good}{good}")).contains("trailing characters"));
    assert!(fault(&good[..good.len() - 1]).contains("EOF"), "{}", fault(&good[..good.len() - 1]));
    // Not text at all where text should be.
    let broken = good.replacen("customer-4711", "customer-\u{1}", 1);
    assert!(fault(broken).contains("field `customer`"));
    assert!(fault(good.replacen("customer-4711", "\\ud800", 1)).contains("field `customer`"));
    for none in ["", " ", "null", "[]", "7", "\"{}\"", "\0\0\0\0\u{1}", "\u{feff}{}"] {
        assert!(fault(none).contains("not a JSON object"), "{none:?}: {}", fault(none));
    }
    // A list of all values in the order of the fields would do for serde.
    let list = serde_json::to_string(&("o", "c", "EUR", 1, Vec::<i32>::new(), Channel1::Web, 5, None::<String>)).unwrap();
    assert!(serde_json::from_str::<Order1>(&list).is_ok() && fault(list).contains("not a JSON object"));
}

#[test]
fn what_a_newer_release_adds_is_skipped_and_what_is_optional_may_be_missing() {
    let mut value = serde_json::to_value(order1()).unwrap();
    value["added"] = serde_json::json!({ "deep": [1, 2, { "er": null }] });
    value.as_object_mut().unwrap().remove("note");
    let read: Order1 = Codec::json().decode(NAME, value.to_string().as_bytes()).unwrap();
    assert_eq!(read, Order1 { note: None, ..order1() });
}

/// What nobody reads may nest as deep as it likes: fails, by the end of the stack, when skipping it recurses.
#[test]
fn depth_costs_no_stack() {
    let good = String::from_utf8(Codec::json().encode(NAME, &order1()).unwrap()).unwrap();
    let deep = format!(r#"{{"added":{}{},"#, "[".repeat(100_000), "]".repeat(100_000));
    let read: Order1 = Codec::json().decode(NAME, good.replacen('{', &deep, 1).as_bytes()).unwrap();
    assert_eq!(read, order1());
    let where_text_should_be = format!(r#""note":{}"#, "[".repeat(100_000));
    assert!(fault(good.replacen(r#""note":"ring twice""#, &where_text_should_be, 1)).contains("field `note`"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Codec::json().decode::<Order1>(NAME, &bytes);
    }

    #[test]
    fn no_damage_panics_and_no_truncation_decodes(at in 0_usize..1_000, byte in any::<u8>()) {
        let mut bytes = Codec::json().encode(NAME, &order1()).unwrap();
        let at = at % bytes.len();
        prop_assert!(Codec::json().decode::<Order1>(NAME, &bytes[..at]).is_err());
        bytes[at] = byte;
        let _ = Codec::json().decode::<Order1>(NAME, &bytes);
    }
}
