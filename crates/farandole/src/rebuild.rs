//! Rebuilds a service's tables from its own topic, in a schema of their own, beside the live ones.
//!
//! The topic holds every event that the service has decided, and its tables are nothing but the fold of them. So they can be had back
//! from it: whole, or as they were at some event's number. The live tables aren't touched before the swap, which is one transaction.
//!
//! - **The fold** goes through the topic once, all partitions side by side, in memory, and writes rows in bulk (`fold`).
//!   Rows and how far each partition was folded are one transaction; a rebuild that was broken off goes on from there.
//! - **Memory** is bounded by the rows that are held between two writes, by what is read ahead, and by a filter of the keys that are
//!   stored (some ten bits each).
//! - **Beside a service that runs** the end is moving: the fold follows it, and for the last stretch everybody who decides waits
//!   ([`gate`](crate::database::gate)), the relay publishes what is left, and the fold is compared with the relay's own account of
//!   the topic: the last record of each partition must be the same.
//! - **Further indexes** are made when all rows are there, constraints and triggers with the swap: on the way, rows of several aggregates (stock)
//!   are sums of what was folded so far, and may break a check that holds in the end.
//!
//! **How it would fail without**: without the relay's account, a topic that lost its end would give tables that look whole; without the
//! wait, rows that were decided during the comparison would look like differences, or be lost with the swap.

mod aggregate;
mod attached;
mod compare;
mod derived;
mod error;
mod fit;
mod folding;
mod kept;
mod look;
mod options;
mod progress;
mod read;
mod report;
mod room;
mod shadow;
mod shared;
mod swap;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use sqlx::{Executor as _, PgConnection, PgPool};

use crate::fold::{Events, Folder};
use crate::ground::time::Timestamp;
use crate::parking::acts::Operator;
use crate::participant::Participant;
use crate::participant::table::{Stored, Tables as _};
use crate::publish::relay::own::Own;
use crate::publish::relay::{self, log};
use crate::rebuild::error::database;
use crate::rebuild::fit::Purpose;
use crate::rebuild::folding::Fold;
use crate::rebuild::look::Look;
use crate::rebuild::progress::Progress;
use crate::rebuild::read::{Mark, Reader, client, extents};
use crate::rebuild::shadow::Shadow;
use crate::rebuild::writer::Writer;
use crate::wire::codec::Codec;
use crate::wire::extent::Extent;

pub use derived::{Derived, Filled};
pub use error::Error;
pub use kept::{Cleaned, Kept, RolledBack};
pub use look::Happened;
pub use options::{Options, Until};
pub use report::{AggregateReport, Connections, Difference, Report, TableReport};

/// Rows that change before they are written: together with those that are being written and what is read ahead all the memory used, however
/// long the topic is.
const HELD: usize = 30_000;
/// Events that are folded at once.
const AT_ONCE: usize = 2_000;
/// Sessions with the database: the fold's, one that reads schemas, and one that writes.
const WITH_WRITER: u32 = 3;

/// A service's tables, to be rebuilt.
#[derive(Debug)]
pub struct Rebuild<'a, P> {
    /// Whose.
    pub participant: Arc<P>,
    /// Reads events.
    pub codec: Codec,
    /// Its own topic, with the prefix.
    pub topic: String,
    /// The relay's configuration.
    pub relay: &'a relay::Config,
    /// Where the tables are.
    pub pool: &'a PgPool,
    /// Rows that are held before they are written, and events that are folded at once.
    pub held: usize,
    /// See `held`.
    pub at_once: usize,
    /// Sessions with the database that it may have. It uses one, one more to read schemas by its codec, and a third, if it may, to write rows
    /// while the next events are folded.
    pub sessions: u32,
    /// Records to pass over, as topic/partition@offset: in the service's name, and nothing can be made of them.
    pub pass_over: BTreeSet<String>,
    /// What no event fills.
    pub derived: &'a [Derived],
    /// Who has it done, and where that is told.
    pub told: Option<Operator<'a>>,
}

impl<'a, P: Participant> Rebuild<'a, P> {
    /// One of the tables behind `pool`, told to nobody, with what a service gives it by default.
    pub fn new(participant: Arc<P>, codec: Codec, topic: String, relay: &'a relay::Config, pool: &'a PgPool) -> Self {
        let (held, at_once, sessions, pass_over) = (HELD, AT_ONCE, WITH_WRITER, BTreeSet::new());
        Self { participant, codec, topic, relay, pool, held, at_once, sessions, pass_over, derived: &[], told: None }
    }
}

impl<P: Participant> Rebuild<'_, P> {
    /// Rebuilds, and does what it is told with the result.
    ///
    /// # Errors
    /// See [`Error`]. The live tables are untouched then.
    pub async fn run(&self, options: Options) -> Result<Report, Error> {
        // It is large, and so is whatever waits for it.
        Box::pin(self.rebuilt(options)).await.map_err(|error| error.of(P::NAME))
    }

    async fn rebuilt(&self, options: Options) -> Result<Report, Error> {
        let began = Instant::now();
        let mut conn = self.open().await?;
        let state = log::look(&mut conn).await?.state;
        if state.healing {
            return Err(Error::Healing { service: P::NAME });
        }
        let (own, events) = (Own::of(P::NAME, &state), Events::new(self.codec.clone()));
        let client = client(self.relay.client())?;
        let extents = extents(&client, &self.topic).await?;
        let passed = &self.pass_over;
        let look =
            |extents| Look { client: Arc::clone(&client), own: own.clone(), passed: passed.clone(), service: P::NAME, extents };
        // The journal shares the numbers.
        if let Some(Until::Number(until)) = options.until
            && until >= state.next
        {
            return Err(Error::Beyond { topic: self.topic.clone(), until, last: state.next - 1 });
        }
        let (until, by) = self.until(options.until, look(extents.clone())).await?;
        let live = shadow::live(&mut conn).await?;
        let purpose = if options.execute { Purpose::Swap } else { Purpose::Beside };
        fit::check(&mut conn, &live, &P::Tables::columns(), purpose).await?;
        if options.execute {
            // Before the work, and once more when it is done.
            attached::refuse(&mut conn, &live, P::Tables::names()).await?;
            if !options.accept_defaults {
                derived::refuse(&mut conn, &live, &P::Tables::columns(), self.derived).await?;
            }
        }
        let shadow = Shadow::open(&mut conn, P::NAME, &self.topic, P::Tables::columns(), until).await?;
        if !options.ignore_space {
            room::check(&mut conn, P::NAME, &shadow).await?;
        }
        let mut reader = Reader::new(
            Arc::clone(&client),
            (events, &self.topic),
            own.clone(),
            (until, passed.clone()),
            &shadow.marks,
            self.at_once,
        );
        let left = reader.left(&extents);
        let expected = usize::try_from(left).unwrap_or(0);
        let mut folder = Folder::new(Arc::clone(&self.participant), Stored::Own { expected });
        folder.tables.prepare(&mut conn, shadow.resumed).await.map_err(database("reading which rows are stored"))?;
        let beside = if self.sessions >= WITH_WRITER { Some(self.writing(&shadow).await?) } else { None };
        let writer = Writer::new(beside, shadow.note().1);
        let connections = Connections { used: self.sessions.min(WITH_WRITER), allowed: self.sessions };
        let mut report = Report { by, connections, ..Report::new(P::NAME, &self.topic, &shadow, until) };
        let progress = Progress::new(&self.topic, left, options.bar);
        let (topic, client) = (self.topic.clone(), Arc::clone(&client));
        let mut fold = Fold { topic, held: self.held, client, conn, folder, writer, shadow, progress };
        reader = fold.round(reader, extents).await?;
        if options.until.is_none() {
            reader = fold.follow(reader).await?;
        }
        swap::reached(&state, P::NAME, &self.topic, (&fold.shadow.marks, None))?;
        fold.progress.next("creating indexes");
        fold.shadow.finish(&mut fold.conn).await?;
        report.folded(fold.progress.events, began.elapsed(), &fold.shadow.marks);
        if options.until.is_some() || !(options.verify || options.execute) {
            report.rows = fold.shadow.rows(&mut fold.conn).await?;
            return Ok(report);
        }
        if options.verify {
            let alone;
            (reader, alone) = fold.whole(reader).await?;
            // A snapshot, taken while nobody writes; it is compared while everybody does.
            compare::snapshot(fold.writer.idle().unwrap_or(&mut fold.conn)).await?;
            report.paused(alone.give(&mut fold.conn).await?);
            fold.progress.next("comparing with the live tables");
            let seeing = fold.writer.idle().unwrap_or(&mut fold.conn);
            report.tables = compare::tables(seeing, &fold.shadow).await?;
            compare::end(seeing).await?;
            self.explain(&mut report, &fold.shadow.marks, look).await?;
            if !options.execute || report.differences() > 0 && !options.accept_differences {
                return Ok(report);
            }
            reader = fold.follow(reader).await?;
        }
        let (_, alone) = fold.whole(reader).await?;
        let Fold { mut conn, shadow, .. } = fold;
        let differences = options.verify.then(|| report.differences());
        let (replaced, kept) = swap::swap(&mut conn, &shadow, options.keep, self.told, differences).await?;
        (report.replaced, report.kept) = (Some(replaced), kept);
        report.paused(alone.give(&mut conn).await?);
        shadow.validate(&mut conn).await?;
        self.fill(&mut conn).await?;
        Ok(report)
    }

    /// The number up to which is folded; where that is by a time, the event that it is the number of.
    async fn until(&self, until: Option<Until>, look: Look) -> Result<(Option<i64>, Option<(Timestamp, Happened)>), Error> {
        let time = match until {
            None => return Ok((None, None)),
            Some(Until::Number(number)) => return Ok((Some(number), None)),
            Some(Until::Time(time)) => time,
        };
        let Some(last) = look.last_by(time).await? else {
            return Err(Error::NothingBy { topic: self.topic.clone(), time });
        };
        tracing::info!(
            number = last.number,
            happened = last.time,
            kind = last.kind,
            place = last.place,
            "the last event by {time}"
        );
        Ok((Some(last.number), Some((time, last))))
    }

    /// Adds to differences which event was the last of the aggregate of that key, up to what was folded.
    async fn explain(
        &self,
        report: &mut Report,
        marks: &BTreeMap<i32, Mark>,
        look: impl Fn(Vec<Extent>) -> Look,
    ) -> Result<(), Error> {
        let examples = || report.tables.iter().flat_map(|table| &table.examples);
        let aggregates: Vec<String> = examples().map(|example| example.aggregate.clone()).collect();
        if aggregates.is_empty() {
            return Ok(());
        }
        let topic = &self.topic;
        let folded =
            |(&partition, mark): (&i32, &Mark)| Extent { topic: topic.clone(), partition, low: 0, high: mark.offset + 1 };
        let last = look(marks.iter().map(folded).collect()).last_of(aggregates).await?;
        for example in report.tables.iter_mut().flat_map(|table| &mut table.examples) {
            example.last = last.get(&example.aggregate).cloned();
        }
        Ok(())
    }

    /// Drops all sets of tables beside the live ones, or lists them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn clean(&self, execute: bool) -> Result<Cleaned, Error> {
        let mut conn = self.open().await?;
        shadow::alone(&mut conn, P::NAME, shadow::SHADOW).await?;
        kept::clean(&mut conn, execute).await
    }

    /// Puts the tables that were replaced last back; with `lose` also if something was decided since.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rollback(&self, execute: bool, lose: bool) -> Result<RolledBack, Error> {
        let mut conn = self.open().await?;
        shadow::alone(&mut conn, P::NAME, shadow::SHADOW).await?;
        let live = shadow::live(&mut conn).await?;
        let alone = swap::Alone::take(&mut conn, P::NAME).await?;
        let rolled = kept::rollback(&mut conn, (P::NAME, &self.topic), &live, P::Tables::names(), execute, lose).await?;
        alone.give(&mut conn).await?;
        if rolled.done {
            self.fill(&mut conn).await?;
        }
        Ok(rolled)
    }

    /// Fills what no event does, or says what that is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn derive(&self, execute: bool) -> Result<Filled, Error> {
        let mut conn = self.open().await?;
        if execute {
            self.fill(&mut conn).await?;
        }
        let what: Vec<String> = self.derived.iter().map(|derived| derived.what.to_owned()).collect();
        Ok(Filled { done: execute && !what.is_empty(), what })
    }

    /// Has the service fill what no event does, in tables that are live.
    async fn fill(&self, conn: &mut PgConnection) -> Result<(), Error> {
        conn.execute("reset search_path").await.map_err(database("setting the search path"))?;
        derived::fill(conn, P::NAME, self.derived).await
    }

    /// A session with this service's database, and no other's.
    async fn open(&self) -> Result<PgConnection, Error> {
        let mut conn = self.connect().await?;
        relay::owner::claim(&mut conn, P::NAME, false).await?;
        Ok(conn)
    }

    async fn connect(&self) -> Result<PgConnection, Error> {
        let mut conn = log::connect(
            self.pool,
            "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set client_min_messages = warning",
        )
        .await?;
        // Who is in somebody's way is told by this.
        let named = sqlx::query("select set_config('application_name', $1, false)").bind(format!("{} rebuild", P::NAME));
        named.execute(&mut conn).await.map_err(database("preparing a session"))?;
        Ok(conn)
    }

    /// A session that writes rows to `shadow`.
    async fn writing(&self, shadow: &Shadow) -> Result<PgConnection, Error> {
        let mut conn = self.connect().await?;
        shadow.enter(&mut conn).await?;
        // What the server loses it loses with the note of how far the fold is; the swap comes after it in the log, and is waited for.
        conn.execute("set synchronous_commit = off").await.map_err(database("preparing to write rows"))?;
        Ok(conn)
    }
}
