//! The two ways to read that a service has: straight into the type when the writer's schema is our own, through
//! `Value` and resolution when it is another version.

use apache_avro::{
    AvroResult, Schema, from_value, reader::datum::GenericDatumReader, util::max_allocation_bytes,
    writer::datum::GenericDatumWriter,
};
use serde::{Serialize, de::DeserializeOwned};

/// What a length in the bytes may claim. Set once a process; every test asks for the same.
pub const MOST_ALLOCATED: usize = 1 << 20;

pub fn parse(schema: &str) -> Schema {
    max_allocation_bytes(MOST_ALLOCATED);
    Schema::parse_str(schema).unwrap()
}

pub fn encode<T: Serialize>(schema: &Schema, value: &T) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_ser_to_vec(value).unwrap()
}

/// Writer's and reader's schema are the same.
pub fn direct<T: DeserializeOwned>(schema: &Schema, mut bytes: &[u8]) -> AvroResult<T> {
    GenericDatumReader::builder(schema).build()?.read_deser(&mut bytes)
}

/// Writer's and reader's schema differ. Never `direct` here: it has no defaults, and even a field that the type
/// doesn't have fails there when it is an enum.
pub fn resolved<T: DeserializeOwned>(writer: &Schema, reader: &Schema, mut bytes: &[u8]) -> AvroResult<T> {
    let value = GenericDatumReader::builder(writer).reader_schema(reader).build()?.read_value(&mut bytes)?;
    from_value(&value)
}
