//! Tables, topics and schemas: made by `migrate`, looked at by `serve`.
//!
//! All of it may run again, and from several places at once: PostgreSQL's advisory lock takes one at a time.

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::config::Config;
use crate::database::{session, surroundings};
use crate::parking;
use crate::publish::migrations;
use crate::publish::relay::owner;
use crate::service::contract::Contract;
use crate::service::frame::{Doing, Frame};
use crate::service::http::Checks;
use crate::service::wait::Patience;
use crate::service::{Error, Missing, elsewhere, parts};
use crate::wire::codec::Codec;
use crate::wire::settings::Subjects;
use crate::wire::topics;

/// Everything, with waits bounded by `process.wait`.
pub(super) fn all<'a>(frame: &'a Frame, config: &'a Config) -> Doing<'a, ()> {
    Box::pin(make(frame, config))
}

async fn make(frame: &Frame, config: &Config) -> Result<(), Error> {
    parts::check(&frame.contract, config)?;
    let checks = Checks::default();
    let patience = Patience { checks: &checks, limit: Some(config.process.wait) };
    tables(&patience, frame, config, Missing::Make).await?;
    let pools = parts::Pools::new(frame.contract.name, &config.database)?;
    let codec = Codec::with(&config.registry, pools.intake.clone()).encoding(frame.encoding);
    kafka_and_registry(&patience, &frame.contract, config, &codec, Missing::Make).await?;
    pools.close().await;
    Ok(())
}

/// The database, the kit's tables and the service's, and the rights on both.
pub(super) async fn tables(patience: &Patience<'_>, frame: &Frame, config: &Config, missing: Missing) -> Result<(), Error> {
    let options = &parts::connect_options(&config.database)?;
    patience.until("database", || async move { surroundings::server(options).await.map_err(Error::Surroundings) }).await?;
    patience
        .until("migrated", || async move {
            if missing == Missing::Refuse {
                surroundings::rights(options, &[]).await.map_err(Error::Surroundings)?;
            }
            // One connection, closed afterwards: a migration that fails would keep its lock on a pooled one.
            let mut conn = connect(options).await?;
            let result = both(&mut conn, frame.contract.name, &frame.migrations, missing).await;
            let _ = conn.close().await; // what was done is committed
            result
        })
        .await?;
    let tables = frame.contract.tables;
    patience.until("rights", || async move { surroundings::rights(options, tables).await.map_err(Error::Surroundings) }).await?;
    let declared = &frame.contract.columns;
    patience.until("rights", || async move { columns(options, declared).await }).await
}

/// That each table has the columns that rows are read from: a name that is misspelt would fail every decision.
async fn columns(options: &PgConnectOptions, declared: &[(&'static str, &'static [&'static str], usize)]) -> Result<(), Error> {
    let mut conn = parts::open(options, session::Purpose::Any).await?;
    let mut missing = Vec::new();
    for (table, columns, _) in declared {
        let found: Vec<String> = sqlx::query_scalar(
            "select attname::text from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped",
        )
        .bind(table)
        .fetch_all(&mut conn)
        .await
        .map_err(|source| Error::Database { doing: "looking at the tables' columns", source })?;
        let lacks = columns.iter().filter(|column| !found.iter().any(|found| found == *column));
        missing.extend(lacks.map(|column| format!("table {table} has no column {column}")));
    }
    let _ = conn.close().await; // it only read
    if missing.is_empty() { Ok(()) } else { Err(Error::Columns(missing)) }
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
        return Ok(migrations::make(conn, "service's", service).await?);
    }
    let result = migrations::check(conn, name, "service's", service).await;
    if matches!(result, Err(migrations::Error::NotMigrated { .. })) {
        // What it would advise makes a second set.
        elsewhere::refuse(conn, name, service).await?;
    }
    Ok(result?)
}

/// The kit's tables, for the service of this name.
pub(super) async fn kits(conn: &mut PgConnection, name: &str, missing: Missing) -> Result<(), Error> {
    match missing {
        Missing::Make => migrations::make_kits(conn).await?,
        Missing::Refuse => migrations::check(conn, name, "kit's", &migrations::kit()).await?,
    }
    Ok(())
}

/// The topics, and the schemas of what the service publishes and hears.
pub(super) async fn kafka_and_registry(
    patience: &Patience<'_>,
    contract: &Contract,
    config: &Config,
    codec: &Codec,
    missing: Missing,
) -> Result<(), Error> {
    let make = missing == Missing::Make;
    patience
        .until("topics", || async move {
            let make = make && config.topics.create;
            topics::ensure_with_journal(&config.kafka, &config.topics, contract.name, make).await.map_err(Error::Topics)
        })
        .await?;
    let topic = topics::own(&config.topics.prefix, contract.name);
    let topic = topic.as_str();
    patience
        .until("schemas", || async move {
            codec.register(topic, contract.events).await.map_err(Error::Schemas)?;
            codec
                .register_under(&topics::journal("", topic), parking::journal::TYPES, Subjects::TopicRecord)
                .await
                .map_err(Error::Schemas)?;
            codec.add_reader_schema(contract.heard).map_err(Error::Schemas)
        })
        .await
}
