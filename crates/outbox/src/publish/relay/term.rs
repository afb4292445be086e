//! One term of an owner: from the lease to the first trouble.
//!
//! A round, and how it would fail without each step:
//! 1. **Read what is unsent**, and with it the snapshot B of the same statement. The rows of (A, B) are fixed from here on:
//!    every one of them is committed, and whoever reads (A, B) later reads the same rows. So rows may be read before the step
//!    is taken. Nothing is published yet: had the step been lost, a later batch (A, C) would give them other numbers.
//! 2. **Take the step (A, B)**, durably. If another owner has gone on, it fails and what was read is forgotten. Its flush
//!    makes every commit in the batch durable too: without, a crash of the database could take back what was published.
//! 3. **Publish** in seq order. For one key that is the order of its commits, because rows are appended under its lock; the
//!    order of xid isn't, and a batch that ended at some xid and not at a snapshot would tear a key apart.
//! 4. **Wait for every acknowledgement**, and only then let A := B. The next round's step says so, or a note when there is
//!    nothing more to do. If it is lost, the batch is published again, under the same numbers.
//!
//! A batch too long to hold is read in pages. Each page's end is noted once it is acknowledged, while the next one is already
//! on its way. Numbers run on, so a batch resumed at a note gives the same numbers as one begun again.
//!
//! Whatever fails, the term ends: producer, connections and memory go, and the next term starts from the newest step.

use std::sync::Arc;
use std::time::Instant;

use futures_util::{FutureExt as _, TryStreamExt as _};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use tokio_util::sync::CancellationToken;

use crate::publish::relay::continuity::{self, AllowedRows};
use crate::publish::relay::error::Error;
use crate::publish::relay::log::{self, Log, TIMEOUT, with_timeout};
use crate::publish::relay::produce::Producer;
use crate::publish::relay::publish::Publisher;
use crate::publish::relay::read::{self, RowRef, Unsent};
use crate::publish::relay::state::{InFlight, Snapshot, State};
use crate::publish::relay::{Config, Status, owner};

pub struct Term {
    config: Arc<Config>,
    status: Arc<Status>,
    reader: PgConnection,
    out: Publisher,
    /// The state has moved on since the last step.
    unnoted: bool,
    /// When the partition counts were last compared.
    compared: Instant,
    /// A record was refused: each row is noted before the next goes, so that those before it don't go out again with each try.
    careful: bool,
}

/// What a round came to.
pub enum Round {
    /// Nothing was unsent.
    Idle,
    /// Something went out.
    Busy,
}

impl Term {
    /// Prepares to publish: a producer, the partition counts, the continuity check. On failure the lease is handed back. It is `careful` until
    /// a batch is out.
    pub async fn begin(
        pool: &sqlx::PgPool,
        config: Arc<Config>,
        status: Arc<Status>,
        mut log: Log,
        mut state: State,
        careful: bool,
    ) -> Result<Self, Error> {
        let prepared = async {
            let reader = log::alone(pool, read::SETTINGS).await?;
            let kafka = config.client();
            let producer = Producer::new(&kafka, config.delivery_timeout)?;
            Ok((reader, kafka, producer))
        };
        let (mut reader, kafka, producer) = match prepared.await {
            Ok(parts) => parts,
            Err(e) => return give_up(log, state, None, e).await,
        };
        if !config.forget.is_empty()
            && let Err(e) = forget(&mut reader, &config, &producer, &mut state).await
        {
            return give_up(log, state, Some(producer), e).await;
        }
        let compared = compare(&mut reader, &config, &kafka, &producer, &mut log, &mut state).await;
        match compared {
            Ok(counts) => state.partitions.extend(counts),
            Err(e) => return give_up(log, state, Some(producer), e).await,
        }
        if let Err(e) = with_timeout("checking the database's owner", owner::record(&mut reader, &config.service)).await {
            return give_up(log, state, Some(producer), e).await;
        }
        let out = Publisher::new(&config.service, log, producer, state);
        let mut term = Self { config, status, reader, out, unnoted: false, compared: Instant::now(), careful };
        // Declared topics and their counts may be new to the state.
        term.out.step().await?;
        term.out.log.hold(&term.out.state);
        Ok(term)
    }

    /// One round, as the module's head tells it.
    pub async fn round(&mut self, shutdown: &CancellationToken) -> Result<Round, Error> {
        if self.out.producer.met_another_topic() {
            return Err(Error::Recreated);
        }
        if self.compared.elapsed() >= self.config.compare_every {
            self.compare_counts().await?;
        }
        if self.out.state.in_flight.is_some() {
            self.publish_pages(shutdown).await?;
            return Ok(Round::Busy);
        }
        let (rows, bytes) = (self.config.head_rows, self.config.head_bytes);
        match with_timeout("reading what is unsent", read::unsent(&mut self.reader, &self.out.state.acked, rows, bytes)).await? {
            Unsent::Nothing => {
                if self.unnoted {
                    self.out.note(&mut self.reader).await?;
                    self.unnoted = false;
                } else if self.out.log.is_due() {
                    self.out.step().await?;
                }
                Ok(Round::Idle)
            }
            Unsent::Whole(b, rows) if !self.careful => {
                self.publish_whole(b, &rows).await?;
                Ok(Round::Busy)
            }
            Unsent::Whole(b, _) | Unsent::Many(b) => {
                let nothing_out = self.out.state.published.is_empty();
                let after = if nothing_out { 0 } else { read::before_first(&mut self.reader, &self.out.state.acked, &b).await? };
                self.take(b, after).await?;
                self.publish_pages(shutdown).await?;
                Ok(Round::Busy)
            }
        }
    }

    /// Takes the step (A, B).
    async fn take(&mut self, b: Snapshot, after: i64) -> Result<(), Error> {
        self.out.state.in_flight = Some(InFlight { upto: b, after });
        self.out.step().await?;
        self.unnoted = false;
        Ok(())
    }

    async fn publish_whole(&mut self, b: Snapshot, rows: &[PgRow]) -> Result<(), Error> {
        let rows = rows.iter().map(RowRef::of).collect::<Result<Vec<_>, _>>()?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        for row in &rows {
            if !self.out.knows(row.topic) {
                // Before what may end the term: the next one would publish the batch before again.
                if self.unnoted {
                    self.out.step().await?;
                    self.unnoted = false;
                }
                learn(&self.config, &mut self.out, row.topic).await?;
            }
        }
        self.take(b, first.seq - 1).await?;
        self.out.tick();
        for row in &rows {
            self.out.publish(row).await?;
        }
        self.finish(last.seq, rows.len() as i64).await
    }

    async fn publish_pages(&mut self, shutdown: &CancellationToken) -> Result<(), Error> {
        let Some(mut batch) = self.out.state.in_flight.clone() else { return Ok(()) };
        // The page before: how many records the producer had been given at its end, its rows, and the state to note.
        let mut before: Option<(u64, i64, State)> = None;
        loop {
            let rows = self.publish_page(&mut batch, &mut before).await?;
            let mut page = Some((self.out.producer.sent(), rows, self.out.state_at(batch.after)));
            if self.careful && rows > 0 {
                before = page.take();
            }
            if let Some((sent, rows, state)) = before.take() {
                self.out.wait_for(sent).await?;
                self.out.state = state;
                self.out.step().await?;
                self.status.count(rows, &self.out.state);
            }
            if rows < self.page_rows() {
                return self.finish(batch.after, rows).await;
            }
            before = page;
            if shutdown.is_cancelled() {
                self.out.wait_for(self.out.producer.sent()).await?;
                self.out.state = self.out.state_at(batch.after);
                return Ok(());
            }
        }
    }

    /// Publishes the page after `batch.after`, moves that to its end, and says how many rows it had.
    async fn publish_page(&mut self, batch: &mut InFlight, before: &mut Option<(u64, i64, State)>) -> Result<i64, Error> {
        let mut rows = 0;
        self.out.tick();
        let most = self.page_rows();
        let mut page = read::page(&mut self.reader, &self.out.state.acked, batch, most);
        loop {
            // A row that is there already is taken without the cost of a timer.
            let row = match page.try_next().now_or_never() {
                Some(row) => row.map_err(Error::database("reading a page"))?,
                None => {
                    with_timeout("reading a page", async { page.try_next().await.map_err(Error::database("reading a page")) })
                        .await?
                }
            };
            let Some(row) = row else { return Ok(rows) };
            let row = RowRef::of(&row)?;
            if !self.out.knows(row.topic) {
                self.out.wait_for(self.out.producer.sent()).await?;
                self.out.state = self.out.state_at(batch.after);
                if let Some((_, rows, _)) = before.take() {
                    self.status.count(rows, &self.out.state);
                }
                learn(&self.config, &mut self.out, row.topic).await?;
                self.out.step().await?;
            }
            self.out.publish(&row).await?;
            batch.after = row.seq;
            rows += 1;
        }
    }

    /// Rows that go out before they are noted.
    fn page_rows(&self) -> i64 {
        if self.careful { 1 } else { self.config.page_rows }
    }

    async fn finish(&mut self, last: i64, rows: i64) -> Result<(), Error> {
        self.out.wait_for(self.out.producer.sent()).await?;
        self.out.finish(last);
        self.careful = false;
        self.unnoted = true;
        self.status.count(rows, &self.out.state);
        Ok(())
    }

    async fn compare_counts(&mut self) -> Result<(), Error> {
        self.compared = Instant::now();
        let topics = self.out.state.partitions.keys().cloned().collect();
        if let Some(client) = self.out.producer.client() {
            continuity::compare_counts(&self.out.state, &continuity::counts(client, topics).await?)?;
        }
        Ok(())
    }

    /// Ends the term in good order: the lease is free at once.
    pub async fn release(self) -> Result<(), Error> {
        let Publisher { log, producer, mut state, .. } = self.out;
        let released = log.release(&mut state).await;
        producer.close().await;
        released
    }

    /// Ends the term after trouble. What isn't acknowledged is published again by the next.
    pub async fn abandon(self) {
        self.out.producer.close().await;
    }
}

/// Compares counts and ends of every topic that the state or the configuration names; gives the counts. The lease is kept
/// meanwhile, for a look behind many records of others takes its time.
async fn compare(
    reader: &mut PgConnection,
    config: &Config,
    kafka: &rdkafka::ClientConfig,
    producer: &Producer,
    log: &mut Log,
    state: &mut State,
) -> Result<Vec<(String, i32)>, Error> {
    let Some(client) = producer.client() else { return Ok(Vec::new()) };
    let looked = state.clone();
    let compared = async {
        let topics = continuity::topics(config, &looked);
        let counts = continuity::counts(client, topics.clone()).await?;
        continuity::compare_counts(&looked, &counts)?;
        continuity::check(reader, kafka, &config.service, &looked, topics, AllowedRows::InFlight).await?;
        Ok(counts)
    };
    tokio::pin!(compared);
    loop {
        tokio::select! {
            done = &mut compared => return done,
            () = tokio::time::sleep(log.renew_every()) => log.append(state).await?,
        }
    }
}

/// Forgets those of the named topics that aren't there any more: their heads would be looked for, for ever.
async fn forget(reader: &mut PgConnection, config: &Config, producer: &Producer, state: &mut State) -> Result<(), Error> {
    let Some(client) = producer.client() else { return Ok(()) };
    for topic in &config.forget {
        match continuity::counts(client.clone(), vec![topic.clone()]).await {
            Err(Error::NoTopic { .. }) => {}
            Ok(_) => {
                tracing::warn!(topic, "not forgotten: the topic is still there");
                continue;
            }
            Err(e) => return Err(e),
        }
        state.heads.remove(topic);
        state.partitions.remove(topic);
        state.begin_at.remove(topic);
    }
    with_timeout("forgetting topics", owner::undeclare(reader, &config.forget)).await
}

/// Meets a topic for the first time: it must be there, and hold no records of an earlier life of this service.
async fn learn(config: &Config, out: &mut Publisher, topic: &str) -> Result<(), Error> {
    let Some(client) = out.producer.client() else { return Ok(()) };
    let counts = continuity::counts(client, vec![topic.to_owned()]).await?;
    let kafka = config.client();
    continuity::check_unused(&kafka, &config.service, &out.state, topic).await?;
    for (topic, count) in counts {
        out.learn(&topic, count);
    }
    Ok(())
}

async fn give_up<T>(log: Log, mut state: State, producer: Option<Producer>, error: Error) -> Result<T, Error> {
    if let Some(producer) = producer {
        producer.close().await;
    }
    // The error that counts is the first one.
    let _ = tokio::time::timeout(TIMEOUT, log.release(&mut state)).await;
    Err(error)
}
