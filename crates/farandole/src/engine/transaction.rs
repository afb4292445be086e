//! The batch's transaction.

use std::sync::Arc;

use sqlx::PgConnection;
use tracing::{Instrument as _, Span};

use crate::database::gate::{BEGIN, begin, begin_repeatable};
use crate::database::session::LIMIT;
use crate::database::sessions::Sessions;
use crate::engine::error::{ANSWER, COMMIT, CONNECT};
use crate::engine::idempotency::IdempotencyCache;
use crate::engine::metrics;
use crate::engine::plan::{DecisionContext, Plan, fresh_id, guarded, guarded_async};
use crate::engine::tasks::Opened;
use crate::engine::work::Decoded;
use crate::engine::{Error, Processor, Source, Verdict, Work, ops, read, trace};
use crate::ground::error::chain_of;
use crate::ground::text::name;
use crate::ground::trouble::{Trouble, Troubled as _};
use crate::parking;
use crate::parking::input::Task;
use crate::parking::journal::Journal;
use crate::participant::Participant;
use crate::participant::table::{Keys, Tables};
use crate::publish::outbox;
use crate::publish::relay::History;
use crate::publish::relay::history::Seen;
use crate::wire::codec::Codec;
use crate::wire::per_topic::{PerTopic, Unknown};
use crate::wire::record::Record;

/// Called after a commit that wrote events.
pub type Wake = Box<dyn Fn() + Send + Sync>;
/// Called after a commit that opened tasks.
pub type WakeAgenda = Box<dyn Fn(Opened) + Send + Sync>;

/// Runs batches of inputs through a participant.
pub struct Engine<P: Participant> {
    participant: Arc<P>,
    codec: Codec,
    sessions: Sessions,
    topic: String,
    unknown: PerTopic<Unknown>,
    relay: Wake,
    agenda: WakeAgenda,
    history: Option<History>,
}

impl<P: Participant> std::fmt::Debug for Engine<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl<P: Participant> Engine<P> {
    /// An engine that publishes to `topic` (with its prefix). `relay` and `agenda` are called after commits that wrote events
    /// and opened tasks.
    pub fn new(
        participant: Arc<P>,
        codec: Codec,
        sessions: impl Into<Sessions>,
        topic: String,
        relay: Wake,
        agenda: WakeAgenda,
    ) -> Self {
        Self { participant, codec, sessions: sessions.into(), topic, unknown: PerTopic::default(), relay, agenda, history: None }
    }

    /// Decides only while `history` says that the topics continue what the database knows.
    #[must_use]
    pub fn rests_on(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// What deciding rests on, if on anything.
    pub fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// What becomes of records of types that the participant doesn't know, by their topics' names in Kafka.
    #[must_use]
    pub fn unknown(mut self, unknown: PerTopic<Unknown>) -> Self {
        self.unknown = unknown;
        self
    }

    /// The codec, for who decodes inputs.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The service's journal.
    pub fn journal(&self) -> Journal {
        Journal::beside(&self.topic, self.codec.clone())
    }

    /// The participant.
    pub fn participant(&self) -> &P {
        &self.participant
    }

    /// Where batches run.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Decides all of `works` and stores what follows, in one transaction.
    ///
    /// # Errors
    /// Nothing of the batch has happened, and it may be run again; but see [what it is about](crate::ground::trouble). The one exception is an error
    /// of the commit itself, after which the batch may have happened: sources notice, since their step is then taken.
    pub async fn run(&self, works: &mut [Work<P>], source: &mut dyn Source<Work<P>>) -> Result<Vec<Verdict>, Error> {
        let n = works.len();
        let seen = self.history.as_ref().map(History::seen).transpose().map_err(Error::Parted)?;
        let mut session = self.sessions.acquire().await.map_err(Error::database(CONNECT, n))?;
        let span = trace::batch(n, works.iter().filter_map(|work| work.origin.traceparent.as_deref()));
        let transact = self.transact(&mut session.conn, works, source, seen).instrument(span);
        let result = match tokio::time::timeout(LIMIT, guarded_async(transact)).await {
            // Outside of what is guarded one by one: a value's own code, while it is stored. Nobody knows what the connection was in
            // the middle of, so it goes.
            Ok(Err(panicked)) => Err(panicked),
            // Nobody knows where it is, or it isn't where it should be: the connection goes.
            Ok(Ok(Err(error @ (Error::Parted(_) | Error::Database { doing: BEGIN, .. })))) => Err(error),
            Ok(Ok(done)) => session.release(Ok(done), || given_up(n)).await,
            Err(late) => session.release(Err(late), || given_up(n)).await,
        };
        note(&self.sessions, &result);
        result
    }

    async fn transact(
        &self,
        conn: &mut PgConnection,
        works: &mut [Work<P>],
        source: &mut dyn Source<Work<P>>,
        seen: Option<Seen>,
    ) -> Result<Vec<Verdict>, Error> {
        let n = works.len();
        let at = |doing| Error::database(doing, n);
        source.rests_on(seen.as_ref().map(Seen::comparison));
        let tx = if source.comes_again() { begin_repeatable(conn).await } else { begin(conn).await };
        let mut tx = tx.map_err(at(BEGIN))?;
        let conn = &mut *tx;

        let mut known = IdempotencyCache::lock(conn, &*works).await.map_err(at("locking idempotency keys"))?;
        let mut tables = P::Tables::default();
        let mut keys = Keys::default();
        guarded(|| works.iter().for_each(|w| keys.merge(self.participant.touches(&w.id, &w.input))))?;
        tables.load(conn, &keys).await.map_err(at("loading rows"))?;
        let mut more = Keys::default();
        guarded(|| works.iter().for_each(|w| more.merge(self.participant.touches_more(&tables, &w.id, &w.input))))?;
        tables.load(conn, &more).await.map_err(at("loading more rows"))?;
        if let Some(row) = tables.take_missed() {
            return Err(Error::Untouched(row));
        }

        let standing = source.claim(conn, works).await?;
        let aggregates: Vec<String> = works.iter().map(|work| work.id.to_string()).collect();
        let mut names = Vec::new();
        let called: Vec<_> = aggregates.iter().map(|aggregate| name(aggregate.as_bytes())).collect();
        if !source.releases() {
            let keys = works.iter().filter_map(|w| w.origin.key.as_deref());
            names = called.iter().map(AsRef::as_ref).chain(keys).collect();
            names.sort_unstable();
            names.dedup();
        }
        let ground = parking::among(conn, P::NAME, &names, seen.as_ref()).await;
        let parking::LockedState { now, mut parked, holds } = ground.map_err(at("reading the clock and what is parked"))?;
        if let (false, Some(history), Some(seen)) = (holds, &self.history, &seen) {
            return Err(Error::Parted(history.doubt(seen)));
        }
        for work in works.iter_mut() {
            work.input.at = now;
        }
        let works = &*works;
        let ground = DecisionContext {
            participant: &*self.participant,
            codec: &self.codec,
            topic: &self.topic,
            standing: &standing,
            event_id: &fresh_id,
        };
        let Plan { verdicts, outbox: rows, tasks } = ground.plan(works, &aggregates, &mut tables, &mut known, &mut parked)?;

        let events = trace::events(&Span::current(), &rows);
        tables.store(conn).await.map_err(at("storing rows"))?;
        outbox::append_all(conn, &rows).await.map_err(at("appending to the outbox"))?;
        known.store(conn).await.map_err(at("storing answers"))?;
        let opened = Opened::by(&tasks, now);
        if !tasks.is_empty() {
            ops::apply(conn, P::NAME, Some(&self.journal()), tasks).await?;
        }
        source.settle(conn, works, &verdicts).await?;
        tx.commit().await.map_err(at(COMMIT))?;
        drop(events);

        if !rows.is_empty() {
            (self.relay)();
        }
        if let Some(opened) = opened {
            (self.agenda)(opened);
        }
        metrics::BATCH_INPUTS.record(n as f64, []);
        Ok(verdicts)
    }
}

/// Notes how a batch ended, where its connection came from.
pub(crate) fn note(sessions: &Sessions, result: &Result<Vec<Verdict>, Error>) {
    match result {
        Ok(verdicts) if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Done(_))) => sessions.pass(),
        Err(error @ Error::Database { .. })
            if matches!(error.trouble(), Trouble::Session | Trouble::Dependency | Trouble::Person | Trouble::Size) =>
        {
            sessions.fail(chain_of(error));
        }
        _ => {}
    }
}

/// The error of a batch that took longer than [`LIMIT`].
pub(crate) fn given_up(inputs: usize) -> Error {
    Error::Database { doing: ANSWER, inputs, source: sqlx::Error::PoolTimedOut }
}

impl<P: Participant> Processor for Engine<P> {
    type Work = Work<P>;

    fn reader(&self) -> &str {
        P::NAME
    }

    fn sessions(&self) -> &Sessions {
        self.sessions()
    }

    fn codec(&self) -> &Codec {
        self.codec()
    }

    fn journal(&self) -> Option<Journal> {
        Some(self.journal())
    }

    fn read(&self, record: &Record) -> Decoded<Box<Work<P>>> {
        read::in_chain(&*self.participant, record, &self.codec, self.unknown.of(&record.topic))
    }

    fn task(&self, task: &Task) -> Decoded<Box<Work<P>>> {
        read::task(task)
    }

    fn aggregate(&self, work: &Work<P>) -> Result<String, Error> {
        Ok(name(work.id.to_string().as_bytes()).into_owned())
    }

    async fn run(&self, works: &mut [Work<P>], source: &mut dyn Source<Work<P>>) -> Result<Vec<Verdict>, Error> {
        self.run(works, source).await
    }
}
