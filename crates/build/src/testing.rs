//! What generated tests call, with the feature `testing`; see [`Schemas::wire_tests`](crate::Schemas::wire_tests).
//!
//! Avro's bytes follow from schema and value alone. So no bytes have to be kept beside the schemas: a test makes values up from the
//! schema, writes them as the specification says, in a few lines of its own, and asks apache-avro and the generated type for the same.

#[cfg(test)]
mod random;
pub(crate) mod sample;

use std::fmt::Debug;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema as Avro, from_value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::parse::parse;
use crate::schema::{Body, Schema, Type};
use sample::{Random, Sample, sample};

/// Values made up of a schema.
const SAMPLES: u64 = 32;
/// Of them, those whose bytes are cut and bent too, which takes longer.
const BENT: u64 = 4;
/// Bent bytes made of each.
const BENDS: u64 = 50;
/// What a length in the bytes may claim. Set once a process.
const MOST_ALLOCATED: usize = 1 << 20;

/// Checks that the generated type `T` and its schema are one:
///
/// - values made up from the schema are the bytes that Avro's specification says, when `T` or apache-avro's `Value` writes them, and are
///   read from these, straight and through resolution; and the same with JSON;
/// - bytes that are cut short are an error, and no bytes cause a panic;
/// - what any version in `released` (a file and its text each) wrote is read as `T`, and can read what `T` writes.
///
/// # Errors
/// The first thing that isn't so.
///
/// ```
/// use farandole_build::testing::keeps_its_bytes;
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Paid {
///     amount: i64,
/// }
///
/// let schema = r#"{"type": "record", "name": "Paid", "fields": [{"name": "amount", "type": "long"}]}"#;
/// assert_eq!(keeps_its_bytes::<Paid>(schema, &[("1.avsc", schema)]), Ok(()));
/// let other = r#"{"type": "record", "name": "Paid", "fields": [{"name": "amount", "type": "string"}]}"#;
/// assert!(keeps_its_bytes::<Paid>(other, &[]).is_err());
/// ```
pub fn keeps_its_bytes<T>(schema: &str, released: &[(&str, &str)]) -> Result<(), String>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let current = Version::of("the schema", schema)?;
    for n in 0..SAMPLES {
        let made = sample(&current.schema, n);
        let bytes = made.avro();
        (current.same::<T>(&made, &bytes)).map_err(|why| format!("value {n}, {}: {why}", made.json()))?;
        if n < BENT {
            current.broken::<T>(&bytes).map_err(|why| format!("value {n}, {}: {why}", made.json()))?;
        }
    }
    for (file, text) in released {
        let old = Version::of(file, text)?;
        for n in 0..SAMPLES {
            let (before, now) = (sample(&old.schema, n), sample(&current.schema, n));
            read_as::<T>(&old, &current, &before.avro())
                .map_err(|why| format!("{}, written as {file}, can't be read as the schema is now: {why}", before.json()))?;
            value_as(&current, &old, &now.avro())
                .map_err(|why| format!("{}, written as the schema is now, can't be read as {file}: {why}", now.json()))?;
        }
    }
    Ok(())
}

/// A value made up from a schema.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Made {
    /// In Avro's binary encoding, without a frame around it.
    pub avro: Vec<u8>,
    /// As the type that is generated from the schema is written as JSON.
    pub json: serde_json::Value,
}

/// Values made up from a schema, always the same ones: the least, the most, and 30 between.
///
/// # Errors
/// When the text is no schema that can be used.
///
/// ```
/// let schema = r#"{"type": "record", "name": "Paid", "fields": [{"name": "paid", "type": "boolean"}]}"#;
/// let made = farandole_build::testing::samples(schema)?;
/// assert_eq!((made[0].avro.as_slice(), &made[0].json), (&[0][..], &serde_json::json!({"paid": false})));
/// # Ok::<(), farandole_build::Error>(())
/// ```
pub fn samples(schema: &str) -> Result<Vec<Made>, crate::Error> {
    let schema = parse(schema).map_err(crate::Error::one)?;
    let made = (0..SAMPLES).map(|n| sample(&schema, n));
    Ok(made.map(|made| Made { avro: made.avro(), json: made.json() }).collect())
}

/// A schema as this crate and as apache-avro understand it.
struct Version {
    schema: Schema,
    avro: Avro,
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Version {
    fn of(file: &str, text: &str) -> Result<Self, String> {
        apache_avro::util::max_allocation_bytes(MOST_ALLOCATED);
        let schema = parse(text).map_err(|why| format!("{file}: {why}"))?;
        let avro = Avro::parse_str(text).map_err(|why| format!("{file}: {why}"))?;
        Ok(Self { schema, avro })
    }

    fn straight<T: DeserializeOwned>(&self, mut bytes: &[u8], readable: bool) -> Result<T, String> {
        let reader = GenericDatumReader::builder(&self.avro).human_readable(readable).build().map_err(words)?;
        let value = reader.read_deser(&mut bytes).map_err(words)?;
        if bytes.is_empty() { Ok(value) } else { Err(format!("{} bytes are left", bytes.len())) }
    }

    fn written<T: Serialize>(&self, value: &T, readable: bool) -> Result<Vec<u8>, String> {
        let writer = GenericDatumWriter::builder(&self.avro).human_readable(readable).build().map_err(words)?;
        writer.write_ser_to_vec(value).map_err(words)
    }

    /// Each way of writing and reading gives `bytes`, and the value of them.
    fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(&self, made: &Sample, bytes: &[u8]) -> Result<(), String> {
        let value: T = self.straight(bytes, false).map_err(|why| format!("reading it: {why}"))?;
        // A UUID of 16 bytes is text for people, which Avro's 16 bytes can't be.
        let readables: &[bool] = if self.has_uuid_bytes() { &[false] } else { &[false, true] };
        for readable in readables {
            if self.straight::<T>(bytes, *readable)? != value {
                return Err("it depends on apache-avro's `human_readable`".to_owned());
            }
            let written = self.written(&value, *readable).map_err(|why| format!("writing it: {why}"))?;
            if written != bytes {
                return Err(format!("it is written as {written:02x?}, not as {bytes:02x?}"));
            }
        }
        let generic = GenericDatumReader::builder(&self.avro).build().map_err(words)?.read_value(&mut &*bytes).map_err(words)?;
        let mut rewritten = Vec::new();
        GenericDatumWriter::builder(&self.avro)
            .build()
            .map_err(words)?
            .write_value_ref(&mut rewritten, &generic)
            .map_err(words)?;
        // Its maps are in no order.
        if rewritten.len() != bytes.len() || read_as::<T>(self, self, &rewritten)? != value {
            return Err(format!("apache-avro writes its `Value` as {rewritten:02x?}, not as {bytes:02x?}"));
        }
        let through_value: T = from_value(&generic).map_err(|why| format!("through apache-avro's `Value`: {why}"))?;
        let resolved: T = read_as(self, self, bytes).map_err(|why| format!("through resolution: {why}"))?;
        let json: T = serde_json::from_value(made.json()).map_err(|why| format!("from JSON: {why}"))?;
        for (way, other) in [("apache-avro's `Value`", through_value), ("resolution", resolved), ("JSON", json)] {
            if other != value {
                return Err(format!("through {way} it becomes {other:?}, not {value:?}"));
            }
        }
        match serde_json::to_value(&value).map_err(words)? {
            json if json == made.json() => Ok(()),
            json => Err(format!("as JSON it is {json}")),
        }
    }

    /// Bytes that are no value end in an error, or in another value, but in nothing worse.
    fn broken<T: Serialize + DeserializeOwned + Debug>(&self, bytes: &[u8]) -> Result<(), String> {
        let forgiven = ends_nullable(&self.schema, &self.schema.root);
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            // apache-avro takes the end of the bytes for the null of a union.
            let reads = [self.straight::<T>(cut, false).is_ok(), !forgiven && read_as::<T>(self, self, cut).is_ok()];
            if reads.contains(&true) {
                return Err(format!("cut off after {end} of {} bytes it is still read", bytes.len()));
            }
        }
        let mut random = Random(bytes.len() as u64);
        for _ in 0..BENDS {
            let mut bent = bytes.to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(bent.len() as u64 + 1) as usize;
                match random.below(3) {
                    // A length beyond all bounds: 2^62, and as a block's negative count 1 - 2^62.
                    0 => drop(bent.splice(at..at, [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01])),
                    1 => drop(bent.splice(at..at, [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x00])),
                    _ => bent.get_mut(at).into_iter().for_each(|byte| *byte = random.next() as u8),
                }
            }
            let _ = (self.straight::<T>(&bent, false), read_as::<T>(self, self, &bent));
        }
        Ok(())
    }

    fn has_uuid_bytes(&self) -> bool {
        let is = |body: &Body| matches!(body, Body::Fixed { logical: Some(logical), .. } if logical == "uuid");
        self.schema.named.values().any(|definition| is(&definition.body))
    }
}

/// What `writer` wrote, as `reader` has it.
fn value_as(writer: &Version, reader: &Version, mut bytes: &[u8]) -> Result<apache_avro::types::Value, String> {
    let resolving = GenericDatumReader::builder(&writer.avro).reader_schema(&reader.avro).build().map_err(words)?;
    resolving.read_value(&mut bytes).map_err(words)
}

fn read_as<T: DeserializeOwned>(writer: &Version, reader: &Version, bytes: &[u8]) -> Result<T, String> {
    from_value(&value_as(writer, reader, bytes)?).map_err(words)
}

fn ends_nullable(schema: &Schema, ty: &Type) -> bool {
    match ty {
        Type::Union(branches) => branches.contains(&Type::NULL) || branches.iter().any(|branch| ends_nullable(schema, branch)),
        Type::Named(name) => match schema.named.get(name).map(|definition| &definition.body) {
            Some(Body::Record(fields)) => {
                let last = fields.iter().rfind(|field| !crate::schema::takes_no_bytes(&field.ty, &schema.named));
                last.is_some_and(|last| ends_nullable(schema, &last.ty))
            }
            _ => false,
        },
        _ => false,
    }
}
