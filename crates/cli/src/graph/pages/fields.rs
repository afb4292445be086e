//! The fields of an Avro record, as tables: one for the record, one for each type that is declared in it.

use std::fmt::Write as _;

use serde_json::Value;

/// The tables, with a heading for each but the first.
pub fn tables(schema: &Value) -> String {
    let mut types = Vec::new();
    declared(schema, &mut types);
    let mut text = String::new();
    for (n, declared) in types.into_iter().enumerate() {
        if n > 0 {
            let _ = write!(text, "\n## {}\n", name(declared));
            if let Some(doc) = declared["doc"].as_str() {
                let _ = write!(text, "\n{doc}\n");
            }
        }
        match declared["type"].as_str() {
            Some("record") => record(declared, &mut text),
            Some("enum") => {
                let symbols: Vec<String> =
                    items(&declared["symbols"]).filter_map(Value::as_str).map(|s| format!("`{s}`")).collect();
                let _ = write!(text, "\nOne of {}", symbols.join(", "));
                if let Some(default) = declared["default"].as_str() {
                    let _ = write!(text, "; a symbol that the reader doesn't know is read as `{default}`");
                }
                text.push_str(".\n");
            }
            _ => drop(write!(text, "\n{} bytes.\n", declared["size"])),
        }
    }
    text
}

fn record(record: &Value, text: &mut String) {
    text.push_str("\n| field | type | means |\n|---|---|---|\n");
    for field in items(&record["fields"]) {
        let doc = field["doc"].as_str().unwrap_or_default().replace('|', "\\|").replace('\n', " ");
        let default = field.get("default").map_or_else(String::new, |default| format!("; default `{default}`"));
        let _ = writeln!(text, "| `{}` | {}{default} | {doc} |", name(field), words(&field["type"]));
    }
}

/// The types with names in `schema`, itself included, in the order in which they are met.
fn declared<'a>(schema: &'a Value, types: &mut Vec<&'a Value>) {
    match schema {
        Value::Array(union) => union.iter().for_each(|one| declared(one, types)),
        Value::Object(_) => match schema["type"].as_str() {
            Some("record" | "error") => {
                types.push(schema);
                items(&schema["fields"]).for_each(|field| declared(&field["type"], types));
            }
            Some("enum" | "fixed") => types.push(schema),
            Some("array") => declared(&schema["items"], types),
            Some("map") => declared(&schema["values"], types),
            // A type in a type: `{"type": {"type": …}}`.
            _ => declared(&schema["type"], types),
        },
        _ => {}
    }
}

/// A type in words.
fn words(of: &Value) -> String {
    match of {
        Value::String(name) => name.rsplit('.').next().unwrap_or(name).to_owned(),
        Value::Array(union) => union.iter().map(words).collect::<Vec<_>>().join(" or "),
        _ => match (of["type"].as_str(), of["logicalType"].as_str()) {
            (Some("array"), _) => format!("list of {}", words(&of["items"])),
            (Some("map"), _) => format!("map of {}", words(&of["values"])),
            (Some("record" | "error" | "enum" | "fixed"), _) => format!("[{0}](#{1})", name(of), name(of).to_lowercase()),
            (Some(base), Some("decimal")) => {
                format!("{base}, decimal with {} digits after the point", of["scale"].as_u64().unwrap_or(0))
            }
            (Some(base), Some(logical)) => format!("{base}, {logical}"),
            (Some(base), None) => words(&Value::from(base)),
            (None, _) => words(&of["type"]),
        },
    }
}

fn name(of: &Value) -> &str {
    let name = of["name"].as_str().unwrap_or_default();
    name.rsplit('.').next().unwrap_or(name)
}

fn items(of: &Value) -> impl Iterator<Item = &Value> {
    of.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_type_is_told_and_each_named_one_has_its_table() {
        let schema = json!({ "type": "record", "name": "E", "fields": [
            { "name": "id", "doc": "An | id.", "type": { "type": "string", "logicalType": "uuid" } },
            { "name": "lines", "type": { "type": "array", "items": { "type": "record", "name": "x.Line", "doc": "A line.", "fields": [
                { "name": "price", "type": { "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 } }] } } },
            { "name": "kind", "type": ["null", { "type": "enum", "name": "Kind", "symbols": ["A", "B"], "default": "B" }], "default": null },
            { "name": "more", "type": { "type": "map", "values": "Line" } },
            { "name": "hash", "type": { "type": "fixed", "name": "Hash", "size": 32 } }] });
        let expected = "\n| field | type | means |\n|---|---|---|\n\
            | `id` | string, uuid | An \\| id. |\n\
            | `lines` | list of [Line](#line) |  |\n\
            | `kind` | null or [Kind](#kind); default `null` |  |\n\
            | `more` | map of Line |  |\n\
            | `hash` | [Hash](#hash) |  |\n\
            \n## Line\n\nA line.\n\n| field | type | means |\n|---|---|---|\n\
            | `price` | bytes, decimal with 2 digits after the point |  |\n\
            \n## Kind\n\nOne of `A`, `B`; a symbol that the reader doesn't know is read as `B`.\n\
            \n## Hash\n\n32 bytes.\n";
        assert_eq!(tables(&schema), expected);
    }
}
