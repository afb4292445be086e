//! The relay's arithmetic on a model of PostgreSQL, for thousands of random histories: whatever happens between whatever,
//! every committed row is published, under one number, in its key's order, and nothing that didn't commit.
//!
//! [`State`], [`Snapshot`] and [`Numbers`] are the relay's own. The queries of `read.rs` are written out in `postgres.rs` as
//! they stand in SQL, and the round here is that of `term.rs`, one move at a time. The real queries run against the real thing
//! in `tests/relay_it/histories.rs`.

mod postgres;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use farandole_outbox::chain::{self, Place, Verdict, judge};
use farandole_outbox::publish::relay::numbers::Numbers;
use farandole_outbox::publish::relay::state::{InFlight, Snapshot, State};
use postgres::{Db, Row, Unsent};

/// Few, so that both ways of reading are used.
const HEAD_ROWS: usize = 4;
const PAGE_ROWS: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    Begin,
    Insert(Index, u8),
    Commit(Index, bool),
    Abort(Index),
    Prepare(Index),
    /// The relay makes so many moves.
    Relay(u8),
    /// The relay is killed; of what it had sent without an acknowledgement, this much is in the topic, and the rest on its way.
    Kill(Index),
    /// One of the records that are on their way lands.
    Land(Index),
    /// PostgreSQL is killed, and the relay's term ends.
    Crash(Index),
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<Index>;
    prop_oneof![
        6 => Just(Op::Begin),
        16 => (index(), 0..4_u8).prop_map(|(tx, key)| Op::Insert(tx, key)),
        8 => (index(), any::<bool>()).prop_map(|(tx, durable)| Op::Commit(tx, durable)),
        2 => index().prop_map(Op::Abort),
        2 => index().prop_map(Op::Prepare),
        12 => (1..12_u8).prop_map(Op::Relay),
        2 => index().prop_map(Op::Kill),
        3 => index().prop_map(Op::Land),
        1 => index().prop_map(Op::Crash),
    ]
}

/// A record in the topic.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    partition: i32,
    place: Place,
    previous: Option<Place>,
    row: Row,
}

#[derive(Default)]
struct Topic {
    records: Vec<Record>,
    /// So many of them are there for certain; the rest may yet be lost with their producer.
    certain: usize,
    /// What dead producers sent and the broker hasn't taken yet, in order.
    on_their_way: Vec<VecDeque<Record>>,
}

enum Doing {
    Nothing,
    /// What is unsent was read, and no step taken yet.
    Read(Unsent),
    /// Rows, the next of them, and whether they are a page that others may follow.
    Publishing(Vec<Row>, usize, bool),
}

struct Relay {
    state: State,
    numbers: Numbers,
    doing: Doing,
    unnoted: bool,
}

impl Relay {
    fn start(db: &Db) -> Self {
        let mut state = db.step().unwrap_or_else(|| State::first("7".to_owned()));
        state.partitions = BTreeMap::from([("t".to_owned(), 2)]);
        Self { numbers: Numbers::of(&state), state, doing: Doing::Nothing, unnoted: false }
    }

    /// One move; says whether there was one to make.
    fn go(&mut self, db: &mut Db, topic: &mut Topic) -> bool {
        self.doing = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => match &self.state.in_flight {
                Some(batch) => Doing::Publishing(db.page(&self.state.acked, batch, PAGE_ROWS), 0, true),
                None => match db.unsent(&self.state.acked, HEAD_ROWS) {
                    Some(unsent) => Doing::Read(unsent),
                    None if self.unnoted => {
                        db.take_step(&self.state, false);
                        self.unnoted = false;
                        Doing::Nothing
                    }
                    None => return false,
                },
            },
            Doing::Read(Unsent::Whole(b, rows)) => {
                self.take(db, b, rows[0].seq - 1);
                Doing::Publishing(rows, 0, false)
            }
            Doing::Read(Unsent::Many(b)) => {
                let after = if self.state.published.is_empty() { 0 } else { db.before_first(&self.state.acked, &b) };
                self.take(db, b, after);
                Doing::Nothing
            }
            Doing::Publishing(rows, at, paged) if at < rows.len() => {
                self.publish(&rows[at], topic);
                Doing::Publishing(rows, at + 1, paged)
            }
            Doing::Publishing(rows, _, paged) => {
                let after = self.state.in_flight.as_ref().map_or(0, |batch| batch.after);
                topic.certain = topic.records.len();
                self.state = self.numbers.state_at(&self.state, rows.last().map_or(after, |row| row.seq));
                if paged && rows.len() == PAGE_ROWS {
                    db.take_step(&self.state, true);
                } else {
                    self.state.finish();
                    self.unnoted = true;
                }
                Doing::Nothing
            }
        };
        true
    }

    fn take(&mut self, db: &mut Db, b: Snapshot, after: i64) {
        self.state.in_flight = Some(InFlight { upto: b, after });
        db.take_step(&self.state, true);
        self.unnoted = false;
    }

    fn publish(&mut self, row: &Row, topic: &mut Topic) {
        let given = self.numbers.peek("t", &[row.key], Uuid::from_u128(row.id)).unwrap();
        self.numbers.give(&given, row.seq);
        let (place, previous) = (given.head.into(), given.previous.map(Into::into));
        topic.records.push(Record { partition: given.partition, place, previous, row: row.clone() });
    }
}

struct World {
    db: Db,
    relay: Relay,
    topic: Topic,
}

impl World {
    fn new(first_xid: u64) -> Self {
        let db = Db::new(first_xid);
        Self { relay: Relay::start(&db), db, topic: Topic::default() }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Begin => self.db.begin(),
            Op::Insert(tx, key) => self.db.insert(tx, *key),
            Op::Commit(tx, durable) => self.db.end(tx, true, *durable),
            Op::Abort(tx) => self.db.end(tx, false, false),
            Op::Prepare(tx) => self.db.prepare(tx),
            Op::Relay(moves) => {
                for _ in 0..*moves {
                    self.relay.go(&mut self.db, &mut self.topic);
                }
            }
            Op::Kill(landed) => self.kill(landed),
            Op::Land(producer) if !self.topic.on_their_way.is_empty() => {
                let at = producer.index(self.topic.on_their_way.len());
                self.topic.records.extend(self.topic.on_their_way[at].pop_front());
                self.topic.certain = self.topic.records.len();
            }
            Op::Land(_) => {}
            Op::Crash(landed) => {
                self.db.crash();
                self.kill(landed);
            }
        }
    }

    fn kill(&mut self, landed: &Index) {
        let Topic { records, certain, on_their_way } = &mut self.topic;
        let there = *certain + landed.index(records.len() - *certain + 1);
        on_their_way.push(records.split_off(there).into());
        *certain = records.len();
        self.relay = Relay::start(&self.db);
    }

    /// Everything ends, and the relay gets to the end.
    fn finish(&mut self, tidy: bool) {
        self.db.end_all(tidy);
        let bound = 10 * self.db.committed.len() + 100;
        let moves = (0..bound).take_while(|_| self.relay.go(&mut self.db, &mut self.topic)).count();
        assert!(moves < bound, "the relay comes to no end");
    }

    fn audit(&self) {
        let committed: BTreeSet<u128> = self.db.committed.values().map(|row| row.id).collect();
        let (mut number_of, mut heads, mut applied) = (BTreeMap::new(), BTreeMap::<i32, chain::Head>::new(), Vec::new());
        for Record { partition, place, previous, row } in &self.topic.records {
            assert!(committed.contains(&row.id), "published and not committed: {row:?}");
            assert_eq!(number_of.insert(place.number, row.id).unwrap_or(row.id), row.id, "number {} of two rows", place.number);
            match judge(heads.get(partition).copied(), *place, *previous) {
                Verdict::Apply => {
                    heads.insert(*partition, chain::Head { place: *place, previous: *previous });
                    applied.push(row);
                }
                Verdict::Drop => {}
                verdict => panic!("{verdict:?} at {place}, {row:?}"),
            }
        }
        assert_eq!(number_of.len(), committed.len(), "an event under two numbers, or none");
        let mut versions = BTreeMap::new();
        for row in &applied {
            let version = versions.entry(row.key).or_insert(0);
            *version += 1;
            assert_eq!(row.version, *version, "key {} out of order", row.key);
        }
        assert_eq!(applied.len(), committed.len(), "lost, or applied twice");
        // What a partition of the outbox is dropped by.
        assert_eq!(self.relay.state.published.values().sum::<i64>() as usize, committed.len(), "rows are counted once");
    }
}

/// F6: transaction numbers are 64 bits wide. They begin before, at and after where 31 and 32 bits end.
fn first_xid() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![3, (1 << 31) - 8, (1 << 32) - 20, (1 << 32) - 3, 1 << 32, (7 << 32) - 9, 1 << 60])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// F1, F2, F4, F6, F19. Guards: `Snapshot` (xip beside xmax), the step before publishing and its flush, `State::finish` only when
    /// all is acknowledged, `Numbers` from the step.
    #[test]
    fn every_committed_row_goes_out_once_and_in_order(
        first_xid in first_xid(),
        ops in prop::collection::vec(op(), 1..150),
        tidy in any::<bool>(),
    ) {
        let mut world = World::new(first_xid);
        ops.iter().for_each(|op| world.run(op));
        world.finish(tidy);
        world.audit();
    }
}
