//! What happens in it.

use farandole::intake::judge;
use farandole_outbox::chain::Verdict;

use crate::chain::record::{Entry, What};
use crate::chain::world::{AHEAD, DROPPED, FORK, Guards, HISTORY, NO_START, OLDER, TAKEN_FORGERY, World};
use crate::explore::Seen;

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
    pub guards: Guards,
    pub seen: Seen,
}

impl Chains {
    /// Judges `batch` and applies what is to be.
    pub fn read(&self, world: &mut World, batch: &[usize], moves: bool) {
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
    pub fn is_wrong(world: &World, at: usize) -> bool {
        let Entry { source, what, .. } = world.log[at];
        matches!(what, What::Forged(_) | What::Ghost)
            || world.lost.iter().any(|(of, _)| *of == source)
            || world.log[..at].iter().any(|entry| entry.source == source && matches!(entry.what, What::Forged(_)))
    }
}

/// What may come next in the topic.
pub fn write(world: &World, acts: &mut Vec<Act>) {
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
