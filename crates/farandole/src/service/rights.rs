//! Whether the role may still do what the service does.
//!
//! It is asked at the start. Rights may go later, with a table that a migration makes anew or by an administrator's word; then the database
//! refuses whatever touches the table, and that is when it is asked again.
//!
//! **How it would fail without**: every command is answered 503 while `/readyz` says that all is well, so callers keep coming, and who looks
//! finds PostgreSQL's words for one table instead of the `grant` for all.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use crate::database::surroundings;
use crate::ground::error::chain_of;
use crate::ground::told::Told;
use crate::service::http::Checks;
use crate::service::parts::Pools;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Keeps the check `rights`, for the service's own `tables`. Never ends.
pub(super) async fn watch(options: &PgConnectOptions, tables: &[&str], pools: &Pools, checks: &Checks) {
    let (mut told, mut lacks) = (Told::default(), false);
    loop {
        tokio::time::sleep(EVERY).await;
        if !pools.were_denied() && !lacks {
            continue;
        }
        match surroundings::rights(options, tables).await {
            Ok(()) if lacks => {
                tracing::info!("the role has its privileges again");
                checks.ok("rights");
                lacks = false;
                told.over();
            }
            // What was refused is no right on a table: a function of somebody's, or it is mended already.
            Ok(()) => {}
            Err(error @ surroundings::Error::Missing(_)) => {
                let why = chain_of(&error);
                if told.is_due(&why) {
                    tracing::error!(why, "the role has lost privileges");
                }
                checks.failing("rights", why);
                lacks = true;
            }
            // Without a connection the check of the database tells.
            Err(error) => tracing::debug!(error = chain_of(&error), "checking privileges failed; retrying"),
        }
    }
}
