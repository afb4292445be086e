//! What a service's own program does for its operator, for readers and outboxes beside code of one's own: whose rows they are is
//! told, since no program here knows it by itself.

use std::time::Duration;

use anyhow::{Context as _, bail};
use farandole::Signals;
use farandole::config::Kafka;
use farandole::engine::session;
use farandole::heal::{Choices, Mode, NoFold, Report, Skip, heal_with};
use farandole::intake;
use farandole::intake::operate::{Ask, Pace, Setting, Standings, To};
use farandole::parking::acts::Operator;
use farandole::parking::operate::{self as parked, Dropped, Queues, Which};
use farandole::relay::{self, Relay};
use farandole::replay::Replayed;
use farandole::topics;
use farandole::trial::{Ended, Trial};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};

const CONNECTING: &str = "connecting to the database (FARANDOLE_DATABASE_URL)";

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

    fn options(&self) -> anyhow::Result<PgConnectOptions> {
        session::options(&self.url).context("reading the database's address (FARANDOLE_DATABASE_URL)")
    }

    /// A session under the kit's settings, whatever server, database and role say.
    async fn connect(&self) -> anyhow::Result<PgConnection> {
        let mut conn = session::connect(&self.options()?).await.context(CONNECTING)?;
        let there: bool = sqlx::query_scalar("select to_regclass('farandole.steps') is not null").fetch_one(&mut conn).await?;
        if !there {
            bail!("this database has no schema `farandole`: is it the right one?");
        }
        Ok(conn)
    }
}

impl Database {
    /// A session, and the reader that is meant.
    async fn reader(&self, named: Option<&str>) -> anyhow::Result<(PgConnection, String)> {
        let mut conn = self.connect().await?;
        let reader = reader(&mut conn, named).await?;
        Ok((conn, reader))
    }
}

/// Leaves to a service's own program what changes rows of the service's: that one knows which topics it subscribes to, and tells its journal what
/// becomes of parked inputs. A reader of another name beside a service has no other program than this.
async fn not_a_services(conn: &mut PgConnection, reader: &str, verb: &str) -> anyhow::Result<()> {
    let sql = "select exists (select from farandole.owner where service = $1 and topic is not null)";
    if sqlx::query_scalar(sql).bind(reader).fetch_one(conn).await? {
        bail!(
            "this database belongs to service {reader}, whose own binary does this and records it in its journal: run \
             `{reader} {verb}`"
        );
    }
    Ok(())
}

/// Leaves the database of a service to the service's own program: that one knows the topics and tables that belong to it. A database
/// without the kit's tables is nobody's.
async fn own_program(database: &Database, verb: &str) -> anyhow::Result<()> {
    // Any database: the kit's tables may not be there, and a relay waits for a server that is away.
    let Ok(mut conn) = PgConnection::connect_with(&database.options()?).await else { return Ok(()) };
    let kits: bool = sqlx::query_scalar("select to_regclass('farandole.owner') is not null").fetch_one(&mut conn).await?;
    if kits {
        let sql = "select service from farandole.owner where topic is not null";
        if let Some(service) = sqlx::query_scalar::<_, String>(sql).fetch_optional(&mut conn).await? {
            bail!("this database belongs to service {service}, whose own binary does this: run `{service} {verb}`");
        }
    }
    conn.close().await?;
    Ok(())
}

/// The reader that is meant: the one that is named, or the only one there is.
async fn reader(conn: &mut PgConnection, named: Option<&str>) -> anyhow::Result<String> {
    let known: Vec<String> = sqlx::query_scalar("select reader from farandole.readers order by reader").fetch_all(conn).await?;
    // Those beside which a new version is tried; a trial is meant by its name only.
    let is_trial =
        |name: &String| known.iter().any(|of| name.strip_prefix(of.as_str()).is_some_and(|rest| rest.starts_with('.')));
    let known: Vec<String> = known.iter().filter(|name| named.is_some() || !is_trial(name)).cloned().collect();
    match (named, &known[..]) {
        (Some(named), known) if known.iter().any(|reader| reader == named) => Ok(named.to_owned()),
        (Some(named), _) => bail!("no reader {named} in this database; known readers: {}", known.join(", ")),
        (None, [one]) => Ok(one.clone()),
        (None, []) => bail!("no reader has used this database yet"),
        (None, known) => bail!("this database has several readers; choose one with --reader: {}", known.join(", ")),
    }
}

/// What a reader has parked.
///
/// # Errors
/// The database's; when it isn't told which reader.
pub async fn list_parked(database: &Database, named: Option<&str>) -> anyhow::Result<Queues> {
    let (mut conn, reader) = database.reader(named).await?;
    Ok(parked::list(&mut conn, &reader).await?)
}

/// Has a running reader try an aggregate's inputs within a second.
///
/// # Errors
/// The database's; when nothing of it is parked.
pub async fn retry_parked(database: &Database, named: Option<&str>, aggregate: &str) -> anyhow::Result<()> {
    let (mut conn, reader) = database.reader(named).await?;
    not_a_services(&mut conn, &reader, &format!("parked retry {aggregate}")).await?;
    if !parked::retry(&mut conn, &reader, aggregate).await? {
        bail!("{reader} has nothing parked under {aggregate}; `farandole parked` lists what is");
    }
    Ok(())
}

/// Drops what is parked under a name, and says which.
///
/// # Errors
/// As [`parked::drop`]; when nothing is parked under it.
pub async fn drop_parked(
    database: &Database,
    named: Option<&str>,
    aggregate: &str,
    which: Which,
    reason: &str,
    by: &str,
) -> anyhow::Result<Vec<Dropped>> {
    let (mut conn, reader) = database.reader(named).await?;
    let all = if which == Which::All { "--all " } else { "" };
    not_a_services(&mut conn, &reader, &format!("parked drop {aggregate} {all}--reason …")).await?;
    let dropped = parked::drop_inputs(&mut conn, &reader, None, aggregate, which, reason, by).await?;
    if dropped.is_empty() {
        bail!("{reader} has nothing parked under {aggregate}; `farandole parked` lists what is");
    }
    Ok(dropped)
}

/// Where a reader reads each partition next, and how far behind that is.
///
/// # Errors
/// The database's; when it isn't told which reader.
pub async fn list_positions(database: &Database, named: Option<&str>, kafka: &Kafka) -> anyhow::Result<Standings> {
    let (mut conn, reader) = database.reader(named).await?;
    Ok(intake::operate::list(&mut conn, kafka, &reader).await?)
}

/// Where a position is to be set.
#[derive(Debug, Clone, Copy)]
pub struct Goal<'a> {
    /// The topic, with its prefix.
    pub topic: &'a str,
    /// The partition; all of them if none is named.
    pub partition: Option<i32>,
    /// To what.
    pub to: To,
}

/// Says what setting where a reader reads a topic next would change, and does it if `by` somebody.
///
/// # Errors
/// As [`farandole::intake::operate::set`].
pub async fn set_position(
    database: &Database,
    named: Option<&str>,
    kafka: &Kafka,
    Goal { topic, partition, to }: Goal<'_>,
    by: Option<Operator<'_>>,
) -> anyhow::Result<Setting> {
    let (mut conn, reader) = database.reader(named).await?;
    let part = partition.map(|partition| format!(" --partition {partition}")).unwrap_or_default();
    not_a_services(&mut conn, &reader, &format!("positions set --topic {topic}{part} --to …")).await?;
    if let Some(by) = by {
        introduce(&mut conn, &format!("farandole positions set by {}", by.name)).await?;
    }
    let ask = Ask { reader: &reader, topic, partition, to, mapping: None, replay: None };
    Ok(intake::operate::set(&mut conn, kafka, &ask, by).await?)
}

/// Says what a reader's handler would be given again, and begins that if `by` somebody.
///
/// # Errors
/// As [`farandole::replay::replay`].
pub async fn replay(
    database: &Database,
    named: Option<&str>,
    kafka: &Kafka,
    Goal { topic, partition, to }: Goal<'_>,
    pace: Pace,
    accepts_repeats: bool,
    by: Option<Operator<'_>>,
) -> anyhow::Result<Replayed> {
    let (mut conn, reader) = database.reader(named).await?;
    if let Some(by) = by {
        introduce(&mut conn, &format!("farandole replay by {}", by.name)).await?;
    }
    let ask = Ask { reader: &reader, topic, partition, to, mapping: None, replay: Some(pace) };
    Ok(farandole::replay::replay(&mut conn, kafka, &ask, accepts_repeats, by).await?)
}

/// Says what a new version of a handler would be given in a schema of its own, and begins that if `by` somebody.
///
/// # Errors
/// As [`farandole::trial::begin`].
pub async fn begin_trial(
    database: &Database,
    named: Option<&str>,
    kafka: &Kafka,
    Goal { topic, partition, to }: Goal<'_>,
    pace: Pace,
    schema: &str,
    by: Option<Operator<'_>>,
) -> anyhow::Result<Trial> {
    let (mut conn, reader) = database.reader(named).await?;
    let ask = Ask { reader: &reader, topic, partition, to, mapping: None, replay: None };
    Ok(farandole::trial::begin(&mut conn, kafka, &ask, pace, schema, by).await?)
}

/// Drops what a trial has made, or says what that is.
///
/// # Errors
/// As [`farandole::trial::end`].
pub async fn end_trial(database: &Database, named: Option<&str>, schema: &str, execute: bool) -> anyhow::Result<Ended> {
    let mut conn = database.connect().await?;
    Ok(farandole::trial::end(&mut conn, named, schema, execute).await?)
}

/// Names a session, for who finds it in their way; as much as a name may have.
async fn introduce(conn: &mut PgConnection, who: &str) -> anyhow::Result<()> {
    let who: String = who.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(63).collect();
    sqlx::query("select set_config('application_name', $1, false)").bind(who).execute(conn).await?;
    Ok(())
}

/// What a heal is told.
#[derive(Debug)]
pub struct How {
    /// Whether anything is changed.
    pub mode: Mode,
    /// What its events name as their source, for a database that doesn't know it any more.
    pub source: Option<String>,
    /// Records that the database lacks are left to their owner.
    pub skip: bool,
    /// What else is decided.
    pub choices: Choices,
}

/// Brings an outbox and its topics together again. What the topics have more is nothing that can be folded into tables that the
/// kit doesn't know: [`How::skip`] leaves that to their owner and goes on behind it.
///
/// # Errors
/// As [`farandole::heal::heal`].
pub async fn heal(database: &Database, kafka: &Kafka, service: &str, topics: Vec<String>, how: &How) -> anyhow::Result<Report> {
    database.connect().await?.close().await?;
    // Each session that is used is opened anew, brought under the kit's settings and never given back.
    let pool = session::watched(PgPoolOptions::new()).connect_lazy_with(database.options()?);
    let How { mode, source, skip, choices } = how;
    let (properties, source) = (kafka.properties.clone(), source.clone());
    let config = relay::Config { topics, kafka: properties, source, ..relay::Config::new(service, &kafka.bootstrap) };
    let report = if *skip {
        heal_with(&pool, &config, &Skip, *mode, choices).await
    } else {
        heal_with(&pool, &config, &NoFold, *mode, choices).await
    };
    pool.close().await;
    Ok(report?)
}

/// Makes the kit's tables, or brings them up to this version.
///
/// # Errors
/// As [`farandole::migrate`].
pub async fn migrate(database: &Database) -> anyhow::Result<()> {
    own_program(database, "migrate").await?;
    let pool = session::watched(PgPoolOptions::new()).connect_lazy_with(database.options()?);
    farandole::migrate(&pool).await?;
    pool.close().await;
    Ok(())
}

/// Between two looks at a topic that isn't there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at the topics that are to be published to, and creates those that are missing if told to.
///
/// # Errors
/// When one can't keep what is published, or can't be a topic. One that isn't there is waited for, and so are the brokers.
pub async fn ready(kafka: &Kafka, topics: &[String], create: bool) -> anyhow::Result<()> {
    for topic in topics {
        let mut told = false;
        loop {
            match topics::ensure_whole(kafka, topic, create).await {
                Ok(()) => break,
                // Somebody creates it, or starts the brokers: as with everything that a relay waits for.
                Err(error) if error.is_transient() || matches!(error, topics::Error::Missing { .. }) => {
                    if !std::mem::replace(&mut told, true) {
                        let how = if create { "" } else { "; or pass --create-topics" };
                        eprintln!("farandole: waiting: {}{how}", farandole::engine::chain_of(&error));
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Publishes until told to stop by a signal; says on standard error what is in the way, and when that is over.
///
/// # Errors
/// When the relay refuses to publish.
pub async fn relay(
    database: &Database,
    kafka: &Kafka,
    service: &str,
    source: Option<String>,
    topics: Vec<String>,
    forget: Vec<String>,
) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    own_program(database, "serve").await?;
    let pool = session::watched(PgPoolOptions::new().max_connections(3)).connect_lazy_with(database.options()?);
    let properties = kafka.properties.clone();
    let config = relay::Config { topics, forget, kafka: properties, source, ..relay::Config::new(service, &kafka.bootstrap) };
    let (relay, _) = Relay::new(pool, config);
    let relay = relay.start().until(signals.next(), |troubles| {
        troubles.iter().for_each(|trouble| eprintln!("farandole: {trouble}"));
        if troubles.is_empty() {
            eprintln!("farandole: publishing, or standing by");
        }
    });
    relay.await.context("nothing is published any more")
}
