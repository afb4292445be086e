//! A service's database from its topics alone: `rebuild --from-nothing`.
//!
//! **What comes back.** Rows, open deadlines and effects, and the answers of commands are folded from the service's own topic, as a heal
//! folds what a database lacks; here that is everything. Positions come from the last checkpoint in the journal, what was parked or dropped
//! from the entries about it. What lies behind the positions is read again; inputs that the service's events name as their causes are
//! applied already and are skipped.
//!
//! **In this order**, each step in one transaction or repeatable: tables; a mark with positions and what was parked; the heal, which ends
//! with a new lineage; tasks that were dropped, and the mark goes. Broken off anywhere it is run again and goes on: only a database that is
//! empty, or bears the mark, is written to.
//!
//! **What can't come back** is said before anything is done: what was committed and never published, answers of commands that led to no
//! event, and the ids by which repetitions of foreign records are told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::config::Config;
use crate::consume::restore::{self, Journalled};
use crate::database::{locks, session, step, surroundings};
use crate::heal;
use crate::participant::Participant;
use crate::publish::relay::ends;
use crate::publish::relay::own::Own;
use crate::publish::relay::state::{SCOPE, State};
use crate::rebuild;
use crate::service::Missing;
use crate::service::acts::By;
use crate::service::frame::{Doing, Frame, heard};
use crate::service::{Error, Service, http, migrate, own, parts, wait};
use crate::wire::codec::Codec;
use crate::wire::message::Message as _;
use crate::wire::topics;

/// How long the session of one that was killed may be seen.
const GONE: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The lock that one of them has.
const LOCK: &str = "farandole/from-nothing";
/// The scope of the mark in the step log.
const MARK: &str = "from-nothing";

/// What topics hold of a service whose database is lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FromNothing {
    /// Whose.
    pub service: String,
    /// Its own topic, the log of its state.
    pub topic: String,
    /// Offsets that the topic holds.
    pub records: i64,
    /// Entries of the journal.
    pub journal: u64,
    /// The journal's beginning has expired, or it is gone: what was parked or dropped before isn't known.
    pub journal_cut: bool,
    /// When the last checkpoint was taken, RFC 3339; none if there is none: then every topic is read from its beginning.
    pub checkpoint: Option<String>,
    /// By topic/partition, the offset from which it is read.
    pub positions: BTreeMap<String, i64>,
    /// Inputs that are parked again.
    pub parked: usize,
    /// Of these, those whose topics don't hold them any more: they are lost.
    pub gone: Vec<String>,
    /// Inputs that were dropped, and stay so.
    pub dropped: usize,
    /// An earlier run was broken off.
    pub resumed: bool,
    /// What was folded, once it was.
    pub healed: Option<heal::Report>,
    /// Whether it was done.
    pub done: bool,
}

impl fmt::Display for FromNothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, topic, records, journal, .. } = self;
        writeln!(f, "{service}: from nothing but its topics")?;
        if self.resumed {
            writeln!(f, "  an earlier run was interrupted; this one continues it")?;
        }
        writeln!(f, "  state, deadlines, effects and answers: {topic}, {records} offset(s)")?;
        match &self.checkpoint {
            Some(at) => writeln!(f, "  positions: the checkpoint of {at}, from {journal} journal entries")?,
            None => writeln!(f, "  positions: the journal holds no checkpoint, so every topic is read from its beginning")?,
        }
        for (partition, offset) in &self.positions {
            writeln!(f, "  {partition} will be read again from offset {offset}")?;
        }
        writeln!(f, "  parked again: {} input(s); dropped before, and not applied: {}", self.parked, self.dropped)?;
        for at in &self.gone {
            writeln!(f, "  {at} was parked, and its topic no longer holds it: lost")?;
        }
        writeln!(f, "can't come back")?;
        writeln!(f, "  what was committed and never published; the answers of commands that led to no event")?;
        if self.journal_cut {
            writeln!(
                f,
                "  what was parked or dropped in the part of the journal that is gone: it was not applied, and isn't from now on"
            )?;
        }
        writeln!(f, "  ids of foreign records: a producer's repetition of one that was applied before is applied again")?;
        match &self.healed {
            Some(healed) => {
                let folded: u64 =
                    healed.partitions.iter().filter(|partition| partition.folded).map(|partition| partition.missing).sum();
                healed.torn.iter().try_for_each(|torn| writeln!(f, "  only {torn} reached the topic; the others are lost"))?;
                writeln!(
                    f,
                    "done: {folded} event(s) folded, {} effect(s) to be run again under their idempotency keys, {} input(s) parked",
                    healed.effects.unwrap_or(0),
                    self.parked
                )?;
                writeln!(
                    f,
                    "start {service}, then compare with `{service} rebuild --verify`; `{service} positions` shows where it reads"
                )
            }
            None => writeln!(f, "nothing was changed; apply with `{service} rebuild --from-nothing --execute`"),
        }
    }
}

impl<P: Participant, E> Service<P, E> {
    /// Makes the service's database from its topics alone: tables, state, deadlines, effects, answers, positions and what was parked. For
    /// a database that is lost: it has to be empty. Says what it would do unless told to `execute`.
    ///
    /// # Errors
    /// When the database isn't empty, or a topic has lost its beginning; and when Kafka, PostgreSQL or a schema can't be reached.
    pub async fn rebuild_from_nothing(&self, config: &Config, execute: bool, by: Option<By<'_>>) -> Result<FromNothing, Error> {
        self.rebuild_from_nothing_with(config, execute, &heal::Choices::default(), by).await
    }

    /// The same, with a person's decisions: records to pass over.
    ///
    /// # Errors
    /// As [`Service::rebuild_from_nothing`].
    pub async fn rebuild_from_nothing_with(
        &self,
        config: &Config,
        execute: bool,
        choices: &heal::Choices,
        by: Option<By<'_>>,
    ) -> Result<FromNothing, Error> {
        let frame = &self.frame;
        let (mut report, told) = frame.survey(config).await?;
        if !execute {
            return Ok(report);
        }
        // Until this ends, or its session does: a second one is told who is at it.
        let mut alone = parts::open(&parts::connect_options(&config.database)?, session::Purpose::Long).await?;
        own::introduce(&mut alone, &format!("{} rebuild --from-nothing", P::NAME)).await?;
        let until = Instant::now() + GONE;
        while let Err(who) = locks::alone(&mut alone, LOCK).await.map_err(failed("looking for another rebuild from nothing"))? {
            if Instant::now() > until {
                return Err(Error::Rebuild(rebuild::Error::Running { service: P::NAME, who }));
            }
            tokio::time::sleep(LOOK).await;
        }
        frame.restore(config, &told, &mut report).await?;
        let (pools, codec) = frame.ground(config).await?;
        let prefix = &config.topics.prefix;
        let hears = P::Heard::topics().into_iter().map(|topic| heard(prefix, &frame.mappings, topic)).collect();
        let fold =
            heal::Folding::new(Arc::clone(&self.participant), codec, report.topic.clone(), hears).since(told.since.clone());
        let relay = parts::relay_config(P::NAME, config);
        let healed = heal::heal_with(&pools.relay, &relay, &fold, heal::Mode::Execute, choices).await;
        pools.close().await;
        report.healed = Some(healed.map_err(Error::Heal)?);
        frame.end_restore(config, &told).await?;
        self.rebuilding(config, None, async |rebuild| rebuild.derive(true).await).await?;
        report.done = true;
        let _ = alone.close().await; // what was done is committed
        let outcome = format!(
            "positions as of {}, {} input(s) parked",
            report.checkpoint.as_deref().unwrap_or("no checkpoint"),
            report.parked
        );
        self.tell(config, by, "rebuild --from-nothing", &report.topic, &outcome).await?;
        Ok(report)
    }
}

fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::Database { doing, source }
}

impl Frame {
    /// Looks at the topics and at the database, and changes nothing.
    fn survey<'a>(&'a self, config: &'a Config) -> Doing<'a, (FromNothing, Journalled)> {
        Box::pin(async move {
            parts::check(&self.contract, config)?;
            let name = self.contract.name;
            let options = parts::connect_options(&config.database)?;
            surroundings::server(&options).await.map_err(Error::Surroundings)?;
            let mut conn = parts::open(&options, session::Purpose::Any).await?;
            let resumed = self.is_empty(&mut conn).await?;
            let _ = conn.close().await; // it only read
            let topic = topics::own(&config.topics.prefix, name);
            let relay = parts::relay_config(name, config);
            let kafka = relay.client();
            let extents = ends::extents(kafka.clone(), vec![topic.clone()]).await.map_err(Error::Relay)?;
            if extents.is_empty() {
                return Err(Error::NothingLeft { topic });
            }
            if let Some(cut) = extents.iter().find(|extent| extent.low > 0) {
                return Err(Error::BeginningGone { topic, partition: cut.partition, low: cut.low });
            }
            let mut first = State::first(String::new());
            first.source = relay.source.clone();
            let codec = Codec::uncached(&config.registry).encoding(self.encoding);
            let journal = topics::journal("", &topic);
            let told = restore::read(kafka, codec, Own::of(name, &first), journal).await.map_err(Error::Restore)?;
            let report = FromNothing {
                service: name.to_owned(),
                topic,
                records: extents.iter().map(|extent| extent.high - extent.low).sum(),
                journal: told.records,
                journal_cut: told.is_cut,
                checkpoint: told.checkpoint.clone(),
                positions: told.positions.iter().map(|(at, position)| (at.clone(), position.next_offset)).collect(),
                parked: told.to_park().count(),
                dropped: told.dropped.len() + told.dropped_tasks.len(),
                resumed,
                ..FromNothing::default()
            };
            Ok((report, told))
        })
    }

    /// Refuses a heal of a database that has nothing where the topic has events: it is in place of one that was lost. A heal would bring back no
    /// positions, nothing that was parked, and what was dropped would be decided again.
    pub(super) fn not_lost<'a>(&'a self, config: &'a Config) -> Doing<'a, ()> {
        Box::pin(async move {
            let mut conn = parts::open(&parts::connect_options(&config.database)?, session::Purpose::Any).await?;
            let empty = self.is_empty(&mut conn).await;
            let _ = conn.close().await; // it only read
            if !matches!(empty, Ok(false)) {
                return Ok(());
            }
            let topic = topics::own(&config.topics.prefix, self.contract.name);
            let extents = ends::extents(parts::relay_config(self.contract.name, config).client(), vec![topic.clone()]).await;
            match extents.map_err(Error::Relay)?.iter().any(|extent| extent.high > extent.low) {
                true => Err(Error::Lost { service: self.contract.name, topic }),
                false => Ok(()),
            }
        })
    }

    /// Refuses a database that holds something; whether an earlier run has begun in it.
    async fn is_empty(&self, conn: &mut PgConnection) -> Result<bool, Error> {
        let doing = "looking whether the database is empty";
        let kits: bool = sqlx::query_scalar("select to_regclass('farandole.steps') is not null")
            .fetch_one(&mut *conn)
            .await
            .map_err(failed(doing))?;
        if kits && step::latest::<bool>(conn, MARK).await.map_err(|e| Error::Relay(e.into()))?.is_some_and(|(_, open)| open) {
            return Ok(true);
        }
        let holds = |what: String| Err(Error::NotEmpty { what });
        if kits {
            let state = step::latest::<State>(conn, SCOPE).await.map_err(|e| Error::Relay(e.into()))?;
            if state.is_some_and(|(_, state)| state.next > 1 || !state.heads.is_empty()) {
                return holds("the state of a relay that has published".to_owned());
            }
        }
        for table in kits.then_some(["farandole.outbox", "farandole.tasks", "farandole.parked"]).into_iter().flatten() {
            if any(conn, table).await.map_err(failed(doing))? {
                return holds(format!("rows in {table}"));
            }
        }
        for table in self.contract.tables {
            let there: bool = sqlx::query_scalar("select to_regclass(quote_ident($1)) is not null")
                .bind(table)
                .fetch_one(&mut *conn)
                .await
                .map_err(failed(doing))?;
            if there && any(conn, &format!("\"{table}\"")).await.map_err(failed(doing))? {
                return holds(format!("rows in {table}"));
            }
        }
        Ok(false)
    }

    /// Makes the tables and writes what the journal tells, with the mark.
    fn restore<'a>(&'a self, config: &'a Config, told: &'a Journalled, report: &'a mut FromNothing) -> Doing<'a, ()> {
        Box::pin(async move {
            let checks = http::Checks::default();
            let patience = wait::Patience { checks: &checks, limit: Some(config.process.wait) };
            migrate::tables(&patience, self, config, Missing::Make).await?;
            if report.resumed {
                return Ok(());
            }
            // The journal may be lost as well.
            topics::ensure_with_journal(&config.kafka, &config.topics, self.contract.name, config.topics.create)
                .await
                .map_err(Error::Topics)?;
            let relay = parts::relay_config(self.contract.name, config);
            let kafka = relay.client();
            let doing = "writing positions and what was parked";
            let mut conn = parts::open(&parts::connect_options(&config.database)?, session::Purpose::Long).await?;
            let mut tx = session::begin(&mut conn).await.map_err(failed(doing))?;
            step::append(&mut tx, MARK, None, &true).await.map_err(|e| Error::Relay(e.into()))?;
            report.gone = told.write(&mut tx, self.contract.name, &kafka).await.map_err(Error::Restore)?;
            report.parked -= report.gone.len();
            tx.commit().await.map_err(failed(doing))?;
            let _ = conn.close().await; // what was done is committed
            Ok(())
        })
    }

    /// Closes tasks that were dropped, and takes the mark away.
    fn end_restore<'a>(&'a self, config: &'a Config, told: &'a Journalled) -> Doing<'a, ()> {
        Box::pin(async move {
            let doing = "ending the rebuild";
            let mut conn = parts::open(&parts::connect_options(&config.database)?, session::Purpose::Long).await?;
            let mut tx = session::begin(&mut conn).await.map_err(failed(doing))?;
            told.close(&mut tx).await.map_err(Error::Restore)?;
            let gone = sqlx::query("delete from farandole.steps where scope = $1").bind(MARK).execute(&mut *tx).await;
            gone.map_err(failed(doing))?;
            tx.commit().await.map_err(failed(doing))?;
            let _ = conn.close().await; // what was done is committed
            Ok(())
        })
    }
}

/// Whether a table of the service's or the kit's has a row.
async fn any(conn: &mut PgConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(AssertSqlSafe(format!("select exists (select from {table})"))).fetch_one(conn).await
}
