//! The own topic's records, a consumer, and the kit's walk along them.

use uuid::Uuid;

use farandole_outbox::Record as Kit;
use farandole_outbox::chain::{Head, Place, Verdict, judge};
use farandole_outbox::publish::relay::own::Own;
use farandole_outbox::publish::relay::state::{self, State};
use farandole_outbox::publish::relay::walk::Walk;
use farandole_outbox::record::Header;

/// An event; what is decided twice is two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Event {
    pub id: u8,
    /// Which input led to it.
    pub input: usize,
}

impl Event {
    fn uuid(self) -> Uuid {
        Uuid::from_u128(u128::from(self.id))
    }
}

/// A record of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    pub event: Event,
    pub place: Place,
    pub previous: Option<Place>,
}

impl Record {
    /// As it is read.
    pub fn kit(&self) -> Kit {
        let previous = self.previous.map_or_else(|| "-".to_owned(), |place| place.to_string());
        let Place { lineage, number } = self.place;
        let link = format!("l={lineage};n={number};p={previous};c=in/0/{};k={};i=1/1", self.event.input, Uuid::nil());
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        let id = self.event.uuid().to_string();
        let headers = vec![header("ce_source", "/farandole/s"), header("ce_id", &id), header("farandole", &link)];
        Kit { topic: "s".to_owned(), headers, ..Kit::default() }
    }
}

/// A walk towards the head that the relay's state holds.
pub fn walk(head: Option<(Place, Event)>) -> Walk {
    let head = head.map(|(Place { lineage, number }, event)| state::Head { lineage, number, id: event.uuid() });
    Walk::new(Own::of("s", &State::first(String::new())), head, false)
}

/// A consumer that applies the chain rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumer {
    pub head: Option<Head>,
    pub applied: Vec<Event>,
    pub stopped: bool,
}

impl Consumer {
    /// Reads a topic, until it stops.
    pub fn read_all(&mut self, topic: &[Record]) {
        topic.iter().for_each(|record| self.read(record));
    }

    fn read(&mut self, record: &Record) {
        match judge(self.head, record.place, record.previous) {
            _ if self.stopped => {}
            Verdict::Apply => {
                self.head = Some(Head { place: record.place, previous: record.previous });
                self.applied.push(record.event);
            }
            Verdict::Drop => {}
            _ => self.stopped = true,
        }
    }
}
