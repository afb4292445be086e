//! Schemas as they are used: parsed once, checked, with the reader and the writer for them.
//!
//! apache-avro's readers and writers borrow their schema, so schemas live as long as the process: they are leaked, once
//! a text, and [`MOST`] of them at most. **Invariant:** what is leaked has passed [`weigh`], which refuses what a few
//! bytes of data could turn into endless work or a stack without end; schemas also come from others, through the registry.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{LazyLock, Mutex, PoisonError},
};

use apache_avro::{
    Schema,
    reader::datum::GenericDatumReader,
    schema::{DecimalSchema, InnerDecimalSchema, UuidSchema},
    writer::datum::GenericDatumWriter,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

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
    pub(super) schema: Schema,
    pub(super) writer: GenericDatumWriter<'static>,
    pub(super) reader: GenericDatumReader<'static>,
    /// What the bytes depend on: no docs, aliases or defaults. Values of the same shape are the same bytes.
    pub(super) shape: Value,
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
    let Schema::Record(record) = &schema else { return Err("it isn't a record's".into()) };
    let name = record.name.fullname(None);
    weigh(&schema, &mut HashMap::new())?;
    let mut shape = serde_json::to_value(&schema).map_err(|e| e.to_string())?;
    strip(&mut shape);
    // Proven usable, as far as it goes, before anything is leaked.
    GenericDatumReader::builder(&schema).build().map_err(|e| e.to_string())?;
    let leaked: &'static Schema = Box::leak(Box::new(schema.clone()));
    let writer = GenericDatumWriter::builder(leaked).build().map_err(|e| e.to_string())?;
    let reader = GenericDatumReader::builder(leaked).build().map_err(|e| e.to_string())?;
    let parsed: &'static Parsed = Box::leak(Box::new(Parsed { name, schema, writer, reader, shape }));
    schemas.insert(text.to_owned(), parsed);
    Ok(parsed)
}

/// SHA-256 of a schema's text, however its JSON is laid out.
pub(super) fn fingerprint(text: &str) -> [u8; 32] {
    let plain = serde_json::from_str::<Value>(text).map(|v| v.to_string());
    Sha256::digest(plain.as_deref().unwrap_or(text).as_bytes()).into()
}

/// Runs apache-avro's code on data from others: a panic in it is `None`.
pub(super) fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    // Readers and writers keep no state between calls, and what a panic leaves half made is dropped.
    catch_unwind(AssertUnwindSafe(read)).ok()
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
