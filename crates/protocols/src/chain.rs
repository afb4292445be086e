//! The chain rule in one partition: two sources, a heal of one of them, repetitions, losses, forgeries, and an operator.
//!
//! The verdicts are the kit's: [`farandole::intake::judge`] on real records, from a real [`Position`](farandole::intake::Position). Only
//! what comes around it is written out here: the transaction (`lane.rs`), and the operator's `positions set` (`resume.rs`).

mod record;
mod steps;
mod world;

use stateright::{Model, Property};

use farandole_outbox::chain::Place;

use crate::explore;
use crate::explore::{Found, Protocol, Seen};
use record::{Entry, SOURCES, Stands, What};
use steps::write;
use world::{AGAIN, AHEAD, DROPPED, FORK, GHOST, HISTORY, NO_START, OLDER, TAKEN_FORGERY, WRONG};

pub use steps::{Act, Chains};
pub use world::{Guards, World};

/// The kit's lines that the steps stand for.
pub const STANDS_FOR: &[(&str, &str)] = &[
    (
        "crates/farandole/src/consume/intake/judge.rs",
        "pub fn judge(topic: &str, mut after: Position, batch: Vec<Record>) -> Judged",
    ),
    ("crates/farandole/src/consume/intake/worker.rs", "judge(&self.topic, self.position.clone(), batch)"),
    ("crates/farandole/src/consume/intake/worker.rs", "return self.stand(why).await;"),
    ("crates/farandole/src/consume/intake/lane.rs", "step::append_many(conn, &moves)"),
    ("crates/farandole/src/consume/intake/position.rs", "pub(super) fn lead"),
    ("crates/farandole/src/consume/intake/resume.rs", "position.midway_of.insert(source.to_owned());"),
    ("crates/farandole/src/consume/intake/broken.rs", "To skip this one"),
];

/// Explores it.
pub fn explore(guards: Guards) -> Found {
    explore::explore(|| Chains { guards, seen: Seen::new(&[DROPPED, OLDER, AHEAD, FORK, NO_START, TAKEN_FORGERY, AGAIN]) })
}

/// No event is applied twice.
pub const ONCE: &str = "no event is applied twice";

/// A source's events are applied in order, and none is passed over but those that the topic lost.
pub const WHOLE: &str = "events are applied in order and none is skipped, but for what the topic lost";

/// Records of an older lineage, and forgeries that can be told, are never applied.
pub const GENUINE: &str = "no ghost is applied, and no forgery that can be told";

/// An event that the position is behind was applied.
pub const BEHIND: &str = "an event that the position is behind was applied";

/// The consumer stops only where something is wrong.
pub const FOR_CAUSE: &str = "a consumer stops only where something is wrong";

/// A loss isn't passed over in silence: the consumer has stopped at it before it goes on behind it.
pub const TOLD: &str = "a consumer doesn't go on behind a missing link by itself";

impl Model for Chains {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            log: Vec::new(),
            published: [0; SOURCES],
            lost: Vec::new(),
            stands: Stands::default(),
            applied: Vec::new(),
            stopped: None,
            told: false,
            left: WRONG,
            set: None,
            closed: false,
        }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        if !world.closed {
            return write(world, acts);
        }
        let next = world.stands.0.next_offset as usize;
        match world.stopped {
            Some(at) if world.set == Some(at) => {}
            Some(at) => acts.push(Act::Set(at)),
            None => {
                let left = world.log.len().saturating_sub(next);
                for n in 1..=left.min(2) {
                    acts.push(Act::Batch(0, n));
                    if next > 0 && n == 1 {
                        acts.push(Act::Batch(1, n));
                    }
                    if !self.guards.one_transaction {
                        acts.push(Act::Half(n));
                    }
                }
            }
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        let place = |(lineage, number): (i64, i64)| Place { lineage, number };
        let event = |source: usize, nth: usize| Entry {
            source,
            place: place(HISTORY[source][nth]),
            previous: nth.checked_sub(1).map(|before| place(HISTORY[source][before])),
            what: What::Event(nth),
        };
        match act {
            Act::Publish(source) => {
                world.log.push(event(source, world.published[source]));
                world.published[source] += 1;
            }
            Act::Lose(source) => {
                world.left -= 1;
                world.lost.push((source, world.published[source]));
                world.published[source] += 1;
            }
            Act::Repeat(source, nth) => {
                world.left -= 1;
                world.log.push(event(source, nth));
            }
            Act::Ghost => {
                world.left -= 1;
                let (place, previous) = (place((1, GHOST)), Some(place((1, 3))));
                world.log.push(Entry { source: 0, place, previous, what: What::Ghost });
            }
            Act::Forge(kind) => {
                world.left -= 1;
                let last = *world.log.iter().rev().find(|e| e.source == 0 && matches!(e.what, What::Event(_)))?;
                let above = Place { number: last.place.number + 1, ..last.place };
                let (place, previous) = match kind {
                    // A second successor of the predecessor, the last number again, a second beginning, and one that looks like the next.
                    0 => (above, last.previous),
                    1 => (last.place, Some(last.place)),
                    2 => (above, None),
                    _ => (Place { number: last.place.number + 90, ..last.place }, Some(last.place)),
                };
                world.log.push(Entry { source: 0, place, previous, what: What::Forged(kind) });
            }
            Act::Close => world.closed = true,
            Act::Batch(again, n) => {
                let next = world.stands.0.next_offset as usize;
                if again > 0 {
                    self.seen.note(AGAIN);
                }
                let batch: Vec<usize> = (next - again..next + n).collect();
                self.read(&mut world, &batch, true);
            }
            Act::Half(n) => {
                let next = world.stands.0.next_offset as usize;
                let batch: Vec<usize> = (next..next + n).collect();
                self.read(&mut world, &batch, false);
            }
            Act::Set(at) => {
                (world.stopped, world.set) = (None, Some(at));
                let entry = world.log[at];
                if matches!(entry.what, What::Forged(_) | What::Ghost) {
                    world.stands.0.next_offset = at as i64 + 1;
                } else if self.guards.read_on {
                    world.stands.go_on_at(at, entry.name(self.guards.by_source));
                } else {
                    world.stands.0.next_offset = at as i64;
                }
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        explore::properties()
    }
}

impl Protocol for Chains {
    fn invariants() -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_, world: &World| {
                (0..SOURCES).all(|s| world.events(s).all(|nth| world.events(s).filter(|other| *other == nth).count() == 1))
            }),
            Property::always(WHOLE, |_, world: &World| {
                (0..SOURCES).all(|source| {
                    let mut expected = (0..).filter(|nth| !world.lost.contains(&(source, *nth)));
                    world.events(source).all(|nth| Some(nth) == expected.next())
                })
            }),
            Property::always(GENUINE, |_, world: &World| {
                world.applied.iter().all(|(_, what)| matches!(what, What::Event(_) | What::Forged(3)))
            }),
            Property::always(FOR_CAUSE, |_, world: &World| world.stopped.is_none_or(|at| Self::is_wrong(world, at))),
            Property::always(BEHIND, |_, world: &World| {
                let behind = world.log.iter().take(usize::try_from(world.stands.0.next_offset).unwrap_or(0));
                let applied = |entry: &Entry| world.applied.contains(&(entry.source, entry.what));
                behind.filter(|entry| matches!(entry.what, What::Event(_))).all(applied)
            }),
            Property::always(TOLD, |_, world: &World| {
                let beyond = |(source, lost): &(usize, usize)| world.events(*source).any(|nth| nth > *lost);
                world.lost.iter().all(|lost| !beyond(lost) || world.told)
            }),
        ]
    }

    fn is_finished(&self, world: &World) -> bool {
        let there = |source: usize| (0..world.published[source]).filter(move |nth| !world.lost.contains(&(source, *nth)));
        world.closed
            && world.stands.0.next_offset as usize == world.log.len()
            && (0..SOURCES).all(|s| world.events(s).eq(there(s)))
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}
