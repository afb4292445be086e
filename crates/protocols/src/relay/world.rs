//! What the world holds.

use farandole_outbox::chain;
use farandole_outbox::chain::{Place, Verdict, judge};
use farandole_outbox::publish::relay::state::Snapshot;

use crate::explore::guards;
use crate::relay::step::Step;

guards! {
    /// Rows of a key are appended under its lock (`publish/outbox.rs`).
    key_lock,
    /// What is unsent includes rows of transactions that were open in A: xip beside xmax (`read.rs`, `HEAD`).
    open_in_a,
    /// A batch goes out in seq order, not in that of transactions (`read.rs`, `order by seq`).
    seq_order,
    /// The step comes before the first record (`term.rs`, step 2).
    step_first,
    /// The step is flushed (`log.rs`, `SETTINGS`).
    flush,
    /// A step is taken only as the next of the one that was read (`step.rs`, the comparison).
    fence,
    /// Every acknowledgement is waited for (`term.rs`, step 4).
    acknowledged,
    /// A := B only behind the last page (`term.rs`, `publish_pages`).
    whole_batch,
    /// A producer keeps its order, and nothing is sent again beside it (`produce.rs`).
    in_order,
    /// A fresh producer's first record in a partition goes alone (`publish.rs`).
    first_alone,
}

/// A world: each shows something else, and together they stay small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    /// Rows that are held at once, and rows of a page.
    pub rows: (usize, usize),
    /// Keys of each transaction's rows: `a`, `b` and `c` share a partition, `d` is in the other.
    pub txs: &'static [&'static [&'static str]],
    /// Relays that end at any moment.
    pub kills: u8,
    /// Relays that take over from one that goes on.
    pub overtakes: u8,
    /// Ends of the database server.
    pub crashes: u8,
    /// What has to happen in it.
    pub happens: &'static [&'static str],
}

/// Transactions that commit late, in whole batches and in pages.
pub const LATE_COMMITS: Scene = Scene {
    rows: (1, 1),
    txs: &[&["a"], &["a", "d"], &["b"]],
    kills: 0,
    overtakes: 0,
    crashes: 0,
    happens: &[LATE_COMMIT, PAGES],
};

/// A relay that is killed, one that takes over, and what the ones before have sent.
pub const ZOMBIES: Scene =
    Scene { rows: (3, 1), txs: &[&["a", "b"], &["c"]], kills: 1, overtakes: 1, crashes: 0, happens: &[LATE, FENCED, AGAIN] };

/// The same in pages.
pub const PAGED_ZOMBIES: Scene = Scene { rows: (1, 1), happens: &[LATE, FENCED, AGAIN, PAGES], ..ZOMBIES };

/// A server that loses what wasn't flushed.
pub const CRASHES: Scene =
    Scene { rows: (1, 1), txs: &[&["a"], &["b"]], kills: 0, overtakes: 1, crashes: 1, happens: &[LOST_COMMIT, AGAIN, LATE] };

pub const TOPIC: &str = "t";
pub const PARTITIONS: usize = 2;

/// The first transaction number that PostgreSQL gives.
pub const FIRST_XID: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tx {
    Waiting,
    /// Its number, and how many of its rows are appended.
    Open(u64, usize),
    Committed(u64),
    /// Rolled back, or lost with the server.
    Gone,
}

/// A row of the outbox; its seq is its place, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub tx: usize,
    /// Which of the transaction's rows.
    pub nth: usize,
    pub xid: u64,
}

impl Row {
    pub fn key(self, scene: &Scene) -> &'static str {
        scene.txs[self.tx][self.nth]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// Index of its row.
    pub row: usize,
    pub place: Place,
    pub previous: Option<Place>,
}

/// What was sent and hasn't landed, by partition.
pub type Sent = [Vec<Record>; PARTITIONS];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Doing {
    Nothing,
    /// Read, and no step taken: B and the rows, or none where they are too many.
    Read(Snap, Option<Vec<usize>>),
    /// Rows, the next of them, and whether they are a page.
    Publishing(Vec<usize>, usize, bool),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relay {
    /// The number of its last step.
    pub step: u64,
    /// As of the last row acknowledged, and as of the last handed over.
    pub state: Step,
    pub handed: Step,
    pub doing: Doing,
    pub unnoted: bool,
    pub sent: Sent,
    /// Partitions in which this producer's first record was acknowledged.
    pub warm: [bool; PARTITIONS],
}

/// What wasn't flushed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    Commit(usize),
    Step(u64, Box<Step>),
}

/// A consumer of one partition: the topic is kept as what it makes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Consumer {
    pub head: Option<(Place, Option<Place>)>,
    pub applied: Vec<usize>,
    pub stopped: bool,
}

/// Database, relays, and topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub txs: Vec<Tx>,
    pub rows: Vec<Row>,
    pub next_xid: u64,
    /// The highest transaction that has ended: a snapshot's xmax is the one after it.
    pub completed: u64,
    pub commits: Vec<usize>,
    pub log: Vec<Entry>,
    pub durable: (u64, Step),
    pub relays: [Option<Relay>; 2],
    /// What dead producers sent.
    pub late: Vec<Sent>,
    pub consumers: [Consumer; PARTITIONS],
    /// A step was taken that doesn't follow the newest.
    pub forked: bool,
    pub kills: u8,
    pub overtakes: u8,
    pub crashes: u8,
}

pub const LATE: &str = "a zombie's late record landed, and was dropped";
pub const FENCED: &str = "a zombie's step was refused";
pub const AGAIN: &str = "a batch in flight was published again";
pub const LATE_COMMIT: &str = "a transaction that was open in A went out later";
pub const LOST_COMMIT: &str = "the server lost a commit";
pub const PAGES: &str = "a batch went out in pages";

/// A snapshot's text, as a state has it.
pub type Snap = String;

pub fn is_visible(snapshot: &Snapshot, xid: u64) -> bool {
    xid < snapshot.xmax().parse().unwrap_or(0) && !open_in(snapshot, xid)
}

pub fn open_in(snapshot: &Snapshot, xid: u64) -> bool {
    snapshot.xip().trim_matches(['{', '}']).split(',').any(|open| open.parse() == Ok(xid))
}

impl World {
    pub fn is_committed(&self, row: usize) -> bool {
        matches!(self.txs[self.rows[row].tx], Tx::Committed(_))
    }

    pub fn newest(&self) -> (u64, &Step) {
        let last = self.log.iter().rev().find_map(|e| if let Entry::Step(n, step) = e { Some((*n, &**step)) } else { None });
        last.unwrap_or((self.durable.0, &self.durable.1))
    }

    /// `pg_current_snapshot()`.
    pub fn snapshot(&self) -> Snap {
        let xmax = self.completed + 1;
        let open = self.txs.iter().filter_map(|tx| if let Tx::Open(xid, _) = tx { Some(*xid) } else { None });
        let mut open: Vec<u64> = open.filter(|xid| *xid < xmax).collect();
        open.sort_unstable();
        let xmin = open.first().copied().unwrap_or(xmax);
        format!("{xmin}:{xmax}:{}", open.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
    }

    /// Ends a relay's term; what it had sent may land late.
    pub fn end(&mut self, relay: usize) {
        if let Some(Relay { sent, .. }) = self.relays[relay].take()
            && sent.iter().any(|sent| !sent.is_empty())
        {
            self.late.push(sent);
            self.late.sort_by_key(|sent| sent.iter().flatten().map(|r| (r.place, r.row)).collect::<Vec<_>>());
        }
    }

    /// A record is in its partition, and the consumer reads it.
    pub fn land(&mut self, partition: usize, Record { row, place, previous }: Record) -> Verdict {
        let consumer = &mut self.consumers[partition];
        let head = consumer.head.map(|(place, previous)| chain::Head { place, previous });
        let verdict = judge(head, place, previous);
        match verdict {
            _ if consumer.stopped => {}
            Verdict::Apply => {
                consumer.head = Some((place, previous));
                consumer.applied.push(row);
            }
            Verdict::Drop => {}
            _ => consumer.stopped = true,
        }
        verdict
    }

    pub fn flush(&mut self) {
        let (step, state) = self.newest();
        (self.durable, self.log) = ((step, state.clone()), Vec::new());
    }
}
