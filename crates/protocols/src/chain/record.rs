//! A partition's records, and the kit's [`Position`], as parts of a world.

use std::hash::{Hash, Hasher};

use farandole::intake::Position;
use farandole_outbox::Record;
use farandole_outbox::chain::{Head, Place};
use farandole_outbox::record::Header;

/// Sources that publish here.
pub const SOURCES: usize = 2;

/// What a record is, which its consumer can't see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// An event of its source, by its place in the history.
    Event(usize),
    /// Of a life that ended with a heal.
    Ghost,
    /// Somebody else's, in one of several ways.
    Forged(u8),
}

/// A record of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    pub source: usize,
    pub place: Place,
    pub previous: Option<Place>,
    pub what: What,
}

impl Entry {
    /// Its source, or the same for all.
    pub fn name(&self, by_source: bool) -> &'static str {
        if by_source && self.source == 1 { "/farandole/s1" } else { "/farandole/s0" }
    }

    /// The head that it would be.
    pub fn head(&self) -> Head {
        Head { place: self.place, previous: self.previous }
    }

    /// As it is read.
    pub fn record(&self, offset: usize, by_source: bool) -> Record {
        let previous = self.previous.map_or_else(|| "-".to_owned(), |place| place.to_string());
        let Place { lineage, number } = self.place;
        let link = format!("l={lineage};n={number};p={previous};c=test;k=00000000-0000-0000-0000-000000000000;i=1/1");
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        let headers = vec![header("ce_source", self.name(by_source)), header("farandole", &link)];
        Record { topic: "s0".to_owned(), offset: offset as i64, headers, ..Record::default() }
    }
}

/// A position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stands(pub Position);

impl Hash for Stands {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Position { next_offset, heads, midway_of, .. } = &self.0;
        (next_offset, midway_of).hash(hasher);
        heads.iter().for_each(|(source, head)| (source, head.place, head.previous).hash(hasher));
    }
}

impl Stands {
    /// Moves behind a record: `Position::pass`.
    pub fn pass(&mut self, at: usize, head: Option<(&str, Head)>) {
        self.0.next_offset = at as i64 + 1;
        if let Some((source, head)) = head {
            self.0.midway_of.remove(source);
            self.0.heads.insert(source.to_owned(), head);
        }
    }

    /// Goes on at a record that breaks its chain: `Stretch::resume`.
    pub fn go_on_at(&mut self, at: usize, source: &str) {
        self.0.next_offset = at as i64;
        self.0.heads.remove(source);
        self.0.midway_of.insert(source.to_owned());
    }
}
