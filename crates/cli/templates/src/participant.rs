//! What the service decides: a pure function. Time and new ids come with the input, rows are loaded and stored around it.

use std::time::Duration;

use farandole::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::events::{{crate}}::{ItemAdded, ItemExpired};

farandole::messages! {
    /// What it publishes.
    pub enum Event { ItemAdded, ItemExpired }
}

farandole::deadlines! {
    /// When it looks again.
    pub enum Deadline {
        /// An item's time is over.
        Expire,
    }
}

farandole::tables! {
    /// What it stores.
    pub struct Tables {
        /// One item.
        items: Item in "items" { item_id: Uuid, label: String, added_at: i64, expires_at: i64, expired: bool }
    }
}

/// What callers may ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Take this item.
    Add {
        /// What it is.
        label: String,
    },
}

/// The participant.
#[derive(Debug, Clone, Copy)]
pub struct Items {
    /// How long an item lasts.
    pub expires_after: Duration,
}

impl Participant for Items {
    /// The service's name, and its topic's. Consumers know its events by it, so it stays.
    const NAME: &'static str = "{{name}}";
    type Id = Uuid;
    type Event = Event;
    // To follow other services' topics: `farandole::messages! { pub enum Heard { OrderPlaced } }`, with schemas from their owners.
    type Heard = Never;
    type Command = Command;
    type Deadline = Deadline;
    type Effect = Never;
    type Tables = Tables;

    fn decide(
        &self,
        tables: &Tables,
        &item_id: &Uuid,
        input: &Input<Self>,
    ) -> Result<Decision<Event>, Refusal> {
        Ok(match (&input.body, tables.items.get(&item_id)) {
            (Body::Command(Command::Add { label }), None) => {
                if label.trim().is_empty() {
                    let reason = "must say what the item is".to_owned();
                    return Err(Problem::invalid(vec![FieldError {
                        field: "label".to_owned(),
                        reason,
                    }])
                    .into());
                }
                let (added_at, expires_at) = (
                    input.at.micros(),
                    input.at.plus(self.expires_after).micros(),
                );
                Decision::event(ItemAdded {
                    item_id,
                    label: label.clone(),
                    added_at,
                    expires_at,
                })
            }
            (Body::Deadline(Deadline::Expire), Some(item)) if !item.expired => {
                Decision::event(ItemExpired {
                    item_id,
                    expired_at: input.at.micros(),
                })
            }
            // Late or repeated: nothing is left to do.
            _ => Decision::nothing(),
        })
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        match event {
            Event::ItemAdded(e) => tables.items.put(Item {
                item_id: e.item_id,
                label: e.label.clone(),
                added_at: e.added_at,
                expires_at: e.expires_at,
                expired: false,
            }),
            Event::ItemExpired(e) => {
                if let Some(item) = tables.items.get_mut(&e.item_id) {
                    item.expired = true;
                }
            }
        }
    }

    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::ItemAdded(e) => vec![Task::deadline(
                Deadline::Expire,
                Timestamp::from_micros(e.expires_at),
            )],
            Event::ItemExpired(_) => Vec::new(),
        }
    }

    fn answer(&self, events: &[Event]) -> Answer {
        match events.first() {
            Some(Event::ItemAdded(e)) => {
                Answer::created(json!({ "item_id": e.item_id })).at(format!("/items/{}", e.item_id))
            }
            _ => Answer::empty(),
        }
    }
}
