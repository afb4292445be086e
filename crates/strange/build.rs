//! Makes the types of `schemas/`, and those of a schema for each type of Avro with that type in every place where one can be.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use farandole_build::Schemas;
use serde_json::{Value, json};

fn main() -> ExitCode {
    let strange =
        Schemas::in_folder("schemas").default_topic("pings").topic("com.acme", "acme.billing-events").wire_tests().generate();
    match write_every() {
        Ok(()) => strange,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

/// A schema `Every<number>` for each type, and an enum of them all for the kit's codec.
fn write_every() -> std::io::Result<()> {
    let out = env::var("OUT_DIR").map_err(std::io::Error::other)?;
    let folder = Path::new(&out).join("every");
    fs::create_dir_all(&folder)?;
    let (mut variants, mut arms) = (String::new(), String::new());
    for (i, ty) in types().iter().enumerate() {
        let name = format!("Every{i}");
        fs::write(folder.join(format!("{name}.avsc")), schema(&name, ty).to_string())?;
        variants += &format!("{name}(strange::every::{name}),\n");
        arms += &format!("{i} => Every::{name}(serde_json::from_value(json).unwrap()),\n");
    }
    let code = format!(
        "farandole_outbox::messages! {{\n/// One of each.\npub enum Every {{\n{variants}}} }}\n\
         fn of_json(index: usize, json: serde_json::Value) -> Every {{\nmatch index {{\n{arms}_ => unreachable!(),\n}}\n}}\n"
    );
    fs::write(Path::new(&out).join("messages.rs"), code)?;
    let every = Schemas::in_folder(folder).default_topic("every").wire_tests().code().map_err(std::io::Error::other)?;
    fs::write(Path::new(&out).join("every.rs"), every)
}

fn types() -> Vec<Value> {
    let logical = |ty: &str, logical: &str| json!({"type": ty, "logicalType": logical});
    let mut types: Vec<Value> = ["boolean", "int", "long", "float", "double", "string", "bytes"].map(Value::from).into();
    let times = [
        ("int", &["date", "time-millis"][..]),
        ("long", &["time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos"]),
        ("long", &["local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos"]),
        ("string", &["phone-number", "date"]),
    ];
    let times = times.iter().flat_map(|(ty, names)| names.iter().map(|name| logical(ty, name)));
    let times: Vec<Value> = times.enumerate().map(|(i, ty)| json!({"name": format!("t{i}"), "type": ["null", ty]})).collect();
    types.push(json!({"type": "record", "name": "Times", "fields": times}));
    types.extend([
        logical("string", "uuid"),
        json!({"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}),
        json!({"type": "fixed", "name": "Hash", "size": 32}),
        json!({"type": "fixed", "name": "Span", "size": 12, "logicalType": "duration"}),
        json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}),
        json!({"type": "fixed", "name": "Price", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 2}),
        json!({"type": "enum", "name": "Colour", "symbols": ["RED", "darkGreen", "_blue", "Self"], "default": "RED"}),
        json!({"type": "record", "name": "Point", "fields": [
            {"name": "x", "type": "double"}, {"name": "label", "type": ["null", "string"]}, {"name": "raw", "type": "bytes"},
            {"name": "id", "type": logical("string", "uuid")}]}),
        json!({"type": "record", "name": "Empty", "fields": []}),
        json!({"type": "array", "items": "string"}),
        json!({"type": "map", "values": "bytes"}),
        json!(["string", "long"]),
        json!(["null", "boolean", "int", "double", "bytes", logical("string", "uuid")]),
        json!([
            {"type": "map", "values": ["null", {"type": "record", "name": "Card", "fields": [{"name": "token", "type": "string"}]}]},
            {"type": "record", "name": "Transfer", "fields": [{"name": "iban", "type": "string"}, {"name": "id", "type": logical("string", "uuid")}]},
            "Card",
            {"type": "enum", "name": "Other", "symbols": ["CASH"]},
            {"type": "array", "items": {"type": "fixed", "name": "Code", "size": 3}}]),
    ]);
    types
}

/// A type of a union by its name, where it has one.
fn named_already(ty: &Value) -> Value {
    match ty {
        Value::Object(parts) if parts.contains_key("name") => parts["name"].clone(),
        Value::Object(parts) => parts.iter().map(|(key, part)| (key.clone(), named_already(part))).collect(),
        Value::Array(branches) => branches.iter().map(named_already).collect(),
        other => other.clone(),
    }
}

/// A record with the type in every place.
fn schema(name: &str, ty: &Value) -> Value {
    let array = |items: &Value| json!({"type": "array", "items": items});
    let map = |values: &Value| json!({"type": "map", "values": values});
    // Defined where it is used first, and used by its name after that; a union has none.
    let (again, is_union) = match ty.get("name") {
        Some(name) => (name.clone(), false),
        None => (ty.clone(), ty.is_array()),
    };
    // What is inside a union has a name already, too.
    let again = match &again {
        Value::Array(branches) => branches.iter().map(named_already).collect(),
        other => other.clone(),
    };
    let mut places = vec![("plain", ty.clone())];
    // Values that take no bytes have no bound in an array.
    let is_empty = ty["fields"] == json!([]);
    if !is_empty {
        places.extend([("listed", array(&again)), ("keyed", map(&again))]);
        places.extend([("listedTwice", array(&array(&again))), ("keyedLists", map(&array(&again)))]);
    }
    if !is_union {
        let (nullable, elvis) = (json!(["null", again]), json!([again, "null"]));
        places.extend([("nullable", nullable.clone()), ("elvis", elvis.clone())]);
        places.extend([("listedNullables", array(&nullable)), ("keyedNullables", map(&elvis))]);
        if !is_empty {
            places.extend([("nullableList", json!(["null", array(&again)])), ("nullableMap", json!([map(&again), "null"]))]);
        }
        let marker = json!({"type": "record", "name": "Marker", "fields": [{"name": "at", "type": "long"}]});
        // A map may have the keys of a record, so it comes before one.
        let choice = if ty["type"] == "map" { [again, marker] } else { [marker, again] };
        places.push(("choice", json!(["null", choice[0], choice[1]])));
        places.push(("listedChoices", array(&choice.iter().map(named_already).collect())));
    }
    let fields: Vec<Value> = places.into_iter().map(|(name, ty)| json!({"name": name, "type": ty})).collect();
    json!({"type": "record", "name": name, "fields": fields})
}
