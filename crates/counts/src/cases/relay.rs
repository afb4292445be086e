//! A row of the outbox to a record for Kafka.

use std::collections::BTreeMap;
use std::hint::black_box;

use anyhow::Context as _;
use farandole::relay::headers::Writer;
use farandole::relay::numbers::Numbers;
use farandole::relay::state::State;
use farandole::{Codec, Message as _};
use orders::Event;
use rdkafka::producer::BaseRecord;

use crate::case::{Case, EVENTS};
use crate::sample::{Stored, order, order_id};

/// As the relay's `publish` does it, up to where it hands the record to the client. The record ends here, with its headers; there
/// the client takes them over.
pub fn frame() -> anyhow::Result<Case> {
    let codec = Codec::offline(Event::TYPES);
    let stored = |number: u64| -> anyhow::Result<Stored> {
        let event = Event::from(order(number));
        let (id, aggregate, cause) =
            (order_id(number + EVENTS), order_id(number).to_string(), format!("command/{}", order_id(number)));
        let (kind, payload) = (event.name(), event.encode(&codec)?);
        Ok(Stored { seq: i64::try_from(number)?, topic: "orders", id, aggregate, kind, payload, cause })
    };
    let stored: Vec<Stored> = (1..=EVENTS).map(stored).collect::<Result<_, _>>()?;
    let mut state = State::first("7".to_owned());
    state.partitions = BTreeMap::from([("orders".to_owned(), 6)]);
    let (mut numbers, mut headers) = (Numbers::of(&state), Writer::new("/farandole/orders"));
    let mut all = move || -> anyhow::Result<()> {
        for stored in &stored {
            let row = black_box(stored).row();
            let given = numbers.peek(row.topic, row.aggregate.as_bytes(), row.id).context("a topic that isn't known")?;
            let headers = headers.write(&row, given.head.into(), given.previous.map(Into::into));
            let record = BaseRecord::<_, _, ()>::to(row.topic).partition(given.partition).key(row.aggregate);
            black_box(record.payload(row.payload).headers(headers));
            numbers.give(&given, row.seq);
        }
        Ok(())
    };
    all()?;
    Ok(Case { events: EVENTS, work: Box::new(all) })
}
