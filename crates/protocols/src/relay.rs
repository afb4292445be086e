//! The relay's round with its step: two relays of one service over one outbox and one topic.
//!
//! State, numbers, links, partitions and snapshots are the kit's own ([`State`], [`Numbers`], [`Snapshot`]), and a consumer judges by the
//! kit's [`judge`]. The queries are written out here; the lease isn't there at all, since nothing rests on it: a relay may take over at any time,
//! and the one before goes on as a zombie until its next step.

mod step;

use stateright::{Model, Property};

use farandole_outbox::chain::{self, Place, Verdict, judge};
use farandole_outbox::publish::relay::numbers::Numbers;
use farandole_outbox::publish::relay::state::{InFlight, Snapshot};

use crate::explore::{self, Found, Protocol, Seen, guards};
pub use step::Step;

/// The kit's lines that the steps stand for.
pub const STANDS_FOR: &[(&str, &str)] = &[
    ("crates/outbox/src/publish/outbox/rows.rs", "pub async fn append_all"),
    ("crates/outbox/src/publish/relay/log.rs", "step::append_at(&mut log.conn, SCOPE, step, &state)"),
    ("crates/outbox/src/publish/relay/log.rs", "set synchronous_commit = on"),
    ("crates/outbox/src/publish/relay/read.rs", "where xid = any($2::xid8[])"),
    ("crates/outbox/src/publish/relay/read.rs", "order by seq + 0"),
    ("crates/outbox/src/publish/relay/read.rs", "order by seq limit $4"),
    ("crates/outbox/src/publish/relay/term.rs", "self.take(b, first.seq - 1).await?"),
    ("crates/outbox/src/publish/relay/term.rs", "self.out.wait_for(self.out.producer.sent()).await?"),
    ("crates/outbox/src/publish/relay/term.rs", "if rows < self.page_rows()"),
    ("crates/outbox/src/publish/relay/publish.rs", "matches!(lane.warmth, ProducerWarmup::Cold)"),
    ("crates/outbox/src/publish/relay/produce.rs", "a producer that failed once is never used again"),
    ("crates/outbox/src/database/step.rs", "is not distinct from $2"),
];

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

const TOPIC: &str = "t";
const PARTITIONS: usize = 2;
/// The first transaction number that PostgreSQL gives.
const FIRST_XID: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tx {
    Waiting,
    /// Its number, and how many of its rows are appended.
    Open(u64, usize),
    Committed(u64),
    /// Rolled back, or lost with the server.
    Gone,
}

/// A row of the outbox; its seq is its place, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    tx: usize,
    /// Which of the transaction's rows.
    nth: usize,
    xid: u64,
}

impl Row {
    fn key(self, scene: &Scene) -> &'static str {
        scene.txs[self.tx][self.nth]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Record {
    /// Index of its row.
    row: usize,
    place: Place,
    previous: Option<Place>,
}

/// What was sent and hasn't landed, by partition.
type Sent = [Vec<Record>; PARTITIONS];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Doing {
    Nothing,
    /// Read, and no step taken: B and the rows, or none where they are too many.
    Read(Snap, Option<Vec<usize>>),
    /// Rows, the next of them, and whether they are a page.
    Publishing(Vec<usize>, usize, bool),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Relay {
    /// The number of its last step.
    step: u64,
    /// As of the last row acknowledged, and as of the last handed over.
    state: Step,
    handed: Step,
    doing: Doing,
    unnoted: bool,
    sent: Sent,
    /// Partitions in which this producer's first record was acknowledged.
    warm: [bool; PARTITIONS],
}

/// What wasn't flushed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Entry {
    Commit(usize),
    Step(u64, Step),
}

/// A consumer of one partition: the topic is kept as what it makes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Consumer {
    head: Option<(Place, Option<Place>)>,
    applied: Vec<usize>,
    stopped: bool,
}

/// Database, relays, and topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    txs: Vec<Tx>,
    rows: Vec<Row>,
    next_xid: u64,
    /// The highest transaction that has ended: a snapshot's xmax is the one after it.
    completed: u64,
    commits: Vec<usize>,
    log: Vec<Entry>,
    durable: (u64, Step),
    relays: [Option<Relay>; 2],
    /// What dead producers sent.
    late: Vec<Sent>,
    consumers: [Consumer; PARTITIONS],
    /// A step was taken that doesn't follow the newest.
    forked: bool,
    kills: u8,
    overtakes: u8,
    crashes: u8,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A transaction gets its number.
    Begin(usize),
    /// It appends its next row, under the key's lock: `outbox::append_all`.
    Append(usize),
    /// It commits, and is visible; it is durable with the next flush.
    Commit(usize),
    /// It rolls back.
    Abort(usize),
    /// A relay reads the newest step and takes the next: `log::take`. The one before may go on.
    Take(usize),
    /// A relay's next move: `Term::round`.
    Move(usize),
    /// A record of a relay's lands.
    Land(usize, usize, usize),
    /// A broker takes the second record of a producer that it doesn't know, and the first is lost.
    LoseFirst(usize, usize),
    /// A relay ends, with whatever acknowledgements were on their way.
    Kill(usize),
    /// A dead producer's record lands.
    Late(usize, usize),
    /// What a dead producer had sent never lands.
    Never(usize),
    /// The server is killed; of what wasn't flushed so much is left.
    Crash(usize),
}

/// The model.
pub struct Relays {
    guards: Guards,
    scene: Scene,
    seen: Seen,
}

/// Explores one world of it.
pub fn explore(guards: Guards, scene: Scene) -> Found {
    explore::explore(|| Relays { guards, scene, seen: Seen::new(scene.happens) })
}

const LATE: &str = "a zombie's late record landed, and was dropped";
const FENCED: &str = "a zombie's step was refused";
const AGAIN: &str = "a batch in flight was published again";
const LATE_COMMIT: &str = "a transaction that was open in A went out later";
const LOST_COMMIT: &str = "the server lost a commit";
const PAGES: &str = "a batch went out in pages";

/// A snapshot's text, as a state has it.
type Snap = String;

fn is_visible(snapshot: &Snapshot, xid: u64) -> bool {
    xid < snapshot.xmax().parse().unwrap_or(0) && !open_in(snapshot, xid)
}

fn open_in(snapshot: &Snapshot, xid: u64) -> bool {
    snapshot.xip().trim_matches(['{', '}']).split(',').any(|open| open.parse() == Ok(xid))
}

impl World {
    fn is_committed(&self, row: usize) -> bool {
        matches!(self.txs[self.rows[row].tx], Tx::Committed(_))
    }

    fn newest(&self) -> (u64, &Step) {
        let last = self.log.iter().rev().find_map(|e| if let Entry::Step(n, step) = e { Some((*n, step)) } else { None });
        last.unwrap_or((self.durable.0, &self.durable.1))
    }

    /// `pg_current_snapshot()`.
    fn snapshot(&self) -> Snap {
        let xmax = self.completed + 1;
        let open = self.txs.iter().filter_map(|tx| if let Tx::Open(xid, _) = tx { Some(*xid) } else { None });
        let mut open: Vec<u64> = open.filter(|xid| *xid < xmax).collect();
        open.sort_unstable();
        let xmin = open.first().copied().unwrap_or(xmax);
        format!("{xmin}:{xmax}:{}", open.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
    }

    /// Ends a relay's term; what it had sent may land late.
    fn end(&mut self, relay: usize) {
        if let Some(Relay { sent, .. }) = self.relays[relay].take()
            && sent.iter().any(|sent| !sent.is_empty())
        {
            self.late.push(sent);
            self.late.sort_by_key(|sent| sent.iter().flatten().map(|r| (r.place, r.row)).collect::<Vec<_>>());
        }
    }

    /// A record is in its partition, and the consumer reads it.
    fn land(&mut self, partition: usize, Record { row, place, previous }: Record) -> Verdict {
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

    fn flush(&mut self) {
        let (step, state) = self.newest();
        (self.durable, self.log) = ((step, state.clone()), Vec::new());
    }
}

impl Relays {
    /// `step::append_at`: the step after the one that the relay knows, if that is the newest. Ends its term if it isn't.
    fn append(&self, world: &mut World, relay: usize, is_durable: bool) -> bool {
        let Some(Relay { step, state, .. }) = world.relays[relay].as_ref() else { return false };
        let (expected, state, newest) = (*step, state.clone(), world.newest().0);
        if expected != newest {
            if self.guards.fence {
                self.seen.note(FENCED);
                world.end(relay);
                return false;
            }
            world.forked = true;
        }
        world.log.push(Entry::Step(newest + 1, state));
        if is_durable && self.guards.flush {
            world.flush();
        }
        if let Some(relay) = &mut world.relays[relay] {
            relay.step = newest + 1;
        }
        true
    }

    /// Takes the step (A, B): `Term::take`.
    fn take(&self, world: &mut World, at: usize, b: &Snap, after: i64) {
        let batch = InFlight { upto: Snapshot(b.clone()), after };
        if let Some(relay) = &mut world.relays[at] {
            relay.state.0.in_flight = Some(batch);
            relay.handed = relay.state.clone();
            relay.unnoted = false;
        }
        if self.guards.step_first {
            self.append(world, at, true);
        }
    }

    /// `read::unsent`.
    fn unsent(&self, world: &World, a: &Snapshot) -> Vec<usize> {
        let since: u64 = a.xmax().parse().unwrap_or(0);
        let is_unsent = |xid: u64| xid >= since || self.guards.open_in_a && open_in(a, xid);
        let mut rows: Vec<usize> =
            (0..world.rows.len()).filter(|row| world.is_committed(*row) && is_unsent(world.rows[*row].xid)).collect();
        if rows.iter().any(|row| open_in(a, world.rows[*row].xid)) {
            self.seen.note(LATE_COMMIT);
        }
        self.sort(world, &mut rows);
        rows
    }

    /// `read::page`.
    fn page(&self, world: &World, a: &Snapshot, batch: &InFlight) -> Vec<usize> {
        let is_in = |row: &usize| {
            let xid = world.rows[*row].xid;
            world.is_committed(*row) && !is_visible(a, xid) && is_visible(&batch.upto, xid)
        };
        let mut rows: Vec<usize> = (0..world.rows.len()).filter(is_in).collect();
        self.sort(world, &mut rows);
        let after = rows.iter().position(|row| *row as i64 + 1 == batch.after).map_or(0, |at| at + 1);
        rows.into_iter().skip(after).take(self.scene.rows.1).collect()
    }

    fn sort(&self, world: &World, rows: &mut [usize]) {
        if !self.guards.seq_order {
            rows.sort_by_key(|row| (world.rows[*row].xid, *row));
        }
    }

    /// One move of a round.
    fn go(&self, world: &mut World, at: usize) -> Option<()> {
        let newest = world.newest().0;
        let relay = world.relays[at].clone()?;
        match relay.doing {
            Doing::Nothing => match &relay.state.0.in_flight {
                Some(batch) => {
                    let rows = self.page(world, &relay.state.0.acked, batch);
                    self.seen.note(PAGES);
                    world.relays[at].as_mut()?.doing = Doing::Publishing(rows, 0, true);
                }
                None => {
                    let rows = self.unsent(world, &relay.state.0.acked);
                    if rows.is_empty() {
                        // A note when there is nothing more to do; and a lease is renewed, by which a zombie notices.
                        if !relay.unnoted && relay.step == newest {
                            return None;
                        }
                        if self.append(world, at, !relay.unnoted) {
                            world.relays[at].as_mut()?.unnoted = false;
                        }
                    } else {
                        let b = world.snapshot();
                        world.relays[at].as_mut()?.doing = Doing::Read(b, (rows.len() <= self.scene.rows.0).then_some(rows));
                    }
                }
            },
            Doing::Read(b, whole) => {
                let after = whole.as_ref().map_or(0, |rows| rows[0] as i64);
                world.relays[at].as_mut()?.doing = whole.map_or(Doing::Nothing, |rows| Doing::Publishing(rows, 0, false));
                self.take(world, at, &b, after);
            }
            Doing::Publishing(rows, next, paged) if next < rows.len() => {
                let row = world.rows[rows[next]];
                let mut numbers = Numbers::of(&relay.handed.0);
                let given = numbers.peek(TOPIC, row.key(&self.scene).as_bytes(), Step::id(rows[next]))?;
                let lane = given.lane();
                if self.guards.first_alone && !relay.warm[lane] && !relay.sent[lane].is_empty() {
                    return None;
                }
                numbers.give(&given, rows[next] as i64 + 1);
                let record = Record { row: rows[next], place: given.head.into(), previous: given.previous.map(Into::into) };
                let relay = world.relays[at].as_mut()?;
                relay.handed = Step(numbers.state_at(&relay.state.0, rows[next] as i64 + 1));
                relay.sent[lane].push(record);
                relay.doing = Doing::Publishing(rows, next + 1, paged);
            }
            Doing::Publishing(rows, _, paged) => {
                if self.guards.acknowledged && relay.sent.iter().any(|sent| !sent.is_empty()) {
                    return None;
                }
                let is_full = paged && rows.len() == self.scene.rows.1;
                let relay = world.relays[at].as_mut()?;
                relay.doing = Doing::Nothing;
                relay.state = relay.handed.clone();
                if is_full && self.guards.whole_batch {
                    self.append(world, at, true);
                } else {
                    relay.state.0.finish();
                    relay.handed = relay.state.clone();
                    relay.unnoted = true;
                }
            }
        }
        Some(())
    }

    fn crash(&self, world: &mut World, left: usize) {
        let lost = world.log.split_off(left);
        if lost.iter().any(|entry| matches!(entry, Entry::Commit(_))) {
            self.seen.note(LOST_COMMIT);
        }
        for entry in lost {
            if let Entry::Commit(tx) = entry {
                world.txs[tx] = Tx::Gone;
                world.commits.retain(|committed| *committed != tx);
            }
        }
        world.txs.iter_mut().filter(|tx| matches!(tx, Tx::Open(..))).for_each(|tx| *tx = Tx::Gone);
        // Numbers that nothing durable has are given again.
        let last = world.txs.iter().filter_map(|tx| if let Tx::Committed(xid) = tx { Some(*xid) } else { None }).max();
        world.completed = last.unwrap_or(FIRST_XID - 1);
        world.next_xid = world.completed + 1;
        world.flush();
        (0..world.relays.len()).for_each(|relay| world.end(relay));
    }
}

impl Model for Relays {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            txs: vec![Tx::Waiting; self.scene.txs.len()],
            rows: Vec::new(),
            next_xid: FIRST_XID,
            completed: FIRST_XID - 1,
            commits: Vec::new(),
            log: Vec::new(),
            durable: (0, Step::first(TOPIC, PARTITIONS)),
            relays: [None, None],
            late: Vec::new(),
            consumers: Default::default(),
            forked: false,
            kills: self.scene.kills,
            overtakes: self.scene.overtakes,
            crashes: self.scene.crashes,
        }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        for (at, tx) in world.txs.iter().enumerate() {
            match *tx {
                Tx::Waiting => acts.push(Act::Begin(at)),
                Tx::Open(_, rows) if rows < self.scene.txs[at].len() => acts.push(Act::Append(at)),
                Tx::Open(..) => acts.push(Act::Commit(at)),
                Tx::Committed(_) | Tx::Gone => {}
            }
            if at == 0 && matches!(tx, Tx::Open(..)) {
                acts.push(Act::Abort(at));
            }
        }
        for (at, relay) in world.relays.iter().enumerate() {
            let Some(relay) = relay else {
                // They are alike: the first that is down takes over.
                if world.relays[..at].iter().all(Option::is_some)
                    && (world.overtakes > 0 || world.relays.iter().all(Option::is_none))
                {
                    acts.push(Act::Take(at));
                }
                continue;
            };
            acts.push(Act::Move(at));
            if world.kills > 0 {
                acts.push(Act::Kill(at));
            }
            for (partition, sent) in relay.sent.iter().enumerate() {
                let any = if self.guards.in_order { sent.len().min(1) } else { sent.len() };
                acts.extend((0..any).map(|nth| Act::Land(at, partition, nth)));
                if sent.len() > 1 && !relay.warm[partition] {
                    acts.push(Act::LoseFirst(at, partition));
                }
            }
        }
        for (at, sent) in world.late.iter().enumerate() {
            acts.extend((0..PARTITIONS).filter(|p| !sent[*p].is_empty()).map(|p| Act::Late(at, p)));
            acts.push(Act::Never(at));
        }
        if world.crashes > 0 {
            acts.extend((0..=world.log.len()).map(Act::Crash));
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Begin(tx) => {
                world.txs[tx] = Tx::Open(world.next_xid, 0);
                world.next_xid += 1;
            }
            Act::Append(tx) => {
                let Tx::Open(xid, nth) = world.txs[tx] else { return None };
                let key = self.scene.txs[tx][nth];
                let has = |other: usize| match world.txs[other] {
                    Tx::Open(_, rows) => self.scene.txs[other][..rows].contains(&key),
                    _ => false,
                };
                if self.guards.key_lock && (0..self.scene.txs.len()).any(|other| other != tx && has(other)) {
                    return None;
                }
                world.txs[tx] = Tx::Open(xid, nth + 1);
                world.rows.push(Row { tx, nth, xid });
            }
            Act::Commit(tx) => {
                let Tx::Open(xid, _) = world.txs[tx] else { return None };
                world.txs[tx] = Tx::Committed(xid);
                world.completed = world.completed.max(xid);
                world.commits.push(tx);
                world.log.push(Entry::Commit(tx));
            }
            Act::Abort(tx) => {
                let Tx::Open(xid, _) = world.txs[tx] else { return None };
                world.txs[tx] = Tx::Gone;
                world.completed = world.completed.max(xid);
            }
            Act::Take(at) => {
                world.overtakes -= u8::from(world.relays.iter().any(Option::is_some));
                let (step, state) = (world.newest().0, world.newest().1.clone());
                if state.0.in_flight.is_some() {
                    self.seen.note(AGAIN);
                }
                let (handed, sent) = (state.clone(), Sent::default());
                let doing = Doing::Nothing;
                world.relays[at] = Some(Relay { step, state, handed, doing, unnoted: false, sent, warm: [false; PARTITIONS] });
                self.append(&mut world, at, true);
            }
            Act::Move(at) => self.go(&mut world, at)?,
            Act::Land(at, partition, nth) => {
                let relay = world.relays[at].as_mut()?;
                let record = relay.sent[partition].remove(nth);
                relay.warm[partition] = true;
                world.land(partition, record);
            }
            Act::LoseFirst(at, partition) => {
                let relay = world.relays[at].as_mut()?;
                relay.sent[partition].remove(0);
                relay.warm[partition] = true;
            }
            Act::Kill(at) => {
                world.kills -= 1;
                world.end(at);
            }
            Act::Late(at, partition) => {
                let record = world.late[at][partition].remove(0);
                if world.late[at].iter().all(Vec::is_empty) {
                    world.late.remove(at);
                }
                if world.land(partition, record) == Verdict::Drop {
                    self.seen.note(LATE);
                }
            }
            Act::Never(at) => drop(world.late.remove(at)),
            Act::Crash(left) => {
                world.crashes -= 1;
                self.crash(&mut world, left);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        explore::properties()
    }
}

/// No consumer stops: nothing is missing in a chain, and there is one chain.
pub const GOES_ON: &str = "no consumer stops";
/// A row that was published has committed, and that stays.
pub const COMMITTED: &str = "what was published has committed";
/// No row is applied twice.
pub const ONCE: &str = "no row is applied twice";
/// A key's rows are applied in the order of their commits.
pub const IN_ORDER: &str = "a key's rows are applied in the order of their commits";
/// Of two relays that both think that they are the owner one takes the next step.
pub const ONE_OWNER: &str = "two that are active never both take a step";

impl Protocol for Relays {
    fn invariants() -> Vec<Property<Self>> {
        vec![
            Property::always(GOES_ON, |_, world: &World| world.consumers.iter().all(|consumer| !consumer.stopped)),
            Property::always(COMMITTED, |_, world: &World| {
                world.consumers.iter().flat_map(|c| &c.applied).all(|row| world.is_committed(*row))
            }),
            Property::always(ONCE, |_, world: &World| {
                let applied = || world.consumers.iter().flat_map(|c| &c.applied);
                applied().all(|row| applied().filter(|other| *other == row).count() == 1)
            }),
            Property::always(IN_ORDER, |model, world: &World| {
                let place = |row: usize| {
                    let Row { tx, nth, .. } = world.rows[row];
                    (world.commits.iter().position(|committed| *committed == tx), nth)
                };
                let wrong = |two: (&usize, &usize)| {
                    world.rows[*two.0].key(&model.scene) == world.rows[*two.1].key(&model.scene) && place(*two.0) > place(*two.1)
                };
                let pairs = |c: &Consumer| {
                    let pair = |(at, row)| c.applied[at + 1..].iter().map(move |later| (row, later));
                    c.applied.iter().enumerate().flat_map(pair).any(wrong)
                };
                !world.consumers.iter().any(pairs)
            }),
            Property::always(ONE_OWNER, |_, world: &World| !world.forked),
        ]
    }

    fn is_finished(&self, world: &World) -> bool {
        let is_applied = |row: usize| world.consumers.iter().any(|consumer| consumer.applied.contains(&row));
        (0..world.rows.len()).all(|row| !world.is_committed(row) || is_applied(row))
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}
