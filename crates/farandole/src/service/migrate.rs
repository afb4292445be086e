//! Tables, topics and schemas: made by `migrate`, looked at by `serve`.
//!
//! The kit's tables are in schema `farandole` with a migration table of their own, so that kit and service number their
//! migrations apart. All of it may run again, and from several places at once: PostgreSQL's advisory lock takes one at a time.

use std::collections::BTreeMap;

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::config::Config;
use crate::database::{session, surroundings};
use crate::parking;
use crate::participant::Participant;
use crate::participant::table::Tables as _;
use crate::publish::relay::{owner, partitions};
use crate::service::http::Checks;
use crate::service::wait::Patience;
use crate::service::{Error, Missing, elsewhere, parts};
use crate::wire::codec::{Codec, Written};
use crate::wire::message::Message as _;
use crate::wire::settings::Subjects;
use crate::wire::topics;

const KITS: &str = "farandole._sqlx_migrations";

/// The kit's migrations. Number 3 was never given out; a new one takes the next number after the last.
fn kit() -> Migrator {
    let mut kit = sqlx::migrate!("./migrations");
    kit.dangerous_set_table_name(KITS);
    kit.create_schema("farandole");
    kit.set_ignore_missing(true);
    kit
}

/// Makes or updates the kit's tables alone, in schema `farandole`, for who uses outbox or intake beside tables of their own. May
/// run again, and from several places at once.
///
/// # Errors
/// The migration's or the database's.
pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
    surroundings::server(&pool.connect_options()).await.map_err(Error::Surroundings)?;
    let doing = "migrating the kit's tables";
    let failed = |source| Error::Database { doing, source };
    let mut conn = pool.acquire().await.map_err(failed)?.detach();
    session::prepare(&mut conn, session::Purpose::Long).await.map_err(failed)?;
    let result = make_kits(&mut conn).await;
    let _ = conn.close().await; // what was done is committed; a migration that failed would keep its lock on a pooled connection
    result
}

/// Everything, with waits bounded by `process.wait`.
pub(super) async fn all<P: Participant>(service: &Migrator, written: Written, config: &Config) -> Result<(), Error> {
    parts::check::<P>(config)?;
    let checks = Checks::default();
    let patience = Patience { checks: &checks, limit: Some(config.process.wait) };
    tables::<P>(&patience, service, config, Missing::Make).await?;
    let pools = parts::Pools::new(P::NAME, &config.database)?;
    let codec = Codec::with(&config.registry, pools.intake.clone()).writing(written);
    kafka_and_registry::<P>(&patience, config, &codec, Missing::Make).await?;
    pools.close().await;
    Ok(())
}

/// The database, the kit's tables and the service's, and the rights on both.
pub(super) async fn tables<P: Participant>(
    patience: &Patience<'_>,
    service: &Migrator,
    config: &Config,
    missing: Missing,
) -> Result<(), Error> {
    let options = &parts::connect_options(&config.database)?;
    patience.until("database", || async move { surroundings::server(options).await.map_err(Error::Surroundings) }).await?;
    patience
        .until("migrated", || async move {
            if missing == Missing::Refuse {
                surroundings::rights(options, &[]).await.map_err(Error::Surroundings)?;
            }
            // One connection, closed afterwards: a migration that fails would keep its lock on a pooled one.
            let mut conn = connect(options).await?;
            let result = both(&mut conn, P::NAME, service, missing).await;
            let _ = conn.close().await; // what was done is committed
            result
        })
        .await?;
    let tables = P::Tables::names();
    patience.until("rights", || async move { surroundings::rights(options, tables).await.map_err(Error::Surroundings) }).await
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    parts::open(options, session::Purpose::Long).await
}

/// The kit's tables come first: they say whose database it is, and another service's gets none of this one's tables.
async fn both(conn: &mut PgConnection, name: &str, service: &Migrator, missing: Missing) -> Result<(), Error> {
    kits(conn, name, missing).await?;
    owner::claim(conn, name, false).await.map_err(Error::Relay)?;
    if missing == Missing::Make {
        elsewhere::refuse(conn, name, service).await?;
        return make(conn, "service's", service).await;
    }
    let result = check(conn, name, "service's", service).await;
    if matches!(result, Err(Error::NotMigrated { .. })) {
        // What it would advise makes a second set.
        elsewhere::refuse(conn, name, service).await?;
    }
    result
}

/// The kit's tables, for the service of this name.
pub(super) async fn kits(conn: &mut PgConnection, name: &str, missing: Missing) -> Result<(), Error> {
    match missing {
        Missing::Make => make_kits(conn).await,
        Missing::Refuse => check(conn, name, "kit's", &kit()).await,
    }
}

async fn make_kits(conn: &mut PgConnection) -> Result<(), Error> {
    make(conn, "kit's", &kit()).await?;
    // Whoever appends may do so before a relay has ever run.
    partitions::make(conn).await.map(drop).map_err(Error::Relay)
}

async fn make(conn: &mut PgConnection, whose: &'static str, migrator: &Migrator) -> Result<(), Error> {
    migrator.run_direct(None, conn, false).await.map_err(|source| match source {
        MigrateError::VersionMismatch(version) => {
            let changed = migrator.iter().find(|m| m.version == version).map_or_else(|| version.to_string(), name);
            Error::Changed { whose, migration: changed }
        }
        source => Error::Migrate { whose, source },
    })
}

fn name(migration: &Migration) -> String {
    format!("{} ({})", migration.version, migration.description)
}

/// That each migration of `migrator` was applied, and is still the same. More than these may have been.
async fn check(conn: &mut PgConnection, service: &str, whose: &'static str, migrator: &Migrator) -> Result<(), Error> {
    let failed = |source| Error::Database { doing: "looking which migrations were applied", source };
    let table = migrator.table_name.as_ref();
    let there: bool =
        sqlx::query_scalar("select to_regclass($1) is not null").bind(table).fetch_one(&mut *conn).await.map_err(failed)?;
    let mut applied = BTreeMap::new();
    if there {
        let sql = format!("select version, checksum from {table} where success");
        let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *conn).await;
        let rows: Vec<(i64, Vec<u8>)> = match rows {
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("42501") => {
                let role: String =
                    sqlx::query_scalar("select quote_ident(current_user)").fetch_one(&mut *conn).await.map_err(failed)?;
                let lacks = format!("the role lacks rights; as the owner of the tables: `grant select on {table} to {role}`");
                return Err(Error::Surroundings(surroundings::Error::Missing(vec![lacks])));
            }
            rows => rows.map_err(failed)?,
        };
        applied.extend(rows);
    }
    let ups = || migrator.iter().filter(|m| !m.migration_type.is_down_migration());
    if let Some(changed) = ups().find(|m| applied.get(&m.version).is_some_and(|sum| sum[..] != m.checksum[..])) {
        return Err(Error::Changed { whose, migration: name(changed) });
    }
    let missing: Vec<&Migration> = ups().filter(|m| !applied.contains_key(&m.version)).collect();
    match missing.first() {
        Some(first) => {
            let (service, missing, first) = (service.to_owned(), missing.len(), name(first));
            Err(Error::NotMigrated { service, whose, missing, first })
        }
        None => Ok(()),
    }
}

/// The topics, and the schemas of what the service publishes and hears.
pub(super) async fn kafka_and_registry<P: Participant>(
    patience: &Patience<'_>,
    config: &Config,
    codec: &Codec,
    missing: Missing,
) -> Result<(), Error> {
    let make = missing == Missing::Make;
    patience
        .until(
            "topics",
            || async move { topics::ensure(&config.kafka, &config.topics, P::NAME, make).await.map_err(Error::Topics) },
        )
        .await?;
    let topic = topics::own(&config.topics.prefix, P::NAME);
    let topic = topic.as_str();
    patience
        .until("schemas", || async move {
            codec.register(topic, P::Event::TYPES).await.map_err(Error::Schemas)?;
            codec
                .register_under(&topics::journal("", topic), parking::journal::TYPES, Subjects::TopicRecord)
                .await
                .map_err(Error::Schemas)?;
            codec.know(P::Heard::TYPES).map_err(Error::Schemas)
        })
        .await
}
