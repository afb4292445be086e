//! A participant of which each test says what it does, and two whose events it handles.

use farandole::{Body, Decision, IdempotencyKey, Input, Keys, Never, Participant, Refusal, Task, Tasks, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Ask, World};

records! { "one": Said { key: String, about: String } }
records! { "two": Told { key: String, about: String } }
records! { "lab": Did { key: String, what: String } Noted { key: String, what: String } }

/// What a caller says, and about what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Say(pub String);

macro_rules! source {
    ($name:literal $module:ident $type:ident $event:ident) => {
        pub(super) mod $module {
            use super::$event;
            farandole::messages! { pub(crate) enum Event { $event } ends { $event } }
            farandole::tables! { pub(crate) struct Tables { rows: Row in $name { key: String, n: i64 } } }
        }

        #[derive(Debug)]
        pub(super) struct $type;

        impl Participant for $type {
            const NAME: &'static str = $name;
            type Id = String;
            type Event = $module::Event;
            type Heard = Never;
            type Command = Say;
            type Deadline = Never;
            type Effect = Never;
            type Tables = $module::Tables;

            fn decide(&self, _: &$module::Tables, id: &String, input: &Input<Self>) -> Result<Decision<$module::Event>, Refusal> {
                let Body::Command(Say(about)) = &input.body else { return Ok(Decision::nothing()) };
                Ok(Decision::event($event { key: id.clone(), about: about.clone() }))
            }
            fn evolve(&self, tables: &mut $module::Tables, event: &$module::Event) {
                let $module::Event::$event(event) = event;
                let n = tables.rows.get(&event.key).map_or(0, |row| row.n);
                tables.rows.put($module::Row { key: event.key.clone(), n: n + 1 });
            }
        }
    };
}

source! { "one" one One Said }
source! { "two" two Two Told }

pub(super) mod parts {
    use super::{Deserialize, Did, Noted, Said, Serialize, Told, fmt};
    farandole::messages! { pub(crate) enum Event { Did, Noted } ends { Did, Noted } }
    farandole::messages! { pub(crate) enum Heard { Said, Told } }
    farandole::deadlines! { pub(crate) enum Deadline { Late } }
    farandole::effects! { pub(crate) enum Effect -> Out { Charge } }
    farandole::tables! { pub(crate) struct Tables { rows: Row in "lab" { key: String, state: String, n: i64 } } }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Charge(pub String);

    /// An answer, of which no log shows what begins with `secret`.
    #[derive(Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Out(pub String);

    impl fmt::Debug for Out {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if self.0.starts_with("secret") { "***" } else { &self.0 })
        }
    }
}

use std::fmt;

pub(super) use parts::{Charge, Deadline, Effect, Event, Heard, Out, Row, Tables};

/// What a caller wants of the lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Go(pub String);

pub(super) type Decided = Result<Decision<Event>, Refusal>;

/// Decides by functions.
#[derive(Debug)]
pub(super) struct Lab {
    pub decide: fn(&Tables, &str, &Input<Lab>) -> Decided,
    pub evolve: fn(&mut Tables, &Event),
    pub follow: fn(&Event) -> Tasks<Lab>,
    pub touches: fn(&str) -> Keys,
    pub key: fn(&Effect) -> IdempotencyKey,
}

impl Default for Lab {
    /// Does what callers want, and keeps the last and how many.
    fn default() -> Self {
        Self {
            decide: |_, id, input| {
                let Body::Command(Go(what)) = &input.body else { return Ok(Decision::nothing()) };
                Ok(Decision::event(did(id, what)))
            },
            evolve: |tables, event| {
                let (Event::Did(Did { key, what }) | Event::Noted(Noted { key, what })) = event;
                let n = tables.rows.get(key).map_or(0, |row| row.n);
                tables.rows.put(Row { key: key.clone(), state: what.clone(), n: n + 1 });
            },
            follow: |_| Vec::new(),
            touches: |id| Keys::of::<Row>([id.to_owned()]),
            key: |_| IdempotencyKey::EachEvent,
        }
    }
}

impl Participant for Lab {
    const NAME: &'static str = "lab";
    type Id = String;
    type Event = Event;
    type Heard = Heard;
    type Command = Go;
    type Deadline = Deadline;
    type Effect = Effect;
    type Tables = Tables;

    fn aggregate(&self, heard: &Heard) -> Option<String> {
        let (Heard::Said(Said { about, .. }) | Heard::Told(Told { about, .. })) = heard;
        Some(about.clone())
    }
    fn touches(&self, id: &String, _: &Input<Self>) -> Keys {
        (self.touches)(id)
    }
    fn decide(&self, tables: &Tables, id: &String, input: &Input<Self>) -> Decided {
        (self.decide)(tables, id, input)
    }
    fn evolve(&self, tables: &mut Tables, event: &Event) {
        (self.evolve)(tables, event);
    }
    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        (self.follow)(event)
    }
    fn idempotency(&self, effect: &Effect) -> IdempotencyKey {
        (self.key)(effect)
    }
}

pub(super) fn did(key: &str, what: &str) -> Event {
    Did { key: key.to_owned(), what: what.to_owned() }.into()
}

pub(super) fn noted(key: &str, what: &str) -> Event {
    Noted { key: key.to_owned(), what: what.to_owned() }.into()
}

/// What the row of this key says last.
pub(super) fn state<'a>(tables: &'a Tables, key: &str) -> &'a str {
    tables.rows.get(&key.to_owned()).map_or("", |row| &row.state)
}

/// A deadline at this moment, for what has been done.
pub(super) fn at(event: &Event, micros: i64) -> Tasks<Lab> {
    match event {
        Event::Did(_) => vec![Task::deadline(Deadline::Late, Timestamp::from_micros(micros))],
        Event::Noted(_) => Vec::new(),
    }
}

/// The lab alone; the outside world says `ok`.
pub(super) fn world(lab: Lab) -> World {
    World::new("a lab").participant(lab).outside::<Lab>(|_| vec![Out("ok".to_owned())])
}

/// A caller wants this of the lab.
pub(super) fn go(key: &str, what: &'static str) -> Ask<Lab> {
    Ask::once(what, key.to_owned(), move || Go(what.to_owned()))
}

/// A caller says something about this, under that key.
pub(super) fn say<P: Participant<Id = String, Command = Say>>(key: &str, about: &'static str) -> Ask<P> {
    Ask::once("say", key.to_owned(), move || Say(about.to_owned()))
}
