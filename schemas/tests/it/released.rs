//! Every current schema against every version that others may hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde_json::{Value, json};

use crate::codec::parse;

/// `orders/OrderPlaced` → its schema.
type Current = BTreeMap<String, String>;
/// `orders/OrderPlaced` → version → its schema.
type Released = BTreeMap<String, BTreeMap<u32, String>>;

#[test]
fn every_schema_is_fully_compatible_with_all_that_was_released() {
    let problems = problems(&current(), &released());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What is wrong, each with the file and what to do.
fn problems(current: &Current, released: &Released) -> Vec<String> {
    let mut problems = Vec::new();
    for (event, text) in current {
        let versions = released.get(event).filter(|v| !v.is_empty());
        let Some(versions) = versions else {
            problems.push(format!("schemas/released/{event}/1.avsc is missing: copy schemas/{event}.avsc to it"));
            continue;
        };
        for (version, old) in versions {
            let at = format!("schemas/{event}.avsc against schemas/released/{event}/{version}.avsc");
            problems.extend(
                differences(old, text)
                    .into_iter()
                    .map(|why| format!("{at}: {why}; add fields with a default only, or make a new event (schemas/README.md)")),
            );
        }
        let next = versions.len() as u32 + 1;
        if !versions.keys().copied().eq(1..next) {
            problems.push(format!("schemas/released/{event}/: versions must be 1, 2, … without a gap; restore the missing file"));
        } else if without_docs(text) != without_docs(&versions[&(next - 1)]) {
            problems.push(format!(
                "schemas/{event}.avsc has changed since version {}: copy it to schemas/released/{event}/{next}.avsc",
                next - 1
            ));
        }
    }
    for event in released.keys().filter(|event| !current.contains_key(*event)) {
        problems.push(format!(
            "schemas/{event}.avsc is gone, but its events are in the log for ever: copy the last of schemas/released/{event}/ back"
        ));
    }
    problems
}

fn differences(old: &str, new: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (a, b) = (parse(old), parse(new));
    // apache-avro compares names without their namespace.
    if a.name() != b.name() {
        found.push(format!("the full name was {:?}", a.name().map(ToString::to_string)));
    }
    match SchemaCompatibility::mutual_read(&a, &b) {
        Ok(Compatibility::Full) => {}
        Ok(Compatibility::Partial) => found.push("not every value of one is a value of the other".to_owned()),
        Err(why) => found.push(why.to_string()),
    }
    // It also lets logical types come and go, as the registry does; our readers would then meet texts that are no UUID.
    let (old, new) = (logical_types(old), logical_types(new));
    for (field, before) in &old {
        if let Some(now) = new.get(field).filter(|now| *now != before) {
            found.push(format!("the logical type of {field} was {before:?} and is {now:?}"));
        }
    }
    found
}

/// Path of a field → its logical type, if any.
fn logical_types(schema: &str) -> BTreeMap<String, Option<String>> {
    fn visit(path: &str, ty: &Value, found: &mut BTreeMap<String, Option<String>>) {
        match ty {
            Value::Array(union) => union.iter().filter(|t| *t != "null").for_each(|t| visit(path, t, found)),
            ty if ty["type"] == "array" => visit(path, &ty["items"], found),
            ty if ty["type"] == "record" => {
                for field in ty["fields"].as_array().into_iter().flatten() {
                    visit(&format!("{path}/{}", field["name"].as_str().unwrap_or_default()), &field["type"], found);
                }
            }
            ty => drop(found.insert(path.to_owned(), ty["logicalType"].as_str().map(str::to_owned))),
        }
    }
    let mut found = BTreeMap::new();
    visit("", &serde_json::from_str(schema).unwrap(), &mut found);
    found
}

/// Words may be mended without a new version.
fn without_docs(schema: &str) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(entries) => {
                entries.remove("doc");
                entries.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    let mut value = serde_json::from_str(schema).unwrap();
    strip(&mut value);
    value
}

fn current() -> Current {
    let event = |(topic, name, schema): &(&str, &str, &str)| {
        (format!("{topic}/{}", name.rsplit('.').next().unwrap()), (*schema).to_owned())
    };
    schemas::all().iter().map(event).collect()
}

fn released() -> Released {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("released");
    let mut released = Released::new();
    for topic in names(&root) {
        for event in names(&root.join(&topic)) {
            let folder = root.join(&topic).join(&event);
            let version = |file: &String| -> (u32, String) {
                let number = file.strip_suffix(".avsc").and_then(|n| n.parse().ok());
                let number = number.unwrap_or_else(|| panic!("{file} in schemas/released/{topic}/{event} isn't <number>.avsc"));
                (number, fs::read_to_string(folder.join(file)).unwrap())
            };
            released.insert(format!("{topic}/{event}"), names(&folder).iter().map(version).collect());
        }
    }
    released
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

// === The rule itself ===

fn event(field: Value) -> String {
    json!({"type": "record", "name": "E", "namespace": "farandole.t", "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}}, field]})
    .to_string()
}

fn judged(current: &str, released: &[&str]) -> Vec<String> {
    let versions = released.iter().zip(1..).map(|(text, n)| (n, (*text).to_owned())).collect();
    problems(&Current::from([("t/E".into(), current.into())]), &Released::from([("t/E".into(), versions)]))
}

#[test]
fn a_field_with_a_default_may_come_and_go_once_it_is_copied() {
    let v1 = event(json!({"name": "n", "type": "long", "default": 0}));
    let v2 = event(json!({"name": "n", "type": "long", "default": 0, "doc": "Words."}));
    let v3 = event(json!({"name": "m", "type": "string", "default": ""}));
    assert_eq!(judged(&v1, &[&v1]), [""; 0]);
    assert_eq!(judged(&v2, &[&v1]), [""; 0], "words alone are no version");
    assert_eq!(judged(&v3, &[&v1, &v3]), [""; 0]);
    assert_eq!(judged(&v3, &[&v1]), ["schemas/t/E.avsc has changed since version 1: copy it to schemas/released/t/E/2.avsc"]);
}

#[test]
fn what_a_reader_could_not_read_is_refused() {
    let v1 = event(json!({"name": "n", "type": "int"}));
    for (change, why) in [
        (json!({"name": "m", "type": "int"}), "'m' in reader schema must have a default"),
        (json!({"name": "n", "type": "long"}), "'n' in reader schema does not match"),
        (json!({"name": "n", "type": ["null", "int"], "default": null}), "not every value of one"),
        (json!({"name": "n", "type": "string"}), "'n' in reader schema does not match"),
    ] {
        let changed = event(change);
        let said = judged(&changed, &[&v1, &changed]);
        let named = said[0].starts_with("schemas/t/E.avsc against schemas/released/t/E/1.avsc: ");
        assert!(named && said[0].contains(why), "{why}: {said:?}");
    }
    let unlike = v1.replace("uuid", "decimal-text");
    assert!(judged(&unlike, &[&v1, &unlike])[0].contains("the logical type of /id was Some(\"uuid\")"));
    let moved = v1.replace("farandole.t", "farandole.u");
    assert!(judged(&moved, &[&v1, &moved])[0].contains("the full name was"));
}

#[test]
fn a_missing_file_is_named() {
    let v1 = event(json!({"name": "n", "type": "int"}));
    let (none, one) = (Released::new(), Current::from([("t/E".into(), v1.clone())]));
    assert_eq!(problems(&one, &none), ["schemas/released/t/E/1.avsc is missing: copy schemas/t/E.avsc to it"]);
    let kept = Released::from([("t/E".into(), BTreeMap::from([(1, v1.clone())]))]);
    assert_eq!(
        problems(&Current::new(), &kept),
        ["schemas/t/E.avsc is gone, but its events are in the log for ever: copy the last of schemas/released/t/E/ back"]
    );
    let gap = Released::from([("t/E".into(), BTreeMap::from([(2, v1)]))]);
    assert_eq!(problems(&one, &gap), ["schemas/released/t/E/: versions must be 1, 2, … without a gap; restore the missing file"]);
}
