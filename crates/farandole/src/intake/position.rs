//! Positions: where a partition's reader is, with the heads of the chains in it, as a step log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::chain::Place;
use crate::engine::{Error, Fault, Source, Verdict, Work, chain_of};
use crate::parking::{self, Parked};
use crate::participant::Participant;
use crate::record::Record;
use crate::step;

/// What the newest step of a partition says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The offset to read next.
    pub next_offset: i64,
    /// The last record applied of each source.
    pub heads: BTreeMap<String, Place>,
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

/// One batch of a partition, as the source of inputs: moves the position and parks what must be.
pub(super) struct Batch<'a> {
    pub scope: &'a str,
    pub step: Option<i64>,
    /// Where the batch leaves the partition.
    pub after: Position,
    /// The record of each work, and its aggregate.
    pub records: Vec<(&'a Record, String)>,
    /// A record at the end that could not be read.
    pub unreadable: Option<(&'a Record, Fault)>,
    /// The step taken.
    pub taken: Option<i64>,
}

impl<P: Participant> Source<P> for Batch<'_> {
    async fn claim(&mut self, _conn: &mut PgConnection, works: &[Work<P>]) -> Result<Vec<bool>, Error> {
        Ok(vec![true; works.len()])
    }

    async fn settle(&mut self, conn: &mut PgConnection, works: &[Work<P>], verdicts: &[Verdict]) -> Result<(), Error> {
        let mut parked: Vec<Parked<'_>> = Vec::new();
        for ((record, aggregate), verdict) in self.records.iter().zip(verdicts) {
            let fault = match verdict {
                Verdict::Parked(fault) => Some(fault),
                Verdict::Held => None,
                Verdict::Done(_) | Verdict::Refused(_) | Verdict::Lost => continue,
            };
            parked.push(Parked { aggregate: aggregate.clone(), record, fault });
        }
        if let Some((record, fault)) = &self.unreadable {
            parked.push(Parked { aggregate: record.aggregate(), record, fault: Some(fault) });
        }
        parking::park(conn, &parked).await.map_err(Error::database("parking", works.len()))?;
        let taken = step::append(conn, self.scope, self.step, &self.after).await;
        self.taken = Some(taken.map_err(|e| match e {
            step::Error::Fenced { .. } => Error::Fenced(e.to_string()),
            step::Error::Database { source, .. } => Error::Database { doing: "moving the position", inputs: works.len(), source },
            other => Error::Fenced(chain_of(&other)),
        })?);
        Ok(())
    }
}
