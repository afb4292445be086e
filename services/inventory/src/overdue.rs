//! Goods that are set aside for longer than any order takes: neither its end nor its parcel came, so something doesn't get through.

use std::time::Duration;

use sqlx::{PgPool, Row as _};
use uuid::Uuid;

/// The alarm's name.
pub const NAME: &str = "reservations_overdue";
/// What it says.
pub const WHAT: &str =
    "reservations that neither an order's end nor its parcel has ended in time; GET /reservations/overdue lists them";

/// Goods that were set aside longer ago than `$1` microseconds, by the database's clock, as `since` is.
macro_rules! overdue {
    () => {
        "from reservations where state ->> 'state' = 'reserved'
         and (state ->> 'since')::bigint < (extract(epoch from now()) * 1000000)::bigint - $1"
    };
}

/// How many were set aside longer ago than `after`.
///
/// # Errors
/// When the database doesn't answer.
pub async fn count(pool: PgPool, after: Duration) -> sqlx::Result<i64> {
    sqlx::query_scalar(concat!("select count(*) ", overdue!())).bind(micros(after)).fetch_one(&pool).await
}

/// Those, oldest first: the orders, and since when in microseconds since 1970.
///
/// # Errors
/// When the database doesn't answer.
pub async fn list(pool: &PgPool, after: Duration, limit: i64) -> sqlx::Result<Vec<(Uuid, i64)>> {
    let query = concat!("select order_id, (state ->> 'since')::bigint ", overdue!(), " order by 2 limit $2");
    let rows = sqlx::query(query).bind(micros(after)).bind(limit).fetch_all(pool).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn micros(after: Duration) -> i64 {
    i64::try_from(after.as_micros()).unwrap_or(i64::MAX)
}
