//! Inputs that a heal found to be applied: events of the own topic name them as their causes, while the position is older.
//!
//! They arrive again, and are skipped. Rows go once the position is behind them (see [`tidy`](crate::consume::tidy)); a database
//! that was never healed has none, and is asked once per lane and comparison: a heal works while the service doesn't, but a replica
//! that slept meanwhile goes on with what it remembers from before.

use sqlx::PgConnection;

use crate::wire::record::Record;

/// What a lane knows of them.
#[derive(Debug, Default)]
pub(super) struct HealedInputs {
    known: Known,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing, or that there are some.
    #[default]
    Nothing,
    /// There are none, and none are added, as long as the database is that of this comparison; see [`History`](crate::publish::relay::History).
    None(Option<u64>),
}

impl HealedInputs {
    /// Sets `stand` to false for those of `records` that `reader` applied, in the database of this `comparison`.
    pub(super) async fn strike(
        &mut self,
        conn: &mut PgConnection,
        comparison: Option<u64>,
        reader: &str,
        records: &[&Record],
        stand: &mut [bool],
    ) -> sqlx::Result<()> {
        if self.known == Known::None(comparison) || records.is_empty() {
            return Ok(());
        }
        let (found, any): (Vec<i64>, bool) = sqlx::query_as(
            "select array(select ord from unnest($1::text[], $2::int[], $3::bigint[]) with ordinality r(topic, partition, record_offset, ord)
                          join farandole.applied a using (topic, partition, record_offset) where a.reader = $4),
                    exists(select from farandole.applied where reader = $4)",
        )
        .bind(records.iter().map(|r| r.topic.as_str()).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.partition).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.offset).collect::<Vec<_>>())
        .bind(reader)
        .fetch_one(conn)
        .await?;
        self.known = if any { Known::Nothing } else { Known::None(comparison) };
        for ord in found {
            if let Some(stands) = usize::try_from(ord - 1).ok().and_then(|at| stand.get_mut(at)) {
                *stands = false;
            }
        }
        Ok(())
    }
}
