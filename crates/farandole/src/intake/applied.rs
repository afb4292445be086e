//! Inputs that a heal found to be applied: events of the own topic name them as their causes, while the position is older.
//!
//! They come again, and are passed over. Rows go once the position is behind them (see [`tidy`](crate::tidy)); a database that was
//! never healed has none, and is asked once a lane.

use sqlx::PgConnection;

use crate::record::Record;

/// What a lane knows of them.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// There are none, and none are added while a service runs.
    none: bool,
}

impl Applied {
    /// Sets `stand` to false for those of `records` that `reader` applied.
    pub(super) async fn strike(
        &mut self,
        conn: &mut PgConnection,
        reader: &str,
        records: &[&Record],
        stand: &mut [bool],
    ) -> sqlx::Result<()> {
        if self.none || records.is_empty() {
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
        self.none = !any;
        for ord in found {
            if let Some(stands) = usize::try_from(ord - 1).ok().and_then(|at| stand.get_mut(at)) {
                *stands = false;
            }
        }
        Ok(())
    }
}
