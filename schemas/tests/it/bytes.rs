//! Bytes: the same ones for ever, and an error for the broken ones.

use std::{collections::BTreeSet, fmt::Write, panic::catch_unwind};

use apache_avro::{error::Details, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};
use schemas::orders::OrderPlaced;

use crate::{
    codec::{encode, parse},
    samples::{self, Sample},
};

#[test]
fn every_event_has_a_sample() {
    let sampled: BTreeSet<_> = samples::all().iter().map(|s| s.name).collect();
    let all: BTreeSet<_> = schemas::all().iter().map(|(_, name, _)| *name).collect();
    assert_eq!(sampled, all, "add the new event to tests/it/samples.rs");
    for (topic, name, schema) in schemas::all() {
        assert!(name.starts_with(&format!("farandole.{topic}.")), "{name} in {topic}");
        assert!(schema.contains("\"namespace\": \"farandole."), "{name}'s text is the file's");
    }
}

/// The bytes are committed: whoever changes them breaks every reader of the log.
#[test]
fn bytes_are_the_golden_ones() {
    let mut now = String::new();
    for s in samples::all() {
        assert_eq!((s.direct)(&s.schema, &s.bytes).unwrap(), s.bytes, "{} straight", s.name);
        assert_eq!((s.resolved)(&s.schema, &s.schema, &s.bytes).unwrap(), s.bytes, "{} resolved", s.name);
        let hex = s.bytes.iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
        writeln!(now, "{} {hex}", s.name).unwrap();
    }
    assert!(
        now == include_str!("golden.txt"),
        "the bytes differ from tests/it/golden.txt; if only samples were added, it is now:\n{now}"
    );
}

/// `uuid`'s own serde follows apache-avro's setting for human-readable formats; ours must not.
#[test]
fn a_uuid_is_text_under_either_setting() {
    let schema = parse(OrderPlaced::SCHEMA);
    let placed = samples::order_placed();
    for readable in [false, true] {
        let writer = GenericDatumWriter::builder(&schema).human_readable(readable).build().unwrap();
        let reader = GenericDatumReader::builder(&schema).human_readable(readable).build().unwrap();
        let bytes = writer.write_ser_to_vec(&placed).unwrap();
        assert_eq!(bytes, encode(&schema, &placed));
        assert_eq!(reader.read_deser::<OrderPlaced>(&mut bytes.as_slice()).unwrap(), placed);
    }
}

#[test]
fn a_truncated_event_is_an_error() {
    for s in samples::all() {
        for end in 0..s.bytes.len() {
            for (way, read) in both_ways(&s, &s.bytes[..end]) {
                assert!(read.is_err(), "{} cut at {end} of {} was read {way}", s.name, s.bytes.len());
            }
        }
    }
}

#[test]
fn noise_never_panics() {
    let mut random = Random(7);
    for s in samples::all() {
        for _ in 0..3_000 {
            let noise: Vec<u8> = (0..random.below(120)).map(|_| random.next() as u8).collect();
            let _ = both_ways(&s, &noise);
            let mut bent = s.bytes.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bent.len());
                bent[at] = random.next() as u8;
            }
            let _ = both_ways(&s, &bent);
        }
    }
}

/// A length is believed up to `max_allocation_bytes` only: by default half a gigabyte, so a service must lower it.
#[test]
fn a_huge_length_is_an_error() {
    // 2^40 and 2^62 as zigzag varints; as a negative block count, 1 - 2^62.
    let huge = [
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x40][..],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x00],
    ];
    for s in samples::all() {
        for at in 0..s.bytes.len() {
            for length in huge {
                let bent = [&s.bytes[..at], length, &s.bytes[at..]].concat();
                let _ = both_ways(&s, &bent);
            }
        }
        for (way, read) in both_ways(&s, huge[0]) {
            let why = read.expect_err("the first field is a text").into_details();
            let bounded = matches!(&why, Details::MemoryAllocation { .. }) || format!("{why:?}").contains("MemoryAllocation");
            assert!(bounded, "{} {way}: {why:?}", s.name);
        }
    }
}

/// Why no event should end with a nullable field: apache-avro's `Value` way takes the end of the bytes for null.
#[test]
fn a_cut_nullable_last_field_goes_unnoticed_through_resolution() {
    let nullable = r#"{"type": "record", "name": "E", "fields": [{"name": "n", "type": ["null", "long"], "default": null}]}"#;
    let schema = parse(nullable);
    let reader = GenericDatumReader::builder(&schema).reader_schema(&schema).build().unwrap();
    assert!(reader.read_value(&mut &[][..]).is_ok());
}

/// Both ways to read, each of which must return.
fn both_ways(s: &Sample, bytes: &[u8]) -> [(&'static str, apache_avro::AvroResult<Vec<u8>>); 2] {
    let straight = catch_unwind(|| (s.direct)(&s.schema, bytes));
    let resolved = catch_unwind(|| (s.resolved)(&s.schema, &s.schema, bytes));
    let returned = |way| move |_| panic!("reading {} {way} panicked on {bytes:02x?}", s.name);
    [("straight", straight.unwrap_or_else(returned("straight"))), ("resolved", resolved.unwrap_or_else(returned("resolved")))]
}

/// splitmix64: the same noise in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}
