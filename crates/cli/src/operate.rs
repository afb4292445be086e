//! What a service's own program does for its operator, for readers and outboxes beside code of one's own: whose rows they are is
//! told, since no program here knows it by itself.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use farandole::config::Kafka;
use farandole::heal::{At, Mode, NoFold, Report, Skip, heal_passing};
use farandole::intake::operate::{Moved, To};
use farandole::intake::{Position, positions};
use farandole::parking::journal::Place;
use farandole::parking::operate::{self as parked, Queue, Which};
use farandole::relay;
use sqlx::{Connection as _, PgConnection, PgPool};

/// A database with the kit's tables.
#[derive(Debug)]
pub struct Database {
    url: String,
}

impl Database {
    /// At `url`; a password may also come from `PGPASSWORD` or `~/.pgpass`.
    pub fn at(url: String) -> Self {
        Self { url }
    }

    async fn connect(&self) -> anyhow::Result<PgConnection> {
        let mut conn = PgConnection::connect(&self.url).await.context("connecting to the database (FARANDOLE_DATABASE_URL)")?;
        let there: bool = sqlx::query_scalar("select to_regclass('farandole.steps') is not null").fetch_one(&mut conn).await?;
        if !there {
            bail!("this database has no schema `farandole` with the kit's tables: is it the right one?");
        }
        Ok(conn)
    }
}

/// The reader that is meant: the one that is named, or the only one there is.
async fn reader(conn: &mut PgConnection, named: Option<&str>) -> anyhow::Result<String> {
    let known: Vec<String> = sqlx::query_scalar("select reader from farandole.readers order by reader").fetch_all(conn).await?;
    match (named, &known[..]) {
        (Some(named), known) if known.iter().any(|reader| reader == named) => Ok(named.to_owned()),
        (Some(named), _) => bail!("no reader {named} has read into this database; there are: {}", known.join(", ")),
        (None, [one]) => Ok(one.clone()),
        (None, []) => bail!("nobody has read into this database yet"),
        (None, known) => bail!("several readers read into this database, name one with --reader: {}", known.join(", ")),
    }
}

/// What a reader has parked.
///
/// # Errors
/// The database's; when it isn't told which reader.
pub async fn list_parked(database: &Database, named: Option<&str>) -> anyhow::Result<Vec<Queue>> {
    let mut conn = database.connect().await?;
    let reader = reader(&mut conn, named).await?;
    Ok(parked::list(&mut conn, &reader).await?)
}

/// Has a running reader try an aggregate's inputs within a second.
///
/// # Errors
/// The database's; when nothing of it is parked.
pub async fn retry_parked(database: &Database, named: Option<&str>, aggregate: &str) -> anyhow::Result<()> {
    let mut conn = database.connect().await?;
    let reader = reader(&mut conn, named).await?;
    if !parked::retry(&mut conn, &reader, aggregate).await? {
        bail!("{reader} has nothing parked under {aggregate}; `farandole parked` lists what is");
    }
    Ok(())
}

/// Gives up what is parked under an aggregate, and says which.
///
/// # Errors
/// The database's; when nothing of it is parked.
pub async fn drop_parked(
    database: &Database,
    named: Option<&str>,
    aggregate: &str,
    which: Which,
    reason: &str,
    by: &str,
) -> anyhow::Result<Vec<Place>> {
    let mut conn = database.connect().await?;
    let reader = reader(&mut conn, named).await?;
    let dropped = parked::drop(&mut conn, &reader, None, aggregate, which, reason, by).await?;
    if dropped.is_empty() {
        bail!("{reader} has nothing parked under {aggregate}; `farandole parked` lists what is");
    }
    Ok(dropped)
}

/// Where a reader reads each partition next.
///
/// # Errors
/// The database's; when it isn't told which reader.
pub async fn list_positions(database: &Database, named: Option<&str>) -> anyhow::Result<Vec<(String, Position)>> {
    let mut conn = database.connect().await?;
    let reader = reader(&mut conn, named).await?;
    Ok(positions(&mut conn, &reader).await?)
}

/// Sets where a reader reads a topic next.
///
/// # Errors
/// As [`farandole::intake::operate::set`].
pub async fn set_position(
    database: &Database,
    named: Option<&str>,
    kafka: &Kafka,
    topic: &str,
    partition: Option<i32>,
    to: To,
) -> anyhow::Result<Vec<Moved>> {
    let mut conn = database.connect().await?;
    let reader = reader(&mut conn, named).await?;
    Ok(farandole::intake::operate::set(&mut conn, kafka, &reader, topic, partition, to).await?)
}

/// What a heal is told.
#[derive(Debug)]
pub struct How {
    /// Whether anything is changed.
    pub mode: Mode,
    /// Records that the database lacks are left to their owner.
    pub skip: bool,
    /// Records that are passed over.
    pub pass_over: BTreeSet<At>,
}

/// Brings an outbox and its topics together again. What the topics have more is nothing that can be folded into tables that the
/// kit doesn't know: [`How::skip`] leaves that to their owner and goes on behind it.
///
/// # Errors
/// As [`farandole::heal::heal`].
pub async fn heal(database: &Database, kafka: &Kafka, service: &str, topics: Vec<String>, how: &How) -> anyhow::Result<Report> {
    database.connect().await?.close().await?;
    let pool = PgPool::connect(&database.url).await.context("connecting to the database (FARANDOLE_DATABASE_URL)")?;
    let config = relay::Config { topics, kafka: kafka.properties.clone(), ..relay::Config::new(service, &kafka.bootstrap) };
    let How { mode, skip, pass_over } = how;
    let report = if *skip {
        heal_passing(&pool, &config, &Skip, *mode, pass_over).await
    } else {
        heal_passing(&pool, &config, &NoFold, *mode, pass_over).await
    };
    pool.close().await;
    Ok(report?)
}
