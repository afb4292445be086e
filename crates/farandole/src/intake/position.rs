//! Positions: where a partition's reader is, with the heads of the chains in it, as a step log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::chain::Head;

/// What the newest step of a partition says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The offset to read next.
    pub next_offset: i64,
    /// The last record applied of each source.
    pub heads: BTreeMap<String, Head>,
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
