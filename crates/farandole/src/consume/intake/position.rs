//! Positions: where a partition's reader is, with the heads of the chains in it, as a step log of scope
//! `position/<reader>/<topic>/<partition>`.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::database::step;
use crate::ground::text::NAME;
use crate::wire::chain::{self, Head, Link, Verdict};
use crate::wire::record::Record;

/// What the newest step of a partition says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The offset to read next.
    pub next_offset: i64,
    /// The last record applied of each source.
    pub heads: BTreeMap<String, Head>,
    /// The id of the topic that it is in, so that another one of that name is noticed. None where brokers give none, and in positions
    /// of older builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// It didn't begin by itself where the topic does, or an operator has named the place: of a source without a head the first record
    /// that is seen is taken for its first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub midway: bool,
    /// The same of these sources alone: an operator has had the reader go on at a record of theirs, or behind one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub midway_of: BTreeSet<String>,
    /// How often it was set back by a replay.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// The replay that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// Records that are read again, at a pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The offset at which it ends: what was to be read next when it began.
    pub until: i64,
    /// Records in ten seconds, of this partition; none where nothing holds them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_ten_seconds: Option<NonZeroU32>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Replay {
    /// Records of one batch at most: a second's worth, so that what is held back is held back evenly.
    pub(super) fn most(&self) -> usize {
        self.in_ten_seconds.map_or(usize::MAX, |n| usize::try_from(n.get() / 10).unwrap_or(usize::MAX).max(1))
    }

    /// How long `records` take.
    pub(super) fn takes(&self, records: usize) -> Duration {
        let seconds = self.in_ten_seconds.map_or(0.0, |n| records as f64 * 10.0 / f64::from(n.get()));
        // A batch has a million records at most, and one in ten seconds is the slowest pace.
        Duration::from_secs_f64(seconds)
    }
}

impl Position {
    /// Without the heads of sources whose records aren't read any more: earlier builds kept names of any length.
    pub(super) fn bounded(mut self) -> Self {
        self.heads.retain(|source, _| source.len() <= NAME);
        self
    }

    /// What the chain rule says of a record of `source` that comes now.
    pub(super) fn judge(&self, source: &str, link: &Link) -> Verdict {
        match self.heads.get(source) {
            None if self.midway || self.midway_of.contains(source) => Verdict::Apply,
            head => chain::judge(head.copied(), link.place, link.previous),
        }
    }

    /// Moves behind `record`, which is the head of its source's chain then, if it is in one.
    pub(super) fn pass(&mut self, record: &Record, head: Option<Head>) {
        self.reach(record.offset + 1);
        let Some((source, head)) = record.header("ce_source").zip(head) else { return };
        self.lead(source, head);
    }

    /// Everything before `next` is settled.
    pub(super) fn reach(&mut self, next: i64) {
        self.next_offset = next;
        self.replay = self.replay.filter(|replay| next < replay.until);
    }

    /// `head` is the last of `source` now.
    pub(super) fn lead(&mut self, source: &str, head: Head) {
        match self.heads.get_mut(source) {
            Some(before) => *before = head,
            None => {
                self.midway_of.remove(source);
                self.heads.insert(source.to_owned(), head);
            }
        }
    }
}

pub(crate) fn scope(reader: &str, topic: &str, partition: i32) -> String {
    format!("{}{topic}/{partition}", all_of(reader))
}

/// What the scopes of a reader's positions begin with.
pub(crate) fn all_of(reader: &str) -> String {
    format!("position/{}/", step::part(reader))
}

/// All positions of `reader`: topic/partition and position.
///
/// # Errors
/// The database's.
pub async fn positions(conn: &mut PgConnection, reader: &str) -> sqlx::Result<Vec<(String, Position)>> {
    let rows: Vec<(String, sqlx::types::Json<Position>)> = sqlx::query_as(
        "select distinct on (scope) substr(scope, length($1) + 1), state from farandole.steps
         where scope >= $1 and scope < 'position0' and starts_with(scope, $1) and split_part(scope, '/', 4) <> '' order by scope, step desc",
    )
    .bind(all_of(reader))
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(scope, state)| (scope, state.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_has_a_pace_and_an_end() {
        let replay = |n| Replay { until: 7, in_ten_seconds: NonZeroU32::new(n) };
        assert_eq!((replay(250).most(), replay(250).takes(25)), (25, Duration::from_secs(1)));
        assert_eq!((replay(1).most(), replay(1).takes(1)), (1, Duration::from_secs(10)));
        assert_eq!((replay(0).most(), replay(0).takes(25)), (usize::MAX, Duration::ZERO));
        let mut position = Position { replay: Some(replay(0)), generation: 1, ..Position::default() };
        position.reach(6);
        assert!(position.replay.is_some());
        position.reach(7);
        assert_eq!((position.replay, position.generation), (None, 1));
        let text = serde_json::to_string(&Position::default()).unwrap();
        assert!(!text.contains("generation") && !text.contains("replay"), "as earlier builds wrote it: {text}");
    }
}
