//! What the world holds.

use farandole_outbox::chain::Place;

use crate::explore::guards;
use crate::heal::topic::{Consumer, Event, Record};

guards! {
    /// Nothing is decided in a database that isn't the one that was compared (`relay/history.rs`).
    holds,
    /// Nobody publishes where topic and database have parted (`relay/continuity.rs`).
    continuity,
    /// Inputs that the topic's events name as their causes are passed over (`heal/fold.rs`).
    causes,
    /// Records that are rows of the database are known by their ids, and neither folded nor published again (`heal/rows.rs`).
    ids,
    /// A heal that was broken off has left its mark, and nobody starts (`heal/act.rs`, `relay/log.rs`).
    mark,
    /// What is folded and the heads are one transaction (`heal/act.rs`, `batch`).
    one_transaction,
    /// A heal opens a new lineage (`heal/survey.rs`).
    new_lineage,
    /// No lineage is given twice, not even one whose database was set back before any of its records had landed: it is the time
    /// (`heal/survey.rs`).
    fresh_lineage,
    /// Not the kit's but assumed: records that the life before had sent land before a process starts on the restored database, or behind the
    /// first record that follows a heal.
    settled,
}

/// How often the database is set back to the one backup, and how often a process ends and a heal is broken off by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    pub restores: u8,
    pub ends: u8,
    pub breaks: u8,
    /// What has to happen in it.
    pub happens: &'static [&'static str],
}

/// One restore, with crashes.
pub const CRASHES: Scene =
    Scene { restores: 1, ends: 1, breaks: 1, happens: &[FOLDED, KNOWN, STRUCK, GHOST, AGAIN, CHANGED, IN_TIME] };
/// Two, to a backup that knows nothing of the first heal.
pub const TWICE: Scene = Scene { restores: 2, ends: 0, breaks: 0, happens: &[FOLDED, KNOWN, STRUCK, GHOST, CHANGED, IN_TIME] };

/// Inputs that come.
pub const INPUTS: usize = 3;

/// The relay's state, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relay {
    pub lineage: i64,
    pub next: i64,
    pub head: Option<(Place, Event)>,
    pub in_flight: Vec<Event>,
    pub healing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Db {
    /// Inputs that the position is behind, and those beyond that are noted as applied.
    pub position: usize,
    pub applied: Vec<usize>,
    pub state: Vec<Event>,
    pub unsent: Vec<Event>,
    pub relay: Relay,
    /// The relay's newest step: no two are alike in all lives.
    pub step: u8,
}

/// A process of the service: relay and deciders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    /// The step that it saw last.
    pub step: u8,
    /// Of the batch in flight, what was sent, and what of this hasn't landed.
    pub sent: usize,
    pub flying: Vec<Record>,
}

/// A heal under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Heal {
    /// What the survey found: the topic's length, and the chain's last record.
    pub length: usize,
    pub end: Option<(Place, Event)>,
    pub is_marked: bool,
}

/// Database, topic, and who is at them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub db: Db,
    pub backup: Option<Db>,
    pub topic: Vec<Record>,
    pub process: Option<Process>,
    /// What the life before had sent, or goes on sending.
    pub late: Vec<Record>,
    /// A process of the life before goes on deciding, if nothing keeps it from it.
    pub old: bool,
    pub heal: Option<Heal>,
    pub steps: u8,
    pub events: u8,
    /// The database was set back, and since then: a process has started, a heal has ended, and behind that a record has landed.
    pub restored: bool,
    pub started: bool,
    pub healed: bool,
    pub landed: bool,
    pub restores: u8,
    pub ends: u8,
    pub breaks: u8,
    /// The last lineage that was given.
    pub given: i64,
}

pub const FOLDED: &str = "a record that the database lacked was folded";
pub const KNOWN: &str = "a record was a row of the database";
pub const STRUCK: &str = "an input that was applied came again and was passed over";
pub const GHOST: &str = "a record of the life before landed behind the new lineage, and was dropped";
pub const AGAIN: &str = "a heal that was broken off was run again";
pub const CHANGED: &str = "a record landed behind the survey of a heal";
pub const IN_TIME: &str = "a record of the life before landed and was folded";

impl World {
    pub fn consumer(&self) -> Consumer {
        let mut consumer = Consumer::default();
        consumer.read_all(&self.topic);
        consumer
    }

    pub fn is_quiet(&self) -> bool {
        let whole = self.process.as_ref().is_some_and(|process| process.flying.is_empty() && process.step == self.db.step);
        whole && self.db.unsent.is_empty()
    }
}
