//! Bytes: an order's are those of the first release, and lengths are believed within bounds only.

use apache_avro::reader::datum::GenericDatumReader;
use schemas::orders::OrderPlaced;

use crate::codec::{direct, encode, parse};
use crate::sample::order_placed;

#[test]
fn the_list_has_every_event() {
    assert!(schemas::all().iter().any(|(_, name, _)| *name == OrderPlaced::NAME));
    for (topic, name, schema) in schemas::all() {
        assert!(name.starts_with(&format!("farandole.{topic}.")), "{name} in {topic}");
        assert!(schema.contains(&format!("\"namespace\": \"farandole.{topic}\"")), "{name}'s text is the file's");
    }
    assert_eq!(OrderPlaced::TOPIC, "orders");
}

/// Written down once: whoever changes them breaks every reader of the log.
#[test]
fn an_order_is_the_bytes_that_it_always_was() {
    let hex = "4830313933356432652d376330302d373030302d383030302d30303030303030303030303106432d3106455552c413040654454104e8070c4355502dc3\
               bc02f403000a746f6b5f318080ebf697e9930680a492d19ee99306";
    let bytes = encode(&parse(OrderPlaced::SCHEMA), &order_placed());
    assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex);
}

/// A length is believed up to `max_allocation_bytes` only: by default half a gigabyte, so a service must lower it.
#[test]
fn a_huge_length_is_an_error() {
    // 2^40 as a zigzag varint.
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    for (_, name, text) in schemas::all() {
        let schema = parse(text);
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let why = reader.read_value(&mut &huge[..]).expect_err("the first field is a text").into_details();
        assert!(why.to_string().contains("Unable to allocate"), "{name}: {why:?}");
    }
    let why = direct::<OrderPlaced>(&parse(OrderPlaced::SCHEMA), &huge).expect_err("its first field is a text").into_details();
    assert!(why.to_string().contains("Unable to allocate"), "{why:?}");
}
