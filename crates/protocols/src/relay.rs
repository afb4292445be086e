//! The relay's round with its step: two relays of one service over one outbox and one topic.
//!
//! State, numbers, links, partitions and snapshots are the kit's own ([`State`](farandole_outbox::publish::relay::state::State),
//! [`Numbers`](farandole_outbox::publish::relay::numbers::Numbers)), and a consumer judges by the kit's
//! [`judge`](farandole_outbox::chain::judge). The queries are written out here. There is no lease, since nothing rests on it: a relay may
//! take over at any time, and the one before goes on as a zombie until its next step.
//!
//! Simpler than the kit: a step has no transaction number, and a page waits for the acknowledgements of the one before.

mod step;
mod steps;
mod world;

use stateright::{Model, Property};

use farandole_outbox::chain::Verdict;

use crate::explore;
use crate::explore::{Found, Protocol, Seen};
use step::Step;
use world::{AGAIN, Consumer, Doing, Entry, FIRST_XID, LATE, PARTITIONS, Relay, Row, Sent, TOPIC, Tx};

pub use steps::{Act, Relays};
pub use world::{CRASHES, Guards, LATE_COMMITS, PAGED_ZOMBIES, Scene, World, ZOMBIES};

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

/// Explores one world of it.
pub fn explore(guards: Guards, scene: Scene) -> Found {
    explore::explore(|| Relays { guards, scene, seen: Seen::new(scene.happens) })
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
