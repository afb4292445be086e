//! A value to bytes, and back.

use std::hint::black_box;

use farandole::config::Unknown;
use farandole::engine::{Decoded, read_in_chain};
use farandole::{Body, Codec, Message as _, Participant as _, outbox};
use inventory::Inventory;
use orders::Event;

use crate::case::{Case, EVENTS};
use crate::sample::{Stored, TRACEPARENT, order, order_id};

/// As who has transactions of their own makes an event; the engine does the same for a participant's.
pub fn encode() -> anyhow::Result<Case> {
    let codec = Codec::offline(Event::TYPES);
    let (event, key) = (Event::from(order(1)), order_id(1).to_string());
    let one = move || -> anyhow::Result<()> {
        let event = outbox::NewEvent::of(&codec, "orders", key.as_str(), black_box(&event))?;
        black_box(event.cause("payments/3/4711").correlation(order_id(1)).traceparent(Some(TRACEPARENT)));
        Ok(())
    };
    (0..EVENTS).try_for_each(|_| one())?;
    Ok(Case { events: EVENTS, work: Box::new(move || (0..EVENTS).try_for_each(|_| one())) })
}

/// As the intake reads a record for a participant.
pub fn decode() -> anyhow::Result<Case> {
    let codec = Codec::offline(<Inventory as farandole::Participant>::Heard::TYPES);
    let event = Event::from(order(1));
    let payload = event.encode(&Codec::offline(Event::TYPES))?;
    let (kind, cause) = (event.name(), format!("command/{}", order_id(2)));
    let stored = Stored { seq: 1, topic: "orders", id: order_id(3), aggregate: order_id(1).to_string(), kind, payload, cause };
    let record = stored.record(7);
    let said = read_in_chain(&Inventory, &record, &codec, Unknown::Park);
    let Decoded::Input(work) = &said else { anyhow::bail!("{} can't read it: {said:?}", Inventory::NAME) };
    let Body::Heard(inventory::Heard::OrderPlaced(placed)) = &work.input.body else { anyhow::bail!("it reads as {work:?}") };
    anyhow::ensure!(*placed == order(1), "it reads back as {placed:?}");
    let one = move || {
        black_box(read_in_chain(&Inventory, black_box(&record), &codec, Unknown::Park));
    };
    (0..EVENTS).for_each(|_| one());
    let work = move || {
        (0..EVENTS).for_each(|_| one());
        Ok(())
    };
    Ok(Case { events: EVENTS, work: Box::new(work) })
}
