//! An order's way, event by event.

use farandole::Timestamp;

use crate::facts::Order;
use crate::topics::At;

/// Its events by time.
pub fn events(order: &Order) -> Vec<&At> {
    let mut events: Vec<&At> = order.events.iter().collect();
    events.sort_by_key(|event| event.time);
    events
}

/// In one line.
pub fn line(order: &Order) -> String {
    let kinds: Vec<&str> = events(order).iter().map(|event| event.kind).collect();
    if kinds.is_empty() { "no event".to_owned() } else { kinds.join(", ") }
}

/// In a line an event: time, topic, type, place.
pub fn lines(order: &Order) -> impl Iterator<Item = String> {
    events(order).into_iter().map(|event| {
        let (time, topic) = (Timestamp::from_micros(event.time), event.topic);
        format!("{time}  {topic:<13}  {:<26}  {topic}/{}/{}", event.kind, event.partition, event.offset)
    })
}
