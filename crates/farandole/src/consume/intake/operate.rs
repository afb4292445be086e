//! What an operator does about positions: look what would change, or set them by hand. The reader may run: who has the partition is
//! fenced by the step, and begins again from the new position within seconds. What is known of the chains there is kept where that can be
//! (see `resume`).
//!
//! One operator at a time sets positions of a reader: what a second was shown would be of no worth once the first is done.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use sqlx::PgConnection;

use crate::consume::intake::goal::{Goal, Question, goals};
use crate::consume::intake::position::{Position, positions, scope};
use crate::consume::intake::{begun, foreign_dedup};
use crate::database::step::{self, Append};
use crate::database::{gate, locks};
use crate::parking::acts::Operator;
use crate::wire::mapping::Mapping;
use crate::wire::settings::Kafka;

pub use crate::consume::intake::list::{Standing, Standings, list};
pub use crate::consume::intake::preview::Passage;
pub use crate::consume::intake::setting::{Change, Error, Setting, To};

/// A reader that moves takes steps of its own meanwhile.
const TRIES: u32 = 20;

/// What an operator asks for.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Whose position.
    pub reader: &'a str,
    /// In which topic, with its prefix.
    pub topic: &'a str,
    /// In which partition; in all of them if none is named.
    pub partition: Option<i32>,
    /// Where it is set to.
    pub to: To,
    /// How records of the topic are read, if that is known: keys are named by it.
    pub mapping: Option<&'a Mapping>,
    /// Whether this begins a replay: partitions are only set back, and read again at a pace.
    pub replay: Option<Pace>,
}

/// How fast a topic is read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Records a second, of all partitions together; none where nothing holds them back.
    pub rate: Option<NonZeroU32>,
}

impl Pace {
    /// Its share of one of `partitions`, as records in ten seconds; at least one, so that each of them gets on.
    fn share(self, partitions: usize) -> Option<NonZeroU32> {
        let rate = self.rate?.get().saturating_mul(10) / u32::try_from(partitions.max(1)).unwrap_or(u32::MAX);
        NonZeroU32::new(rate.max(1))
    }
}

/// Says what setting the position would change, in one partition or in all of them, and does it if `operator` is given.
///
/// An offset where the reader is, or not far ahead, says something of the records there alone. One that is passed over leaves the chains
/// as they are; of the one that is read next, if the chain rule refuses it, the source begins anew there. Anywhere else, and by the name
/// of a start, what was known of the chains is forgotten: of each source the next record is taken for its first, and records before that
/// are read again.
///
/// # Errors
/// See [`Error`].
pub async fn set(
    conn: &mut PgConnection,
    kafka: &Kafka,
    ask: &Ask<'_>,
    operator: Option<Operator<'_>>,
) -> Result<Setting, Error> {
    let Some(operator) = operator else {
        let partitions = plan(conn, kafka, ask).await?.changes;
        return Ok(Setting { reader: ask.reader.to_owned(), executed: false, partitions });
    };
    let lock = format!("positions/{}", ask.reader);
    let failed = |source| Error::Position(step::Error::Database { scope: scope(ask.reader, ask.topic, 0), source });
    let taken = locks::alone(conn, &lock).await.map_err(failed)?;
    taken.map_err(|who| Error::Busy { reader: ask.reader.to_owned(), who: locks::holder(who) })?;
    let done = set_alone(conn, kafka, ask, operator).await;
    // A connection that can't give it back is gone, and the lock with it.
    let _ = locks::give_back(conn, &lock).await;
    done
}

async fn set_alone(conn: &mut PgConnection, kafka: &Kafka, ask: &Ask<'_>, operator: Operator<'_>) -> Result<Setting, Error> {
    let Plan { count, goals, .. } = plan(conn, kafka, ask).await?;
    let mut tries = 1;
    loop {
        match write(conn, ask, operator, count, &goals).await {
            Err(Error::Position(step::Error::Fenced { .. })) if tries < TRIES => tries += 1,
            other => return Ok(Setting { reader: ask.reader.to_owned(), executed: true, partitions: other? }),
        }
    }
}

/// What is to be done.
struct Plan {
    /// How many partitions the topic has.
    count: i32,
    /// Where the reader is in them.
    known: BTreeMap<i32, Position>,
    /// Where those that are asked for go.
    goals: BTreeMap<i32, Goal>,
    /// What that changes.
    changes: Vec<Change>,
}

async fn plan(conn: &mut PgConnection, kafka: &Kafka, ask: &Ask<'_>) -> Result<Plan, Error> {
    let Ask { reader, topic, partition, to, mapping, replay } = *ask;
    let failed = |source| Error::Position(step::Error::Database { scope: scope(reader, topic, 0), source });
    let number = |at: &str| at.rsplit_once('/').filter(|(of, _)| *of == topic)?.1.parse().ok();
    let stored = positions(conn, reader).await.map_err(failed)?;
    let before: BTreeMap<i32, Position> =
        stored.into_iter().filter_map(|(at, position)| Some((number(&at)?, position))).collect();
    let known = before.clone();
    let (kafka, topic, mapping) = (kafka.clone(), topic.to_owned(), mapping.cloned());
    let question = Question { kafka, topic, partition, to, mapping, before };
    let (count, mut goals) = tokio::task::spawn_blocking(move || goals(&question)).await.map_err(Error::Broken)??;
    if replay.is_some() {
        goals.retain(|partition, goal| known.get(partition).is_some_and(|before| goal.again(before, None).is_some()));
        if goals.is_empty() {
            return Err(Error::NothingAgain { reader: reader.to_owned(), topic: ask.topic.to_owned() });
        }
    }
    let changes = goals.iter().map(|(partition, goal)| goal.change(ask.topic, *partition, known.get(partition))).collect();
    Ok(Plan { count, known, goals, changes })
}

/// Where a reader of another name begins that is to read `ask.topic` from where it says, with what `ask.reader` has read as the end of a replay:
/// how many partitions the topic has, its positions, and what differs in them.
pub(crate) async fn anew(
    conn: &mut PgConnection,
    kafka: &Kafka,
    ask: &Ask<'_>,
    pace: Pace,
) -> Result<(i32, Vec<(i32, Position)>, Vec<Change>), Error> {
    let Plan { count, known: mut all, goals, changes } = plan(conn, kafka, &Ask { replay: None, ..*ask }).await?;
    for (partition, goal) in &goals {
        let again = all.get(partition).and_then(|before| goal.again(before, pace.share(goals.len())));
        all.insert(*partition, again.unwrap_or_else(|| goal.after(None, ask.topic).0));
    }
    Ok((count, all.into_iter().collect(), changes))
}

async fn write(
    conn: &mut PgConnection,
    ask: &Ask<'_>,
    operator: Operator<'_>,
    count: i32,
    goals: &BTreeMap<i32, Goal>,
) -> Result<Vec<Change>, Error> {
    let Ask { reader, topic, replay, .. } = *ask;
    let failed = |source| Error::Position(step::Error::Database { scope: scope(reader, topic, 0), source });
    let mut tx = gate::begin(conn).await.map_err(failed)?;
    // Who sets a position before the reader's first start has begun with the topic: partitions that are there begin where it is told.
    begun::note(&mut tx, reader, topic, count).await.map_err(Error::Position)?;
    let (mut steps, mut changes, mut anew, mut back) = (Vec::new(), Vec::new(), Vec::new(), false);
    for (partition, goal) in goals {
        let scope = scope(reader, topic, *partition);
        let latest = step::latest::<Position>(&mut tx, &scope).await.map_err(Error::Position)?;
        let (step, from) = latest.map_or((None, None), |(step, position)| (Some(step), Some(position)));
        let (after, goes_on) = match replay {
            None => goal.after(from.as_ref(), topic),
            Some(pace) => match from.as_ref().and_then(|from| goal.again(from, pace.share(goals.len()))) {
                Some(after) => (after, false),
                // Set elsewhere since it was looked at.
                None => continue,
            },
        };
        if !goes_on {
            anew.push(*partition);
            back |= from.as_ref().is_none_or(|from| goal.to < from.next_offset || goal.is_elsewhere(from));
        }
        changes.push(goal.change(topic, *partition, from.as_ref()));
        steps.push((scope, step, after));
    }
    let appends: Vec<_> = steps.iter().map(|(scope, step, after)| Append { scope, expected: *step, state: after }).collect();
    step::append_many(&mut tx, &appends).await.map_err(Error::Position)?;
    // What a heal noted as applied was read at these offsets before; it may have been in another topic of that name. Who goes on still
    // has it before them.
    sqlx::query("delete from farandole.applied where reader = $1 and topic = $2 and partition = any($3)")
        .bind(reader)
        .bind(topic)
        .bind(anew)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    // Foreign records that are to be read again are to be heard again. What was seen says of which topic it is, and no partition.
    if back {
        foreign_dedup::forget(&mut tx, reader, topic).await.map_err(failed)?;
    }
    let from = |change: &Change| change.from.map_or_else(|| "none".to_owned(), |from| from.to_string());
    let outcome = changes.iter().map(|change| format!("{}: {} -> {}", change.partition, from(change), change.to));
    let (what, outcome) = (format!("{topic} of {reader}"), outcome.collect::<Vec<_>>().join(", "));
    let verb = if replay.is_some() { "replay" } else { "positions set" };
    operator.did(&mut tx, verb, what, outcome).await.map_err(Error::Journal)?;
    tx.commit().await.map_err(failed)?;
    Ok(changes)
}
