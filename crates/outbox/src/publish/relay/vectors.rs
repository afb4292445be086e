//! What a producer writes, as `docs/wire.md` has it: the vectors for programs in other languages, through the relay's own numbers and headers.

use std::collections::BTreeMap;

use rdkafka::message::Headers as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::publish::relay::headers::Writer;
use crate::publish::relay::numbers::Numbers;
use crate::publish::relay::read::RowRef;
use crate::publish::relay::state::{Head, State};
use crate::wire::chain::Place;
use crate::wire::vectors::{cases, place, read};

#[test]
fn events_become_the_documents_headers() {
    let file = read("written");
    let mut writer = Writer::new(file["source"].as_str().unwrap());
    for case in cases(&file, "events", 5) {
        let event = &case["event"];
        let text = |name: &str| event[name].as_str().unwrap();
        let number = |at: usize| i16::try_from(event["of"][at].as_i64().unwrap()).unwrap();
        // In the outbox a format that isn't Avro is one of the row's headers.
        let extra = json!({ "content-type": text("content_type") }).to_string();
        let row = RowRef {
            seq: 1,
            topic: "orders",
            id: text("id").parse().unwrap(),
            aggregate: text("subject"),
            kind: text("type"),
            payload: b"",
            time: Timestamp::from_micros(event["time"].as_i64().unwrap()),
            cause: text("cause"),
            correlation: text("correlation").parse().unwrap(),
            i: number(0),
            n: number(1),
            traceparent: event["traceparent"].as_str(),
            command: None,
            headers: (text("content_type") != "application/avro").then_some(&*extra),
        };
        let written = writer.write(&row, place(&case["place"]).unwrap(), place(&case["previous"]));
        let written: Vec<Value> =
            written.iter().map(|h| json!([h.key, String::from_utf8(h.value.unwrap().to_vec()).unwrap()])).collect();
        assert_eq!(Value::from(written), case["headers"], "{case}");
    }
}

#[test]
fn rows_get_the_documents_numbers() {
    for case in cases(&read("numbers"), "outboxes", 2) {
        let head = |at: Place| Head { lineage: at.lineage, number: at.number, id: Uuid::nil() };
        let heads = case["heads"].as_object().unwrap().iter();
        let heads: BTreeMap<i32, Head> = heads.map(|(at, said)| (at.parse().unwrap(), head(place(said).unwrap()))).collect();
        let mut state = State::first("7".to_owned());
        (state.lineage, state.next) = (case["lineage"].as_i64().unwrap(), case["next"].as_i64().unwrap());
        state.partitions.insert("orders".to_owned(), i32::try_from(case["partitions"].as_i64().unwrap()).unwrap());
        state.heads.insert("orders".to_owned(), heads);
        let mut numbers = Numbers::of(&state);
        for (seq, row) in (1..).zip(cases(case, "rows", 4)) {
            let given = numbers.peek("orders", row["key"].as_str().unwrap().as_bytes(), Uuid::nil()).unwrap();
            let of = |head: Head| json!([head.lineage, head.number]);
            let said = json!({ "key": row["key"], "partition": given.partition, "place": of(given.head), "previous": given.previous.map(of) });
            assert_eq!(said, *row);
            numbers.give(&given, seq);
        }
    }
}
