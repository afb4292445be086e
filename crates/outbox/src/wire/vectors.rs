//! The vectors of `docs/wire.md`, by which programs in other languages are checked, on the code that services run.

use serde_json::Value;

use crate::ground::text::storable;
use crate::wire::chain::{Head, Link, Place, Verdict, judge};
use crate::wire::partitioner::{murmur2, partition};
use crate::wire::record::{Header, Record};

/// A file of them: read when the test runs, since it lies outside of what is packaged.
pub fn read(name: &str) -> Value {
    let path = format!("{}/../../docs/wire/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).unwrap()
}

/// The cases of a list in it, of which there are at least `least`.
pub fn cases<'a>(file: &'a Value, list: &str, least: usize) -> &'a [Value] {
    let cases = file[list].as_array().unwrap();
    assert!(cases.len() >= least, "{list}: {}", cases.len());
    cases
}

/// A text stands for its bytes; what is none is in hexadecimal.
pub fn bytes(said: &Value) -> Option<Vec<u8>> {
    match said {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        said => {
            let hex = said["hex"].as_str().unwrap();
            Some((0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect())
        }
    }
}

/// `[lineage, number]`, or null.
pub fn place(said: &Value) -> Option<Place> {
    let said = said.as_array()?;
    Some(Place { lineage: said[0].as_i64().unwrap(), number: said[1].as_i64().unwrap() })
}

/// A record with these headers, as one is made of a message.
fn record(headers: &Value) -> Record {
    let header = |said: &Value| Header {
        name: storable(said[0].as_str().unwrap().as_bytes()),
        value: storable(&bytes(&said[1]).unwrap_or_default()),
    };
    Record { headers: headers.as_array().unwrap().iter().map(header).collect(), ..Record::default() }
}

#[test]
fn keys_have_their_partitions() {
    for case in cases(&read("partitions"), "keys", 100) {
        let key = bytes(&case["key"]).unwrap();
        assert_eq!(i64::from(murmur2(&key)), case["murmur2"], "{case}");
        for (count, expected) in case["partitions"].as_object().unwrap() {
            assert_eq!(i64::from(partition(&key, count.parse().unwrap())), *expected, "{case}");
        }
    }
}

#[test]
fn headers_say_what_they_say() {
    for case in cases(&read("header"), "headers", 45) {
        let link = Link::parse(case["header"].as_str().unwrap());
        if let Some(field) = case.get("damaged") {
            let why = link.unwrap_err().to_string();
            assert!(why.contains(&format!("field `{}`", field.as_str().unwrap())), "{case}: {why}");
            continue;
        }
        let link = link.unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!((Some(link.place), link.previous), (place(&case["place"]), place(&case["previous"])), "{case}");
        let (i, n) = link.of;
        let said = serde_json::json!([link.cause, link.correlation, [i, n], link.command]);
        let expected = ["cause", "correlation", "of", "command"].map(|field| case.get(field).cloned().unwrap_or_default());
        assert_eq!(said, Value::from_iter(expected), "{case}");
    }
}

#[test]
fn records_are_links_foreign_or_damaged() {
    for case in cases(&read("places"), "records", 25) {
        let record = record(&case["headers"]);
        let (kind, source) = match record.link() {
            Ok(Some((source, _))) => ("link", Some(source)),
            Ok(None) => ("foreign", None),
            Err(_) => ("damaged", None),
        };
        assert_eq!((kind, source), (case["kind"].as_str().unwrap(), case["source"].as_str()), "{:.300}", case.to_string());
    }
}

#[test]
fn the_chain_rule_is_the_documents() {
    let file = read("chain");
    let cases = cases(&file, "cases", 23);
    for row in 1..=9 {
        assert!(cases.iter().any(|case| case["row"] == row), "row {row} is shown");
    }
    for case in cases {
        let (here, previous) = (place(&case["place"]).unwrap(), place(&case["previous"]));
        let head = place(&case["head"]).map(|place| Head { place, previous: self::place(&case["head_previous"]) });
        let verdict = match judge(head, here, previous) {
            Verdict::Apply => "link",
            Verdict::Drop if head.is_some_and(|head| here.lineage < head.place.lineage) => "stale",
            Verdict::Drop => "duplicate",
            Verdict::Ahead | Verdict::NoStart => "gap",
            Verdict::Fork => "fork",
        };
        assert_eq!(verdict, case["verdict"], "{case}");
    }
}

/// Guard: the page alone tells how to read the files.
#[test]
fn the_document_explains_every_field_of_the_vectors() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wire.md");
    let page = std::fs::read_to_string(page).unwrap();
    let page = page.split_once("\n## Test vectors\n").unwrap().1;
    for file in ["partitions", "header", "places", "chain", "sequences", "values", "written", "sizes", "numbers"] {
        let mut fields = std::collections::BTreeSet::new();
        fields_of(&read(file), &mut fields);
        let missing: Vec<&String> = fields.iter().filter(|field| !page.contains(&format!("`{field}`"))).collect();
        assert!(fields.len() > 3 && missing.is_empty(), "{file}: {missing:?}");
    }
}

/// The names of fields, without those in which cases have names of their own.
fn fields_of(value: &Value, fields: &mut std::collections::BTreeSet<String>) {
    const OWN: [&str; 6] = ["partitions", "heads", "reader", "schemas", "read", "reacts_to"];
    match value {
        Value::Array(items) => items.iter().for_each(|item| fields_of(item, fields)),
        Value::Object(object) if object.keys().ne(["hex"]) => object.iter().for_each(|(name, inner)| {
            fields.insert(name.clone());
            if !OWN.contains(&name.as_str()) {
                fields_of(inner, fields);
            }
        }),
        _ => {}
    }
}
