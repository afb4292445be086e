//! The worker of one partition: takes queued records, checks the chain, runs batches.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::consume::intake::judge::{Item, Judged, judge};
use crate::consume::intake::lag::LastEventTime;
use crate::consume::intake::lane::{Batch, Lane};
use crate::consume::intake::older::{Coming, Older};
use crate::consume::intake::position::Position;
use crate::consume::intake::queue::Waiting;
use crate::consume::intake::troubles::Of;
use crate::consume::intake::{Config, Troubles, broken, ignored};
use crate::consume::metrics;
use crate::database::sessions::with_conn;
use crate::database::step;
use crate::engine::Decoded;
use crate::engine::{self, AnyProcessor};
use crate::ground::backoff::{Backoff, Waits};
use crate::ground::error::chain_of;
use crate::ground::told::Told;
use crate::ground::trouble::{Trouble, Troubled as _};
use crate::parking::Fault;

/// Before the next try at a batch that met another's: its row is free in a moment.
const COLLISION: Duration = Duration::from_millis(5);
/// Waits before the first is told: a restart of a server isn't news.
const QUIET_WAITS: u32 = 3;
/// Tries of an input that fails alone for a reason that isn't clearly its own: some ten seconds, in which a server that was short of
/// memory for a moment has it again. Much longer, and one input would hold up its partition; it is tried again where it parks, too.
const ALONE: u32 = 8;
/// New sessions, before what they fail of is taken for something else's trouble.
const FRESH: u32 = 3;
/// Steps kept of a position, and how many batches pass between trims.
const KEEP: u32 = 10;
const TRIM_EVERY: u64 = 200;
/// After how long a quiet partition's position is written when nothing came of its last records.
const WRITE_AFTER: Duration = Duration::from_secs(1);
/// The same for a partition on which only such records come: bounds what is read again after a crash.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// How often a partition that stands looks whether its position was set by hand.
const LOOK: Duration = Duration::from_secs(3);
/// The same for one that is well and has nothing to read: as often as an operator waits for without a question to each partition's
/// database every moment.
const LOOK_IDLE: Duration = Duration::from_secs(10);

/// How a worker ended.
pub(super) enum End {
    /// It was told to.
    Stopped,
    /// Another owner has moved the position: start again from what the database says.
    Fenced,
}

pub(super) struct Worker {
    pub engine: Arc<dyn AnyProcessor>,
    pub config: Arc<Config>,
    pub topic: String,
    pub partition: i32,
    pub scope: String,
    pub step: Option<i64>,
    /// What that step says, and under which comparison of the database it was read or written; none until something is written.
    pub written: Arc<Position>,
    pub compared: Option<u64>,
    pub position: Position,
    /// Why nothing of this partition can be read.
    pub broken: Option<String>,
    /// The topic's id, once it is known.
    pub id: watch::Receiver<Option<String>>,
    /// Since when `position` is ahead of the step, if it is: nothing came of the records in between.
    pub unwritten: Option<Instant>,
    pub lane: Lane,
    /// The next offset, for Kafka's lag tools.
    pub next: Arc<AtomicI64>,
    /// The last record applied, for our own gauge.
    pub applied: LastEventTime,
    pub troubles: Troubles,
    /// Of what it waits for.
    pub told: Told,
    /// Whether records of an older lineage go on coming.
    pub coming: Coming,
    pub stop: CancellationToken,
    pub batches: u64,
    /// Where the next trim of its steps begins.
    pub first_step: i64,
}

impl Worker {
    pub(super) async fn run(mut self, waiting: Waiting) -> End {
        // There from the start: who watches a counter sees its first step.
        metrics::OLDER.add(0, [self.topic.clone().into()]);
        let ended = self.work(waiting).await;
        self.troubles.say(Of::Older(self.topic.clone(), self.partition), None);
        ended
    }

    async fn work(&mut self, mut waiting: Waiting) -> End {
        let stop = self.stop.clone();
        if let Some(why) = self.broken.take() {
            return self.stand(why).await;
        }
        self.take_id();
        loop {
            if self.coming.is_over(Instant::now()) {
                self.troubles.say(Of::Older(self.topic.clone(), self.partition), None);
            }
            let look = if self.troubles.has(&self.topic, self.partition) { LOOK } else { LOOK_IDLE };
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                record = waiting.next() => match record { Some(record) => record, None => return End::Stopped },
                Ok(()) = self.id.changed() => {
                    self.take_id();
                    continue;
                }
                () = tokio::time::sleep(look), if self.unwritten.is_none() => {
                    // What has nothing to read brings nothing that would be fenced.
                    if self.is_moved().await {
                        return End::Fenced;
                    }
                    continue;
                }
                () = tokio::time::sleep(WRITE_AFTER), if self.unwritten.is_some() => {
                    if let Err(end) = self.write().await {
                        return end;
                    }
                    continue;
                }
            };
            let mut bytes = first.size();
            let mut batch = vec![first];
            let replay = self.position.replay;
            let most = replay.map_or(self.config.max_records, |replay| replay.most().min(self.config.max_records));
            while batch.len() < most && bytes < self.config.max_bytes {
                let Some(record) = waiting.ready() else { break };
                bytes += record.size();
                batch.push(record);
            }
            self.take_id();
            let took = batch.len();
            let Judged { items, passed, repeated, older, broken } = judge(&self.topic, self.position.clone(), batch);
            metrics::DUPLICATES.add(repeated, []);
            self.note_older(older);
            if let Err(end) = self.apply(items).await {
                return end;
            }
            if passed > self.position.next_offset {
                // The last were repetitions: nothing comes of them either.
                self.position.reach(passed);
                self.unwritten.get_or_insert_with(Instant::now);
            }
            if self.unwritten.is_some_and(|since| since.elapsed() > WRITE_WITHIN)
                && let Err(end) = self.write().await
            {
                return end;
            }
            if let Some(replay) = replay
                && stop.run_until_cancelled(tokio::time::sleep(replay.takes(took))).await.is_none()
            {
                return End::Stopped;
            }
            if let Some(broken) = broken {
                let why = broken::words(&self.config, self.engine.reader(), &broken);
                return self.stand(why).await;
            }
        }
    }

    /// Notes the topic's id, if it is known and the position has none.
    fn take_id(&mut self) {
        let Some(id) = self.id.borrow_and_update().clone().filter(|_| self.position.topic_id.is_none()) else { return };
        self.position.topic_id = Some(id);
        // Written soon: what isn't there can't be compared.
        if self.position.next_offset > 0 {
            self.unwritten.get_or_insert_with(Instant::now);
        }
    }

    /// Counts records of older lineages, and says so if they go on coming.
    fn note_older(&mut self, (count, last): (u64, Option<Older>)) {
        let Some(last) = last else { return };
        metrics::OLDER.add(count, [self.topic.clone().into()]);
        let Some(why) = self.coming.note(&self.topic, &last, Instant::now()) else { return };
        if self.coming.told.is_due(&why) {
            tracing::error!(topic = self.topic, partition = self.partition, why, "two histories in one topic");
        }
        self.troubles.say(Of::Older(self.topic.clone(), self.partition), Some(why));
    }

    /// Says why nothing more of this partition is read, and waits until it is told to stop, or somebody has set the position.
    async fn stand(&self, why: String) -> End {
        tracing::error!(topic = self.topic, partition = self.partition, why, "partition stopped");
        self.troubles.set(&self.topic, self.partition, Some(why));
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return End::Stopped,
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.is_moved().await {
                return End::Fenced;
            }
        }
    }

    /// Whether the position is another than this worker has written.
    async fn is_moved(&self) -> bool {
        let latest =
            async |conn: &mut PgConnection| step::latest::<Position>(conn, &self.scope).await.map_err(sqlx::Error::decode);
        let latest = with_conn!(self.engine.sessions(), conn => latest(conn));
        latest.is_ok_and(|latest| latest.map(|(step, _)| step) != self.step)
    }

    /// Applies the items in order, in as few runs as it takes. Comes back early only with how the worker ends.
    async fn apply(&mut self, items: Vec<Item>) -> Result<(), End> {
        self.prepare(&items).await?;
        let items = Arc::new(items);
        let passed = self.engine.sessions().passed();
        let mut parts: VecDeque<(Range<usize>, Option<Fault>)> = VecDeque::from([(0..items.len(), None)]);
        while let Some((part, doomed)) = parts.pop_front() {
            match self.part(&items, part.clone(), doomed, passed).await? {
                Done::All => {}
                Done::UpTo(end) => parts.push_front((end..part.end, None)),
                Done::Culprit(fault) if part.len() == 1 => parts.push_front((part, Some(fault))),
                Done::Culprit(_) => {
                    let middle = part.start + part.len() / 2;
                    parts.push_front((middle..part.end, None));
                    parts.push_front((part.start..middle, None));
                }
            }
        }
        Ok(())
    }

    /// Writes where the partition is, although nothing came of the records before that.
    async fn write(&mut self) -> Result<(), End> {
        let (scope, after) = (self.scope.clone(), self.position.clone());
        let (step, before, compared) = (self.step, Arc::clone(&self.written), self.compared);
        let batch = Batch { scope, step, before, compared, after, items: Arc::default(), records: Vec::new(), unreadable: None };
        let Some(ran) = self.lane.run(Vec::new(), batch).await else { return Err(End::Stopped) };
        match ran.result {
            Ok(()) => self.moved(ran.batch).await,
            Err(error) if matches!(*error, engine::Error::Fenced(_)) => return Err(End::Fenced),
            Err(error) => tracing::debug!(error = chain_of(&*error), "position not written; retrying later"),
        }
        Ok(())
    }

    /// Waits until the writers' schemas are there.
    async fn prepare(&mut self, items: &[Item]) -> Result<(), End> {
        let mut waits = Backoff::SERVER.waits();
        while let Err(error) = self.engine.codec().prepare(items.iter().filter_map(|i| i.record.schema_id())).await {
            self.wait(&mut waits, chain_of(&error)).await?;
        }
        Ok(())
    }

    /// One run through the lane over the items up to the first that can't be read, or over a single `doomed` one, which parks.
    /// `passed` were the batches that had gone well before all this.
    async fn part(
        &mut self,
        items: &Arc<Vec<Item>>,
        range: Range<usize>,
        doomed: Option<Fault>,
        passed: u64,
    ) -> Result<Done, End> {
        let (mut works, mut records, mut unreadable, mut end) = (Vec::new(), Vec::new(), None, range.start);
        let mut ignored = Vec::new();
        for i in range.clone() {
            let record = &items[i].record;
            end = i + 1;
            let said = items[i].fault.clone().map_or_else(|| self.engine.read(record), Decoded::Fault);
            let fault = match said {
                Decoded::Ignored => continue,
                Decoded::Unknown => {
                    ignored.push(i);
                    continue;
                }
                Decoded::Fault(fault) => (record.aggregate(), fault),
                Decoded::Input(work) => match (self.engine.aggregate(&work), &doomed) {
                    (Ok(aggregate), None) => {
                        records.push((i, aggregate));
                        works.push(work);
                        continue;
                    }
                    (Ok(aggregate), Some(fault)) => (aggregate, fault.clone()),
                    (Err(error), _) => (record.aggregate(), Fault { reason: error.to_string(), transient: false }),
                },
            };
            unreadable = Some((i, fault.0, fault.1));
            break;
        }
        let Some(last) = items.get(..end).and_then(<[Item]>::last) else { return Ok(Done::All) };
        let mut after = self.position.clone();
        items[range.start..end].iter().for_each(|item| after.pass(&item.record, item.head));
        if works.is_empty() && unreadable.is_none() {
            // Nothing to do: the position is written with the next batch, or after a while.
            ignored.iter().for_each(|i| ignored::count(&items[*i].record));
            self.applied.set(&last.record);
            self.position = after;
            self.unwritten.get_or_insert_with(Instant::now);
            return Ok(Done::All);
        }
        let (scope, step, before, compared) = (self.scope.clone(), self.step, Arc::clone(&self.written), self.compared);
        let mut batch = Batch { scope, step, before, compared, after, items: items.clone(), records, unreadable };
        let (mut waits, mut tries) = (Backoff::SERVER.waits(), 0);
        loop {
            let Some(ran) = self.lane.run(works, batch).await else { return Err(End::Stopped) };
            (works, batch) = (ran.works, ran.batch);
            let Err(error) = ran.result else { break };
            let (alone, about) = (range.len() == 1, error.trouble());
            tries += 1;
            // Whether it is likely to be of this input's making: as long as others pass, what fails alone isn't everybody's.
            let others_pass = || self.engine.sessions().passed() > passed;
            match (&*error, about) {
                (engine::Error::Fenced(why), _) => {
                    tracing::warn!(topic = self.topic, partition = self.partition, why, "this partition has another owner");
                    return Err(End::Fenced);
                }
                // As much as there is room for; then this waits.
                (engine::Error::Full(why), _) if !alone => return Ok(Done::culprit(why.clone(), true)),
                (engine::Error::Full(why), _) => self.wait(&mut waits, why.clone()).await?,
                (error, Trouble::Collision) => {
                    tracing::debug!(error = chain_of(error), "retrying");
                    tokio::time::sleep(COLLISION).await;
                }
                (error, about) if doomed.is_none() && (about.halves() || about == Trouble::Session && tries >= FRESH) => {
                    let parks = match about {
                        _ if !alone => true,
                        Trouble::Input => true,
                        Trouble::Size => tries >= ALONE,
                        _ => tries >= ALONE && others_pass(),
                    };
                    if parks {
                        let inputs = range.len();
                        tracing::debug!(error = chain_of(error), inputs, "isolating the input that can't be stored");
                        return Ok(Done::culprit(chain_of(error), about != Trouble::Input));
                    }
                    if about == Trouble::Person && tries == ALONE {
                        tracing::error!(
                            topic = self.topic,
                            partition = self.partition,
                            error = chain_of(error),
                            "this needs an operator"
                        );
                    }
                    self.wait(&mut waits, chain_of(error)).await?;
                }
                (error, _) => self.wait(&mut waits, chain_of(error)).await?,
            }
        }
        ignored.iter().for_each(|i| ignored::count(&items[*i].record));
        self.applied.set(&last.record);
        self.moved(batch).await;
        Ok(if end == range.end { Done::All } else { Done::UpTo(end) })
    }

    /// The position is written, as the step after the last.
    async fn moved(&mut self, Batch { after: position, compared, .. }: Batch) {
        self.step = Some(self.step.unwrap_or(0) + 1);
        (self.written, self.compared) = (Arc::new(position.clone()), compared);
        self.next.store(position.next_offset, Ordering::Relaxed);
        (self.position, self.unwritten) = (position, None);
        self.told.over();
        self.troubles.set(&self.topic, self.partition, None);
        self.batches += 1;
        if self.batches.is_multiple_of(TRIM_EVERY) {
            let trimmed = with_conn!(self.engine.sessions(), conn => async {
                step::trim(conn, &self.scope, self.first_step, KEEP).await.map_err(sqlx::Error::decode)
            });
            match trimmed {
                Ok(first) => self.first_step = first,
                Err(error) => tracing::debug!(error = chain_of(&error), "positions not trimmed; retrying later"),
            }
        }
    }

    async fn wait(&mut self, waits: &mut Waits, why: String) -> Result<(), End> {
        if waits.tries() >= QUIET_WAITS && self.told.is_due(&why) {
            tracing::warn!(topic = self.topic, partition = self.partition, why, "waiting for the system");
        }
        self.troubles.set(&self.topic, self.partition, Some(why));
        tokio::select! {
            () = self.stop.cancelled() => return Err(End::Stopped),
            () = tokio::time::sleep(waits.next_wait()) => {}
        }
        Ok(())
    }
}

enum Done {
    All,
    /// The items before this one.
    UpTo(usize),
    /// Nothing: the database refuses one of them, or all at once.
    Culprit(Fault),
}

impl Done {
    fn culprit(reason: String, transient: bool) -> Self {
        Self::Culprit(Fault { reason, transient })
    }
}
