//! Rust types from Avro schemas: text in, text out, no files.
//!
//! Knows what the events use and refuses the rest: record, array, enum, string, int, long, boolean, `["null", X]`
//! with default null, uuid on string, timestamp-micros on long. **Invariant:** what it accepts round-trips through
//! apache-avro's serde and through its `Value`s alike; a type is added here together with a sample in `tests/it/samples.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::Value;

/// What every namespace begins with; the topic follows.
const NAMESPACE: &str = "farandole";

/// One event's schema.
pub struct SchemaFile {
    /// The folder.
    pub topic: String,
    /// The file's name without `.avsc`.
    pub event: String,
    /// The file's text.
    pub text: String,
}

/// The modules, one a topic, and the list `ALL` of all events.
///
/// # Errors
/// Says file, field and what to do.
pub fn generate(files: &[SchemaFile]) -> Result<String, String> {
    let mut topics = BTreeMap::<&str, Topic>::new();
    let mut all = String::new();
    for file in files {
        let path = format!("schemas/{}/{}.avsc", file.topic, file.event);
        let schema: Value = serde_json::from_str(&file.text).map_err(|e| format!("{path}: not JSON: {e}"))?;
        let namespace = format!("{NAMESPACE}.{}", file.topic);
        ensure(is_snake(&file.topic), || format!("{path}: the folder's name isn't snake_case"))?;
        ensure(schema["type"] == "record" && schema["name"] == *file.event && schema["namespace"] == *namespace, || {
            format!("{path}: must be a record named {} in namespace {namespace}", file.event)
        })?;
        let topic = topics.entry(&file.topic).or_insert_with(|| Topic { namespace, ..Topic::default() });
        let mut types = Types { topic, path: &path, here: BTreeSet::new() };
        types.named(&schema)?;
        let (t, e) = (&file.topic, &file.event);
        let _ = writeln!(
            topic.code,
            "impl {e} {{\n/// The record's full name, which is the wire's `ce_type`.\npub const NAME: &'static str = \"{NAMESPACE}.{t}.{e}\";\n\
             /// The schema's text.\npub const SCHEMA: &'static str = include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/{t}/{e}.avsc\"));\n\
             /// The topic.\npub const TOPIC: &'static str = \"{t}\";\n}}",
        );
        let _ = writeln!(all, "(\"{t}\", {t}::{e}::NAME, {t}::{e}::SCHEMA),");
    }
    let mut code = String::new();
    for (name, topic) in &topics {
        let _ = writeln!(code, "/// The events of topic `{name}`.\npub mod {name} {{\n{}}}", topic.code);
    }
    let _ = writeln!(code, "const ALL: &[(&str, &str, &str)] = &[\n{all}];");
    Ok(code)
}

#[derive(Default)]
struct Topic {
    namespace: String,
    code: String,
    /// Each named type's definition and the file that gave it first.
    defined: BTreeMap<String, (Value, String)>,
}

/// The types of one file.
struct Types<'a> {
    topic: &'a mut Topic,
    path: &'a str,
    /// Names that this file has defined: Avro files stand alone, so only these may be used by name.
    here: BTreeSet<String>,
}

/// A field's type.
struct Rust {
    name: String,
    /// Serde needs `crate::uuid_text` for it, which it can attach to a field only.
    uuid: bool,
}

impl Types<'_> {
    /// Writes the record or enum and returns its name; one that another file defined alike is written once.
    fn named(&mut self, schema: &Value) -> Result<String, String> {
        let path = self.path;
        let name = text(schema, "name").ok_or_else(|| format!("{path}: a {} without a name", schema["type"]))?;
        ensure(is_camel(name), || format!("{path}: {name} isn't CamelCase"))?;
        ensure(schema["namespace"].is_null() || schema["namespace"] == *self.topic.namespace, || {
            format!("{path}: {name} must stay in the topic's namespace, {}", self.topic.namespace)
        })?;
        ensure(self.here.insert(name.to_owned()), || format!("{path}: {name} is defined twice; use it by its name"))?;
        let known = self.topic.defined.get(name);
        if let Some((before, other)) = known {
            ensure(before == schema, || {
                format!("{path}: {name} differs from its definition in {other}; make them the same or rename one")
            })?;
        } else {
            self.topic.defined.insert(name.to_owned(), (schema.clone(), path.to_owned()));
        }
        let fresh = self.topic.defined.get(name).is_some_and(|(_, first)| first == path);
        let code = if schema["type"] == "enum" { self.enumeration(name, schema)? } else { self.record(name, schema)? };
        if fresh {
            self.topic.code.push_str(&code);
        }
        Ok(name.to_owned())
    }

    fn record(&mut self, name: &str, schema: &Value) -> Result<String, String> {
        let path = self.path;
        let mut code = self.doc(name, schema)?;
        let _ = writeln!(code, "#[derive(Debug, Clone, PartialEq, Eq, ::serde::Deserialize)]\npub struct {name} {{");
        let mut fields = Vec::new();
        for field in list(schema, "fields") {
            let field_name = text(field, "name").ok_or_else(|| format!("{path}: a field of {name} without a name"))?;
            let at = format!("{name}.{field_name}");
            ensure(is_snake(field_name), || format!("{path}: {at} isn't snake_case"))?;
            code.push_str(&self.doc(&at, field)?);
            let rust = self.field(&at, field)?;
            if rust.uuid {
                code.push_str("#[serde(deserialize_with = \"crate::uuid_text::deserialize\")]\n");
            }
            let _ = writeln!(code, "pub {field_name}: {},", rust.name);
            fields.push((field_name, rust.uuid));
        }
        code.push_str("}\n");
        code.push_str(&serialize(name, &fields));
        Ok(code)
    }

    fn enumeration(&mut self, name: &str, schema: &Value) -> Result<String, String> {
        let path = self.path;
        let symbols: Vec<&str> = list(schema, "symbols").filter_map(Value::as_str).collect();
        ensure(text(schema, "default").is_some_and(|d| symbols.contains(&d)), || {
            format!("{path}: {name} needs a default among its symbols, or no symbol can ever be added; append OTHER")
        })?;
        let mut code = self.doc(name, schema)?;
        let _ = writeln!(
            code,
            "#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ::serde::Serialize, ::serde::Deserialize)]\npub enum {name} {{"
        );
        for symbol in symbols {
            ensure(is_snake(&symbol.to_ascii_lowercase()), || format!("{path}: {name}: {symbol} isn't UPPER_SNAKE"))?;
            let _ = writeln!(code, "/// `{symbol}`.\n#[serde(rename = \"{symbol}\")]\n{},", camel(symbol));
        }
        code.push_str("}\n");
        Ok(code)
    }

    fn field(&mut self, at: &str, field: &Value) -> Result<Rust, String> {
        let Value::Array(union) = &field["type"] else { return self.plain(at, &field["type"]) };
        let (path, null) = (self.path, Value::from("null"));
        match union.as_slice() {
            [first, some] if *first == null && field.get("default") == Some(&Value::Null) => {
                Ok(Rust { name: format!("Option<{}>", self.inner(at, some)?), uuid: false })
            }
            _ => Err(format!("{path}: {at}: the only union known is [\"null\", X] with \"default\": null")),
        }
    }

    fn plain(&mut self, at: &str, ty: &Value) -> Result<Rust, String> {
        let path = self.path;
        let kind = ty.as_str().or_else(|| text(ty, "type")).unwrap_or_default();
        let name = match (kind, text(ty, "logicalType")) {
            ("string", Some("uuid")) => return Ok(Rust { name: "::uuid::Uuid".to_owned(), uuid: true }),
            ("string", None) => "String".to_owned(),
            ("int", None) => "i32".to_owned(),
            ("long", None | Some("timestamp-micros")) => "i64".to_owned(),
            ("boolean", None) => "bool".to_owned(),
            ("array", None) => format!("Vec<{}>", self.inner(at, &ty["items"])?),
            ("record" | "enum", None) => self.named(ty)?,
            (used, None) if self.here.contains(used) => used.to_owned(),
            (used, logical) => {
                let logical = logical.map(|l| format!(" ({l})")).unwrap_or_default();
                return Err(format!("{path}: {at}: type {used:?}{logical} isn't known to schemas/build/generate.rs"));
            }
        };
        Ok(Rust { name, uuid: false })
    }

    /// The type of an array's items or a union's value.
    fn inner(&mut self, at: &str, ty: &Value) -> Result<String, String> {
        let rust = self.plain(at, ty)?;
        let path = self.path;
        ensure(!rust.uuid, || format!("{path}: {at}: a uuid can be a field only; inside an array or a union use string"))?;
        Ok(rust.name)
    }

    fn doc(&self, at: &str, schema: &Value) -> Result<String, String> {
        let doc = text(schema, "doc").filter(|d| !d.trim().is_empty());
        let doc = doc.ok_or_else(|| format!("{}: {at} has no doc: others read it in the registry", self.path))?;
        Ok(format!("#[doc = {doc:?}]\n"))
    }
}

/// `Serialize` for a record: by the fields' names for text formats, in the schema's order for Avro, which then needn't look each
/// name up (half of the time that encoding took). The order is right because this comes from the schema that the type names.
fn serialize(name: &str, fields: &[(&str, bool)]) -> String {
    let value = |(field, uuid): &(&str, bool)| match uuid {
        true => format!("&crate::uuid_text::Text(&self.{field})"),
        false => format!("&self.{field}"),
    };
    let count = fields.len();
    let named: String = fields.iter().map(|f| format!("record.serialize_field(\"{}\", {})?;\n", f.0, value(f))).collect();
    let placed: String = fields.iter().map(|f| format!("record.serialize_field({})?;\n", value(f))).collect();
    format!(
        "impl ::serde::Serialize for {name} {{
fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {{
if serializer.is_human_readable() {{
use ::serde::ser::SerializeStruct as _;
#[allow(unused_mut)]
let mut record = serializer.serialize_struct(\"{name}\", {count})?;
{named}record.end()
}} else {{
use ::serde::ser::SerializeTupleStruct as _;
#[allow(unused_mut)]
let mut record = serializer.serialize_tuple_struct(\"{name}\", {count})?;
{placed}record.end()
}}
}}
}}
"
    )
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn text<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str)
}

fn list<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn is_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_camel(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// `OUT_OF_STOCK` → `OutOfStock`.
fn camel(symbol: &str) -> String {
    let word = |w: &str| w.chars().take(1).chain(w.chars().skip(1).map(|c| c.to_ascii_lowercase())).collect::<String>();
    symbol.split('_').map(word).collect()
}
