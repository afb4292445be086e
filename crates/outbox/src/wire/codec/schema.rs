//! Schemas as they are used: parsed once, checked, with the reader and the writer for them.
//!
//! apache-avro's readers and writers borrow their schema, so schemas live as long as the process: they are leaked, once
//! a text, and [`MOST`] of them at most. **Invariant:** what is leaked has passed [`weigh`], which refuses what a few
//! bytes of data could turn into endless work or a stack without end; schemas also come from others, through the registry.

use std::collections::HashMap;
use std::io::Write;
use std::panic::catch_unwind;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{LazyLock, Mutex, PoisonError};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{DecimalSchema, InnerDecimalSchema, UuidSchema};
use apache_avro::writer::datum::GenericDatumWriter;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Different schema texts that one process keeps.
const MOST: usize = 1024;
/// Levels of nesting, through references too. Decoders recurse; a thread's stack holds a few hundred levels.
const DEEPEST: usize = 64;
/// Types in a schema when every reference is written out. Ten references a level multiply.
const WIDEST: usize = 10_000;
/// Bytes of a `fixed`, which decoders allocate unseen.
const LARGEST_FIXED: usize = 1 << 20;
/// The longest string, byte string or block that a decoder allocates for before it has seen the bytes. A Kafka record
/// is 1 MiB by default. Setting it does nothing when the program has set another limit before.
const LARGEST_ALLOCATION: usize = 16 << 20;

/// A record's schema, ready to use.
pub(super) struct Parsed {
    /// The record's full name.
    pub(super) name: String,
    /// As values are resolved with: decimals are the bytes that they are written as, for apache-avro's resolution refuses one that is
    /// written with fewer bytes than its precision may need.
    pub(super) plain: &'static Schema,
    writer: GenericDatumWriter<'static>,
    /// The same, for Rust types that ask whether the format is one for people, and write other values then.
    text_writer: GenericDatumWriter<'static>,
    pub(super) reader: GenericDatumReader<'static>,
    /// What the bytes depend on: no docs, aliases or defaults. Values of the same shape are the same bytes.
    pub(super) shape: Value,
    /// Whether UUIDs and their like are written as text: as they are unless a UUID of the schema has 16 bytes.
    pub(super) as_text: bool,
    /// Whether our Rust type has turned out to need [`Parsed::text_writer`].
    is_written_as_text: AtomicBool,
    /// Whether our Rust type has turned out not to be readable straight from the bytes.
    pub(super) is_read_by_value: AtomicBool,
}

impl Parsed {
    /// Writes `value` behind what `start` gives: as for machines, and as for people only if its type can't be written else, as `Uuid`
    /// where the schema has text. A type that knows its schema then needn't name each field, which takes more than all the rest.
    ///
    /// # Errors
    /// apache-avro's, when the value doesn't fit the schema.
    pub(super) fn write<T: Serialize, W: Write>(&self, start: impl Fn() -> W, value: &T) -> Result<W, apache_avro::Error> {
        let write = |writer: &GenericDatumWriter<'static>| {
            let mut out = start();
            writer.write_ser(&mut out, value).map(|_| out)
        };
        if !self.is_written_as_text.load(Relaxed) {
            let written = write(&self.writer);
            if written.is_ok() || !self.as_text {
                return written;
            }
        }
        let written = write(&self.text_writer)?;
        self.is_written_as_text.store(true, Relaxed);
        Ok(written)
    }
}

/// The schema in `text`, parsed or remembered.
///
/// # Errors
/// Says why it can't be used.
pub(super) fn intern(text: &str) -> Result<&'static Parsed, String> {
    static SCHEMAS: LazyLock<Mutex<HashMap<String, &'static Parsed>>> = LazyLock::new(|| {
        apache_avro::util::max_allocation_bytes(LARGEST_ALLOCATION);
        Mutex::default()
    });
    // Poisoned or not, the map only ever gains whole entries.
    let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = schemas.get(text) {
        return Ok(known);
    }
    if schemas.len() >= MOST {
        return Err(format!("this process holds {MOST} schemas already"));
    }
    let schema = catch_unwind(|| Schema::parse_str(text)).map_err(|_| "the parser panicked")?.map_err(|e| e.to_string())?;
    let Schema::Record(record) = &schema else { return Err("it isn't a record schema".into()) };
    let name = record.name.fullname(None);
    weigh(&schema, &mut HashMap::new())?;
    let mut shape = serde_json::to_value(&schema).map_err(|e| e.to_string())?;
    strip(&mut shape);
    let as_text = !has_uuid_bytes(&shape);
    // Proven usable, as far as it goes, before anything is leaked.
    GenericDatumReader::builder(&schema).build().map_err(|e| e.to_string())?;
    let mut plain = serde_json::to_value(&schema).map_err(|e| e.to_string())?;
    let plain = if strip_decimals(&mut plain) { Schema::parse(&plain).map_err(|e| e.to_string())? } else { schema.clone() };
    let plain: &'static Schema = Box::leak(Box::new(plain));
    let leaked: &'static Schema = Box::leak(Box::new(schema));
    let writer = |text| GenericDatumWriter::builder(leaked).human_readable(text).build().map_err(|e| e.to_string());
    let (writer, text_writer) = (writer(false)?, writer(true)?);
    let reader = GenericDatumReader::builder(leaked).human_readable(as_text).build().map_err(|e| e.to_string())?;
    let parsed: &'static Parsed = Box::leak(Box::new(Parsed {
        name,
        plain,
        writer,
        text_writer,
        reader,
        shape,
        as_text,
        is_written_as_text: AtomicBool::new(false),
        is_read_by_value: AtomicBool::new(false),
    }));
    schemas.insert(text.to_owned(), parsed);
    Ok(parsed)
}

/// Whether two schemas' values are the same bytes, read as the same record. Registries give back what they were given in words of their own.
pub(super) fn same(a: &str, b: &str) -> bool {
    match (intern(a), intern(b)) {
        (Ok(a), Ok(b)) => a.name == b.name && a.shape == b.shape,
        _ => fingerprint(a) == fingerprint(b),
    }
}

/// The full name of the record in a schema's text, without more than a look.
pub(super) fn name(text: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(text).ok()?;
    let name = schema.get("name")?.as_str()?;
    match schema.get("namespace").and_then(Value::as_str) {
        Some(space) if !name.contains('.') && !space.is_empty() => Some(format!("{space}.{name}")),
        _ => Some(name.to_owned()),
    }
}

/// SHA-256 of a schema's text, however its JSON is laid out.
pub(super) fn fingerprint(text: &str) -> [u8; 32] {
    let plain = serde_json::from_str::<Value>(text).map(|v| v.to_string());
    Sha256::digest(plain.as_deref().unwrap_or(text).as_bytes()).into()
}

/// Whether a UUID in it is written as bytes.
fn has_uuid_bytes(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            let is = |key: &str, text: &str| map.get(key).and_then(Value::as_str) == Some(text);
            is("logicalType", "uuid") && !is("type", "string") || map.values().any(has_uuid_bytes)
        }
        Value::Array(all) => all.iter().any(has_uuid_bytes),
        _ => false,
    }
}

/// Makes decimals bytes; says whether there were any.
fn strip_decimals(schema: &mut Value) -> bool {
    match schema {
        Value::Object(map) => {
            let is = map.get("logicalType").and_then(Value::as_str) == Some("decimal");
            if is {
                map.retain(|key, _| !matches!(key.as_str(), "logicalType" | "precision" | "scale"));
            }
            map.values_mut().fold(is, |any, value| strip_decimals(value) | any)
        }
        Value::Array(all) => all.iter_mut().fold(false, |any, value| strip_decimals(value) | any),
        _ => false,
    }
}

/// Removes what doesn't show in the bytes.
fn strip(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for key in ["doc", "aliases", "default", "order"] {
                map.remove(key);
            }
            map.values_mut().for_each(strip);
        }
        Value::Array(all) => all.iter_mut().for_each(strip),
        _ => {}
    }
}

/// What one value of a type can cost.
#[derive(Clone, Copy)]
struct Weight {
    /// Whether a value may take no byte at all, so that any number of them fits anywhere.
    empty: bool,
    depth: usize,
    types: usize,
}

const LEAF: Weight = Weight { empty: false, depth: 1, types: 1 };

/// A schema's weight. `named` holds the types met so far; `None` is one that is being weighed.
fn weigh(schema: &Schema, named: &mut HashMap<String, Option<Weight>>) -> Result<Weight, String> {
    let weight = match schema {
        Schema::Null => Weight { empty: true, ..LEAF },
        Schema::Array(array) => element(weigh(&array.items, named)?)?,
        Schema::Map(map) => element(weigh(&map.types, named)?)?,
        Schema::Union(union) => Weight { empty: false, ..sum(union.variants().iter(), named)? },
        Schema::Ref { name } => match named.get(&name.fullname(None)) {
            Some(Some(weight)) => *weight,
            Some(None) => return Err(format!("{name} contains itself")),
            None => return Err(format!("{name} is used before it is defined")),
        },
        Schema::Record(record) => {
            named.insert(record.name.fullname(None), None);
            let weight = sum(record.fields.iter().map(|field| &field.schema), named)?;
            named.insert(record.name.fullname(None), Some(weight));
            weight
        }
        Schema::Enum(it) => {
            named.insert(it.name.fullname(None), Some(LEAF));
            LEAF
        }
        Schema::Fixed(fixed)
        | Schema::Duration(fixed)
        | Schema::Uuid(UuidSchema::Fixed(fixed))
        | Schema::Decimal(DecimalSchema { inner: InnerDecimalSchema::Fixed(fixed), .. }) => {
            if fixed.size > LARGEST_FIXED {
                return Err(format!("{} has {} bytes, more than {LARGEST_FIXED}", fixed.name, fixed.size));
            }
            let weight = Weight { empty: fixed.size == 0, ..LEAF };
            named.insert(fixed.name.fullname(None), Some(weight));
            weight
        }
        _ => LEAF,
    };
    if weight.depth > DEEPEST || weight.types > WIDEST {
        return Err(format!("it nests deeper than {DEEPEST} levels, or unfolds to more than {WIDEST} types"));
    }
    Ok(weight)
}

fn element(weight: Weight) -> Result<Weight, String> {
    if weight.empty {
        return Err("an array or map of values that take no bytes has no bound".into());
    }
    Ok(Weight { empty: false, depth: weight.depth + 1, types: weight.types + 1 })
}

fn sum<'s>(parts: impl Iterator<Item = &'s Schema>, named: &mut HashMap<String, Option<Weight>>) -> Result<Weight, String> {
    let mut all = Weight { empty: true, ..LEAF };
    for part in parts {
        let part = weigh(part, named)?;
        all.empty &= part.empty;
        all.depth = all.depth.max(part.depth + 1);
        all.types += part.types;
    }
    Ok(all)
}

/// An id that depends on the schema alone, and is never negative.
pub(super) fn made_up_id(schema: &str) -> i32 {
    let [a, b, c, d, ..] = fingerprint(schema);
    i32::from_be_bytes([a & 0x7f, b, c, d])
}
