//! The chain rule in one partition: two sources, a heal of one of them, repetitions, losses, forgeries, and an operator.
//!
//! The verdicts are the kit's: [`farandole::intake::judge`] on real records, from a real [`Position`]. Only what comes around it is written out
//! here: the transaction (`lane.rs`), and the operator's `positions set` (`resume.rs`).

mod record;

use stateright::{Model, Property};

use farandole::intake::judge;
use farandole_outbox::chain::{Place, Verdict};

use crate::explore::{self, Found, Protocol, Seen, guards};
pub use record::Stands;
use record::{Entry, SOURCES, What};

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

guards! {
    /// What was applied is dropped (`chain.rs`, `Verdict::Drop`).
    repeated,
    /// What is of an older lineage is dropped (`chain.rs`, places are ordered by lineage first).
    older_lineage,
    /// A record whose predecessor is missing isn't applied (`Verdict::Ahead`).
    missing_link,
    /// Nor is a first one that names a predecessor (`Verdict::NoStart`).
    beginning,
    /// A second history stops the partition rather than being dropped (`Verdict::Fork`).
    fork,
    /// What comes after a broken link isn't looked at (`judge.rs`, the batch ends there).
    ends_batch,
    /// Each source has its own head (`position.rs`).
    by_source,
    /// Effects and position are one transaction (`lane.rs`).
    one_transaction,
    /// An operator's place takes the head away, so that the record there is taken for the first (`resume.rs`).
    read_on,
}

/// What each source publishes: before a heal, and after it. Numbers have gaps, since other partitions share them.
const HISTORY: [&[(i64, i64)]; SOURCES] = [&[(1, 1), (1, 3), (2, 4), (2, 6)], &[(1, 2), (1, 5)]];
/// Losses, repetitions, ghosts and forgeries in one topic; they are the first source's, and the second goes on beside.
const WRONG: u8 = 2;
/// A number that only a relay of the first life gave.
const GHOST: i64 = 9;

/// Topic, consumer, and what may yet happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    log: Vec<Entry>,
    /// Events published of each source, lost or not.
    published: [usize; SOURCES],
    lost: Vec<(usize, usize)>,
    stands: Stands,
    applied: Vec<(usize, What)>,
    /// The record at which the consumer stands, and whether it ever did.
    stopped: Option<usize>,
    told: bool,
    /// What may yet go wrong in the topic.
    left: u8,
    /// Where an operator has had it go on: a second time wouldn't help.
    set: Option<usize>,
    /// Nothing is written any more, and the consumer reads.
    closed: bool,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A source's next event lands.
    Publish(usize),
    /// It is lost with the end of the topic's partition.
    Lose(usize),
    /// An event lands again.
    Repeat(usize, usize),
    /// A record of the life before the heal lands.
    Ghost,
    /// Somebody else writes in a source's name.
    Forge(u8),
    /// That was all. What is written doesn't depend on who reads it: a consumer that reads while it is written sees what one does that reads
    /// later, in the same batches.
    Close,
    /// A batch of so many records, from so many before the position: `Worker::work`.
    Batch(usize, usize),
    /// The same, and a crash between effects and position, where these are two transactions.
    Half(usize),
    /// `positions set` to where the consumer stands, or behind it.
    Set(usize),
}

/// The model.
pub struct Chains {
    guards: Guards,
    seen: Seen,
}

/// Explores it.
pub fn explore(guards: Guards) -> Found {
    explore::explore(|| Chains { guards, seen: Seen::new(&[DROPPED, OLDER, AHEAD, FORK, NO_START, TAKEN_FORGERY, AGAIN]) })
}

const DROPPED: &str = "a repetition was dropped";
const OLDER: &str = "a record of an older lineage was dropped";
const AHEAD: &str = "a missing link stopped the consumer";
const FORK: &str = "a second history stopped the consumer";
const NO_START: &str = "a missing beginning stopped the consumer";
const TAKEN_FORGERY: &str = "a forgery that looks like the next was taken";
const AGAIN: &str = "records were delivered again";

impl Chains {
    /// Judges `batch` and applies what is to be.
    fn read(&self, world: &mut World, batch: &[usize], moves: bool) {
        let records =
            |world: &World, of: &[usize]| of.iter().map(|at| world.log[*at].record(*at, self.guards.by_source)).collect();
        let mut stands = world.stands.clone();
        // A batch is the kit's matter as a whole; what it does without a guard is done record by record.
        let parts: Vec<&[usize]> = if self.guards == Guards::ALL { vec![batch] } else { batch.chunks(1).collect() };
        for part in parts {
            let judged = judge("s0", stands.0.clone(), records(world, part));
            let mut took: Vec<(usize, _)> = judged.items.iter().map(|i| (i.record.offset as usize, i.head)).collect();
            let is_new = part[0] as i64 >= stands.0.next_offset;
            let older = judged.older.0 > 0;
            if is_new && took.is_empty() && judged.broken.is_none() {
                self.seen.note(if older { OLDER } else { DROPPED });
                if part.len() == 1 && !(if older { self.guards.older_lineage } else { self.guards.repeated }) {
                    took.push((part[0], Some(world.log[part[0]].head())));
                }
            }
            if let Some(broken) = &judged.broken {
                let at = broken.record.offset as usize;
                let (what, guard) = match broken.verdict {
                    Verdict::Ahead => (AHEAD, self.guards.missing_link),
                    Verdict::NoStart => (NO_START, self.guards.beginning),
                    _ => (FORK, self.guards.fork),
                };
                self.seen.note(what);
                match (guard, broken.verdict) {
                    (true, _) => (world.stopped, world.told) = (Some(at), true),
                    (false, Verdict::Fork) => stands.0.next_offset = at as i64 + 1,
                    (false, _) => took.push((at, Some(world.log[at].head()))),
                }
            }
            for (at, head) in took {
                let entry = &world.log[at];
                if entry.what == What::Forged(3) {
                    self.seen.note(TAKEN_FORGERY);
                }
                world.applied.push((entry.source, entry.what));
                stands.pass(at, head.map(|head| (entry.name(self.guards.by_source), head)));
            }
            stands.0.next_offset = stands.0.next_offset.max(judged.passed);
            if world.stopped.is_some() && self.guards.ends_batch {
                break;
            }
        }
        if moves {
            world.stands = stands;
        }
        if !self.guards.ends_batch && world.stopped.is_some_and(|at| (at as i64) < world.stands.0.next_offset) {
            world.stopped = None;
        }
    }

    /// Whether something is wrong at this record: it is none of its source's, or one before it was lost or forged.
    fn is_wrong(world: &World, at: usize) -> bool {
        let Entry { source, what, .. } = world.log[at];
        matches!(what, What::Forged(_) | What::Ghost)
            || world.lost.iter().any(|(of, _)| *of == source)
            || world.log[..at].iter().any(|entry| entry.source == source && matches!(entry.what, What::Forged(_)))
    }
}

/// What may come next in the topic.
fn write(world: &World, acts: &mut Vec<Act>) {
    let there = |source: usize, nth: usize| world.log.iter().any(|e| e.source == source && e.what == What::Event(nth));
    let goes_wrong = world.left > 0;
    for (source, history) in HISTORY.iter().enumerate() {
        let published = world.published[source];
        if published < history.len() {
            acts.push(Act::Publish(source));
            acts.extend((goes_wrong && source == 0).then_some(Act::Lose(source)));
        }
        acts.extend(
            (0..published).filter(|nth| goes_wrong && source == 0 && there(source, *nth)).map(|nth| Act::Repeat(source, nth)),
        );
    }
    if goes_wrong && world.log.iter().any(|entry| entry.place.lineage == 2) {
        acts.push(Act::Ghost);
    }
    // A forgery of what has a predecessor; the first of a source can't be told from a true one.
    if goes_wrong && there(0, 1) {
        acts.extend((0..4).map(Act::Forge));
    }
    if world.published.iter().zip(HISTORY).all(|(published, history)| *published == history.len()) {
        acts.push(Act::Close);
    }
}

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

impl World {
    /// Events of a source in the order in which they were applied.
    fn events(&self, source: usize) -> impl Iterator<Item = usize> + '_ {
        let event = move |(of, what): &(usize, What)| match what {
            What::Event(nth) if *of == source => Some(*nth),
            _ => None,
        };
        self.applied.iter().filter_map(event)
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
