//! A schema's text as a [`Schema`], or why it is none that can be used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::ambiguity::passes_for;
use crate::names::is_avro;
use crate::schema::{Body, Definition, Field, Name, Primitive, Schema, Type, takes_no_bytes, words};

/// Bytes of the largest `fixed`: it is an array in Rust, which lives on the stack.
const LARGEST_FIXED: u64 = 1 << 16;
/// The logical types of Avro and what they stand on. Others are somebody's own, and ignored as Avro asks.
const LOGICAL: &[(&str, Primitive)] = &[
    ("uuid", Primitive::String),
    ("date", Primitive::Int),
    ("time-millis", Primitive::Int),
    ("time-micros", Primitive::Long),
    ("timestamp-millis", Primitive::Long),
    ("timestamp-micros", Primitive::Long),
    ("timestamp-nanos", Primitive::Long),
    ("local-timestamp-millis", Primitive::Long),
    ("local-timestamp-micros", Primitive::Long),
    ("local-timestamp-nanos", Primitive::Long),
];

/// The schema in `text`.
///
/// # Errors
/// Says the field, the reason and what to do; not the file.
pub(crate) fn parse(text: &str) -> Result<Schema, String> {
    let json: Value = serde_json::from_str(text).map_err(|e| format!("isn't JSON: {e}"))?;
    let mut parser = Parser { named: BTreeMap::new(), open: Vec::new() };
    let root = parser.ty("the schema", "", &json)?;
    let schema = Schema { root, named: parser.named };
    check_defaults(&schema)?;
    Ok(schema)
}

struct Parser {
    named: BTreeMap<String, Definition>,
    /// Names that are being defined.
    open: Vec<String>,
}

impl Parser {
    fn ty(&mut self, at: &str, namespace: &str, json: &Value) -> Result<Type, String> {
        match json {
            Value::String(name) => self.by_name(at, namespace, name),
            Value::Array(branches) => self.union(at, namespace, branches),
            Value::Object(_) => match json.get("type") {
                Some(Value::String(kind)) => self.complex(at, namespace, kind, json),
                Some(inner @ (Value::Object(_) | Value::Array(_))) => self.ty(at, namespace, inner),
                _ => Err(format!("{at}: a type without \"type\"; give it one")),
            },
            other => Err(format!("{at}: {other} is no type; write a type's name, an object or an array")),
        }
    }

    fn by_name(&self, at: &str, namespace: &str, name: &str) -> Result<Type, String> {
        if let Some(primitive) = Primitive::named(name) {
            return Ok(Type::Primitive(primitive, None));
        }
        let mut meant = vec![name.to_owned()];
        if !name.contains('.') && !namespace.is_empty() {
            meant.insert(0, format!("{namespace}.{name}"));
        }
        let found = meant.iter().find(|full| self.named.contains_key(*full) || self.open.contains(full));
        match found {
            Some(full) if self.open.contains(full) => Err(format!(
                "{at}: {full} contains itself, so a value could nest without end; refer to the inner one by a key, or flatten it"
            )),
            Some(full) => Ok(Type::Named(full.clone())),
            None => Err(format!(
                "{at}: the type {name:?} isn't known; an Avro file stands alone, so write its definition where the name is used first"
            )),
        }
    }

    fn union(&mut self, at: &str, namespace: &str, branches: &[Value]) -> Result<Type, String> {
        let mut types = Vec::new();
        for branch in branches {
            types.push(self.ty(at, namespace, branch)?);
        }
        let mut seen = BTreeSet::new();
        for ty in &types {
            let key = match ty {
                Type::Union(_) => return Err(format!("{at}: a union inside a union; put its types into the outer one")),
                Type::Primitive(primitive, _) => primitive.word().to_owned(),
                Type::Array(_) => "array".to_owned(),
                Type::Map(_) => "map".to_owned(),
                Type::Named(name) => name.clone(),
            };
            if !seen.insert(key.clone()) {
                return Err(format!("{at}: {key} is in the union twice, and a reader couldn't tell which; keep one"));
            }
        }
        if types.len() < 2 {
            return Err(format!("{at}: a union of {} types; write the type itself, or [\"null\", type]", types.len()));
        }
        for (i, ty) in types.iter().enumerate() {
            if let Some(other) = types[..i].iter().find(|other| passes_for((ty, &self.named), (other, &self.named))) {
                let (ty, other) = (words(ty), words(other));
                return Err(format!(
                    "{at}: a reader of another version may take a {ty} for a {other}, which is before it in the union and fits as well; put {ty} \
                     first, give {other} a field without a default that {ty} lacks, or use two nullable fields"
                ));
            }
        }
        Ok(Type::Union(types))
    }

    fn complex(&mut self, at: &str, namespace: &str, kind: &str, json: &Value) -> Result<Type, String> {
        let part =
            |key: &str| json.get(key).ok_or_else(|| format!("{at}: {} {kind} without {key:?}; give it one", article(kind)));
        match kind {
            "array" => Ok(Type::Array(Box::new(self.element(at, namespace, part("items")?)?))),
            "map" => Ok(Type::Map(Box::new(self.element(at, namespace, part("values")?)?))),
            "record" | "error" | "enum" | "fixed" => self.definition(at, namespace, kind, json),
            name => match Primitive::named(name) {
                Some(primitive) => Ok(Type::Primitive(primitive, logical(at, primitive, json)?)),
                None => self.by_name(at, namespace, name),
            },
        }
    }

    fn element(&mut self, at: &str, namespace: &str, json: &Value) -> Result<Type, String> {
        let ty = self.ty(at, namespace, json)?;
        if takes_no_bytes(&ty, &self.named) {
            return Err(format!(
                "{at}: values that take no bytes in an array or map have no bound; write their number as a long"
            ));
        }
        Ok(ty)
    }

    fn definition(&mut self, at: &str, namespace: &str, kind: &str, json: &Value) -> Result<Type, String> {
        let name = named(at, namespace, kind, json)?;
        let full = name.full();
        if self.named.contains_key(&full) || self.open.contains(&full) {
            return Err(format!("{at}: {full} is defined twice; define it where it is used first and use its name after that"));
        }
        self.open.push(full.clone());
        let body = match kind {
            "enum" => enumeration(&name.simple, json)?,
            "fixed" => fixed(&name.simple, json)?,
            _ => Body::Record(self.fields(&name, json)?),
        };
        self.open.pop();
        self.named.insert(full.clone(), Definition { name, doc: doc(json), body });
        Ok(Type::Named(full))
    }

    fn fields(&mut self, record: &Name, json: &Value) -> Result<Vec<Field>, String> {
        let name_of = &record.simple;
        let Some(Value::Array(list)) = json.get("fields") else {
            return Err(format!("{name_of}: a record without \"fields\"; give it an array of them, which may be empty"));
        };
        let (mut fields, mut seen) = (Vec::new(), BTreeSet::new());
        for field in list {
            let name = field.get("name").and_then(Value::as_str);
            let name = name.ok_or_else(|| format!("{name_of}: a field without a name: {field}; give it one"))?;
            let at = format!("{name_of}.{name}");
            if !is_avro(name) {
                return Err(format!("{at}: a name has letters, digits and _ only, and doesn't begin with a digit; rename it"));
            }
            if !seen.insert(name) {
                return Err(format!("{at}: there are two fields of this name; rename one"));
            }
            let ty = field.get("type").ok_or_else(|| format!("{at}: no \"type\"; give it one"))?;
            let ty = self.ty(&at, &record.namespace, ty)?;
            fields.push(Field { name: name.to_owned(), doc: doc(field), ty, default: field.get("default").cloned() });
        }
        Ok(fields)
    }
}

fn doc(json: &Value) -> Option<String> {
    json.get("doc").and_then(Value::as_str).map(str::trim).filter(|doc| !doc.is_empty()).map(str::to_owned)
}

fn named(at: &str, namespace: &str, kind: &str, json: &Value) -> Result<Name, String> {
    let written = json.get("name").and_then(Value::as_str);
    let written = written.ok_or_else(|| format!("{at}: {} {kind} without a name; give it one", article(kind)))?;
    let name = match written.rsplit_once('.') {
        Some((space, simple)) => Name { namespace: space.to_owned(), simple: simple.to_owned() },
        None => {
            let space = json.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
            Name { namespace: space.to_owned(), simple: written.to_owned() }
        }
    };
    if name.full().split('.').all(is_avro) {
        return Ok(name);
    }
    Err(format!(
        "{at}: the name {:?} must be words of letters, digits and _ with dots between, none beginning with a digit; rename it",
        name.full()
    ))
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['a', 'e']) { "an" } else { "a" }
}

fn enumeration(name: &str, json: &Value) -> Result<Body, String> {
    let symbols = json.get("symbols").and_then(Value::as_array).map(|list| list.iter().map(Value::as_str).collect());
    let symbols: Option<Option<Vec<&str>>> = symbols;
    let Some(symbols) = symbols.flatten().filter(|symbols| !symbols.is_empty()) else {
        return Err(format!("{name}: an enum without \"symbols\"; give it an array of names"));
    };
    let mut seen = BTreeSet::new();
    for symbol in &symbols {
        if !is_avro(symbol) || !seen.insert(symbol) {
            return Err(format!(
                "{name}: the symbol {symbol:?} is there twice or is no name of letters, digits and _; rename it"
            ));
        }
    }
    let default = match json.get("default") {
        None => None,
        Some(Value::String(default)) if symbols.contains(&default.as_str()) => Some(default.clone()),
        Some(other) => return Err(format!("{name}: the default {other} is none of the symbols; name one of them")),
    };
    Ok(Body::Enum { symbols: symbols.into_iter().map(str::to_owned).collect(), default })
}

fn fixed(name: &str, json: &Value) -> Result<Body, String> {
    let size = json.get("size").and_then(Value::as_u64).filter(|size| (1..=LARGEST_FIXED).contains(size));
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size =
        size.ok_or_else(|| format!("{name}: a fixed has a \"size\" of 1 to {LARGEST_FIXED} bytes; beyond that, use bytes"))?;
    let logical = match json.get("logicalType").and_then(Value::as_str) {
        Some("uuid") if size == 16 => Some("uuid".to_owned()),
        Some("duration") if size == 12 => Some("duration".to_owned()),
        Some("decimal") => Some(decimal(name, json)?),
        Some(logical @ ("uuid" | "duration")) => {
            let bytes = if logical == "uuid" { 16 } else { 12 };
            return Err(format!("{name}: a {logical} has {bytes} bytes, not {size}; correct the size or drop the logicalType"));
        }
        _ => None,
    };
    Ok(Body::Fixed { size, logical })
}

fn logical(at: &str, primitive: Primitive, json: &Value) -> Result<Option<String>, String> {
    match json.get("logicalType").and_then(Value::as_str) {
        Some("decimal") if primitive == Primitive::Bytes => decimal(at, json).map(Some),
        Some(logical @ ("uuid" | "big-decimal")) if primitive == Primitive::Bytes => {
            let instead = if logical == "uuid" { "a string or a fixed of 16 bytes" } else { "decimal, or a string" };
            Err(format!("{at}: {logical} on bytes is no type of Avro's that others read; use {instead}"))
        }
        Some(logical) => Ok(LOGICAL.contains(&(logical, primitive)).then(|| logical.to_owned())),
        None => Ok(None),
    }
}

fn decimal(at: &str, json: &Value) -> Result<String, String> {
    let number = |key: &str| json.get(key).map_or(Some(0), Value::as_u64);
    match (number("precision"), number("scale")) {
        (Some(precision @ 1..), Some(scale)) if scale <= precision => Ok(format!("decimal({precision},{scale})")),
        _ => Err(format!("{at}: a decimal has a \"precision\" of at least 1, and a \"scale\" no larger than that; correct them")),
    }
}

/// Every default is a value of its field's type, and one that readers read as it is meant.
fn check_defaults(schema: &Schema) -> Result<(), String> {
    for definition in schema.named.values() {
        let Body::Record(fields) = &definition.body else { continue };
        for field in fields {
            let Some(default) = field.default.as_ref().filter(|default| !fits(schema, &field.ty, default)) else { continue };
            let at = format!("{}.{}", definition.name.simple, field.name);
            return Err(match &field.ty {
                Type::Union(branches) if branches.iter().skip(1).any(|branch| fits(schema, branch, default)) => {
                    format!(
                        "{at}: the default {default} is none of the union's first type, as which readers take it; put its type first"
                    )
                }
                ty => format!("{at}: the default {default} is no {}{}; correct it", words(ty), but(default)),
            });
        }
    }
    Ok(())
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// What readers don't agree about.
fn but(default: &Value) -> &'static str {
    if default.as_str().is_some_and(|text| !text.is_ascii()) {
        " (of bytes, only those below 0x80 are read alike by all)"
    } else {
        ""
    }
}

/// Whether `json` is a value of the type, as defaults are written. Of a union, it is one of its first type: readers resolve it so. Bytes are
/// letters up to U+00FF; above U+007F they are read as UTF-8 by some.
fn fits(schema: &Schema, ty: &Type, json: &Value) -> bool {
    match ty {
        Type::Union(branches) => branches.first().is_some_and(|branch| fits(schema, branch, json)),
        Type::Array(items) => json.as_array().is_some_and(|list| list.iter().all(|item| fits(schema, items, item))),
        Type::Map(values) => json.as_object().is_some_and(|map| map.values().all(|value| fits(schema, values, value))),
        Type::Primitive(primitive, logical) => match primitive {
            Primitive::Null => json.is_null(),
            Primitive::Boolean => json.is_boolean(),
            Primitive::Int => json.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Primitive::Long => json.is_i64(),
            Primitive::Float => json.as_f64().is_some_and(|n| (n as f32).is_finite()),
            Primitive::Double => json.is_number(),
            Primitive::Bytes => json.as_str().is_some_and(str::is_ascii),
            Primitive::String if logical.as_deref() == Some("uuid") => json.as_str().is_some_and(is_uuid),
            Primitive::String => json.is_string(),
        },
        Type::Named(name) => match schema.named.get(name).map(|definition| &definition.body) {
            Some(Body::Record(fields)) => json.as_object().is_some_and(|map| {
                fields.iter().all(|field| match map.get(&field.name) {
                    Some(value) => fits(schema, &field.ty, value),
                    None => field.default.is_some(),
                })
            }),
            Some(Body::Enum { symbols, .. }) => json.as_str().is_some_and(|symbol| symbols.iter().any(|known| known == symbol)),
            Some(Body::Fixed { size, .. }) => json.as_str().is_some_and(|text| text.is_ascii() && text.len() == *size),
            None => false,
        },
    }
}
