//! Schemas and bytes that nobody should have made.

use std::time::Instant;

use proptest::prelude::*;

use crate::wire::codec::Error;
use crate::wire::codec::schema::intern;
use crate::wire::codec::tests::{NAME, Order1, samples};

#[test]
fn schemas_without_a_bound_are_refused() {
    let record = |fields: &str| format!(r#"{{"type": "record", "name": "a.R", "fields": [{fields}]}}"#);
    let mut laughs = r#"{"name": "f0", "type": {"type": "record", "name": "R0", "fields": []}}"#.to_owned();
    let mut deep = r#"{"name": "f0", "type": {"type": "record", "name": "R0", "fields": []}}"#.to_owned();
    for i in 1..80 {
        let (r, f) = (format!("R{i}"), format!("R{}", i - 1));
        let field = format!(
            r#", {{"name": "f{i}", "type": {{"type": "record", "name": "{r}", "fields": [{{"name": "a", "type": "{f}"}}"#
        );
        deep += &format!("{field}]}}}}");
        laughs += &format!(r#"{field}, {{"name": "b", "type": "{f}"}}]}}}}"#);
    }
    for (schema, reason) in [
        (record(r#"{"name": "next", "type": ["null", "R"]}"#), "contains itself"),
        (record(r#"{"name": "l", "type": {"type": "array", "items": "null"}}"#), "take no bytes"),
        (record(r#"{"name": "x", "type": {"type": "fixed", "name": "F", "size": 9999999999}}"#), "has 9999999999 bytes"),
        (record(&laughs), "nests deeper"),
        (record(&deep), "nests deeper"),
        (r#""string""#.into(), "isn't a record schema"),
        ("nonsense".into(), "JSON"),
    ] {
        let refused = intern(&schema).err().unwrap_or_default();
        assert!(refused.contains(reason), "{refused}");
    }
}

/// Fails when `Datum` reports its end as `UnexpectedEof`: the last field's loss then goes unseen.
#[test]
fn no_truncation_decodes() {
    for (codec, bytes) in samples() {
        for end in 0..bytes.len() {
            let read = codec.decode::<Order1>(NAME, &bytes[..end]);
            assert!(read.is_err(), "{end} of {} bytes gave {read:?}", bytes.len());
        }
    }
}

#[test]
fn huge_lengths_fail_fast() {
    let started = Instant::now();
    for (codec, bytes) in samples() {
        let huge = [&bytes[..5], &[0xfe, 0xff, 0xff, 0x0f]].concat();
        for length in [&[0xfe; 9][..], &[0xff; 10], &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]] {
            let mut bad = bytes[..5].to_vec();
            bad.extend_from_slice(length);
            assert!(codec.decode::<Order1>(NAME, &bad).is_err());
        }
        assert!(codec.decode::<Order1>(NAME, &huge).is_err());
    }
    assert!(started.elapsed().as_secs() < 2);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (codec, good) in samples() {
            let framed = [&good[..5], &bytes].concat();
            let read = codec.decode::<Order1>(NAME, &framed);
            prop_assert!(!matches!(read, Err(Error::Panicked { .. })), "{read:?}");
            let _ = codec.decode::<Order1>(NAME, &bytes);
        }
    }

    #[test]
    fn a_flipped_byte_never_panics(at in 5_usize..120, to in any::<u8>()) {
        for (codec, mut bytes) in samples() {
            let at = at.min(bytes.len() - 1);
            bytes[at] = to;
            let read = codec.decode::<Order1>(NAME, &bytes);
            prop_assert!(!matches!(read, Err(Error::Panicked { .. })), "{read:?}");
        }
    }
}
