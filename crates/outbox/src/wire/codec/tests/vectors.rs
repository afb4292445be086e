//! Values as `docs/wire.md` has them: the vectors for programs in other languages, through the codec.

use serde_json::Value;

use crate::wire::codec::Codec;
use crate::wire::codec::format::RecordType;
use crate::wire::vectors::{bytes, cases, read};

#[test]
fn values_are_read_or_refused_as_the_document_says() {
    let file = read("values");
    let leaked = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let name = leaked(file["type"].as_str().unwrap().to_owned());
    let codec = Codec::offline(&[]);
    codec.add_reader_schema(&[RecordType { name, schema: leaked(file["reader"].to_string()), topic: "orders" }]).unwrap();
    for (id, schema) in file["schemas"].as_object().unwrap() {
        assert!(codec.add(id.parse().unwrap(), &schema.to_string()));
    }
    let (mut read, mut refused) = (0, 0);
    for case in cases(&file, "values", 50) {
        let value = bytes(&case["value"]).unwrap();
        if let Some(id) = case.get("schema") {
            assert_eq!(i64::from(Codec::schema_id(&value).unwrap()), *id, "{case}");
        }
        let said = codec.for_content_type(case["content_type"].as_str()).decode::<Order>(name, &value);
        match case.get("read") {
            Some(expected) => {
                assert_eq!(serde_json::to_value(said.unwrap_or_else(|e| panic!("{case}: {e}"))).unwrap(), *expected, "{case}");
                read += 1;
            }
            None => {
                assert_eq!(case["unreadable"], Value::Bool(true), "{case}");
                assert!(!said.expect_err(&case.to_string()).is_transient(), "{case}");
                refused += 1;
            }
        }
    }
    assert!(read > 11 && refused > 36, "{read} were read, {refused} refused");
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename = "OrderPlaced")]
struct Order {
    order_id: String,
    total: i64,
    state: State,
    lines: Vec<String>,
    note: Option<String>,
    at: i64,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum State {
    New,
    Paid,
}
