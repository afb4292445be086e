//! The lock that keeps deciding and healing apart.
//!
//! Every transaction that decides, applies or starts something holds it shared, from its beginning to its end; a heal holds it
//! alone from before its first change to its end (a swap after a rebuild will do the same). One key for all services of a database,
//! since the kit's tables are shared by them. It is taken first, before any row's lock, so that who waits for it holds up nobody.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

/// The lock's number, for statements.
#[doc(hidden)]
#[macro_export]
macro_rules! gate_key {
    () => {
        "7377303427399053164"
    };
}
pub use gate_key as key;

/// What [`begin`] is doing, for errors: a session on which it failed may stand in the middle of it, and isn't used again.
pub const BEGIN: &str = "beginning a transaction";

/// Begins a transaction with the lock, in one round trip, and at the isolation level that the kit's locks and second looks rest on,
/// whatever the server's default.
pub async fn begin(conn: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    conn.begin_with(concat!("begin isolation level read committed; select pg_advisory_xact_lock_shared(", key!(), ")")).await
}
