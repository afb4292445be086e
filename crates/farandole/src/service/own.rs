//! Checks before a service decides anything: that the database is its own, and which rows are.

use sqlx::{Connection as _, PgConnection};

use crate::config::Config;
use crate::consume::intake;
use crate::database::session;
use crate::publish::relay::owner;
use crate::service::contract::Contract;
use crate::service::frame::{Mappings, heard};
use crate::service::wait::Patience;
use crate::service::{Error, Missing, migrate, parts};
use crate::wire::topics;

/// A connection for an operator's verb, to this service's database and no other's.
pub(super) async fn connect(name: &str, config: &Config) -> Result<PgConnection, Error> {
    let mut conn = parts::connect(config).await?;
    let sql = "select to_regclass('farandole.owner') is not null";
    let doing = "looking for the kit's tables";
    let there: bool = sqlx::query_scalar(sql).fetch_one(&mut conn).await.map_err(|source| Error::Database { doing, source })?;
    if !there {
        // In the words of `heal` and `serve`, rather than those of a query that misses its table.
        migrate::kits(&mut conn, name, Missing::Refuse).await?;
    }
    owner::claim(&mut conn, name, false).await.map_err(Error::Relay)?;
    Ok(conn)
}

/// Names a session, for who finds it in their way.
pub(super) async fn introduce(conn: &mut PgConnection, who: &str) -> Result<(), Error> {
    // As much as a name may have; the server would cut it by itself, with a notice.
    let who: String = who.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(63).collect();
    let named = sqlx::query("select set_config('application_name', $1, false)").bind(who).execute(conn).await;
    named.map(drop).map_err(|source| Error::Database { doing: "naming a session", source })
}

/// Refuses another service's database, and takes what of it doesn't say whose it is.
pub(super) async fn enter(
    patience: &Patience<'_>,
    contract: &Contract,
    config: &Config,
    mappings: &Mappings,
) -> Result<(), Error> {
    let options = &parts::connect_options(&config.database)?;
    let prefix = &config.topics.prefix;
    let topic = &topics::own(prefix, contract.name);
    let hears: &Vec<String> = &contract.hears.iter().map(|topic| heard(prefix, mappings, topic)).collect();
    patience
        .until("migrated", || async move {
            let failed = |source| Error::Database { doing: "looking whose database this is", source };
            let mut conn = parts::open(options, session::Purpose::Any).await?;
            owner::claim_with_topic(&mut conn, contract.name, topic).await.map_err(Error::Relay)?;
            intake::enter(&mut conn, contract.name, hears).await.map_err(failed)?;
            let _ = conn.close().await; // what was done is committed
            Ok(())
        })
        .await
}
