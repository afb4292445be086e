//! Positions: where a partition's reader is, with the heads of the chains in it, as a step log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::chain::Head;
use crate::record::Record;

/// What the newest step of a partition says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The offset to read next.
    pub next_offset: i64,
    /// The last record applied of each source.
    pub heads: BTreeMap<String, Head>,
}

impl Position {
    /// Moves behind `record`, which is the head of its source's chain then, if it is in one.
    pub(super) fn pass(&mut self, record: &Record, head: Option<Head>) {
        self.next_offset = record.offset + 1;
        let Some((source, head)) = record.header("ce_source").zip(head) else { return };
        match self.heads.get_mut(source) {
            Some(before) => *before = head,
            None => drop(self.heads.insert(source.to_owned(), head)),
        }
    }
}

pub(super) fn scope(topic: &str, partition: i32) -> String {
    format!("position/{topic}/{partition}")
}

/// All positions: topic/partition and position.
///
/// # Errors
/// The database's.
pub async fn positions(conn: &mut PgConnection) -> sqlx::Result<Vec<(String, Position)>> {
    let rows: Vec<(String, sqlx::types::Json<Position>)> = sqlx::query_as(
        "select distinct on (scope) substr(scope, 10), state from farandole.steps where scope like 'position/%' order by scope, step desc",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(scope, state)| (scope, state.0)).collect())
}
