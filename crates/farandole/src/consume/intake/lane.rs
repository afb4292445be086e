//! Lanes: what waits of several partitions goes into one transaction.
//!
//! A worker reads and checks its partition, and hands the result to its lane; the lane takes whatever waits, of all its
//! partitions, and runs it at once. So round trips and the commit are shared, and partitions that touch the same rows (the
//! stock of an article) don't wait for each other's locks. What fails together is tried apart: one partition's trouble is
//! none of the others'.
//!
//! A partition's number decides its lane. Topics are keyed alike, so all that is about one aggregate meets in one lane, and
//! two lanes contend only for rows that aggregates share.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use tokio::sync::{mpsc, oneshot};

use crate::consume::intake::foreign_dedup;
use crate::consume::intake::healed_inputs::HealedInputs;
use crate::consume::intake::judge::Item;
use crate::consume::intake::position::Position;
use crate::consume::metrics;
use crate::database::step::{self, Append};
use crate::engine::{AnyProcessor, AnyWork, Error, Source, Verdict};
use crate::ground::error::chain_of;
use crate::parking::Fault;
use crate::parking::input::What;
use crate::parking::journal::Journal;
use crate::parking::{self, Limits, Parked, Why};

/// Inputs a transaction, but for a single portion that is larger: more gain nothing, and what a commit holds locked stays small.
const INPUTS: usize = 1_000;
/// Portions that may wait: each worker has one at most.
const WAITING: usize = 64;

/// What a partition wants applied, and where that leaves it.
pub(super) struct Batch {
    pub scope: String,
    pub step: Option<i64>,
    /// What that step says, and under which comparison of the database it was read or written.
    pub before: Arc<Position>,
    pub compared: Option<u64>,
    pub after: Position,
    /// What was read; the works below are of some of these.
    pub items: Arc<Vec<Item>>,
    /// The item of each work, and its aggregate.
    pub records: Vec<(usize, String)>,
    /// An item that could not be read or stored, and under what it parks.
    pub unreadable: Option<(usize, String, Fault)>,
}

/// A batch on its way through a lane.
struct BatchRequest {
    works: Vec<AnyWork>,
    batch: Batch,
    reply: oneshot::Sender<BatchResult>,
}

/// A batch after its run: stored whole, or not at all and to be tried again.
pub(super) struct BatchResult {
    pub works: Vec<AnyWork>,
    pub batch: Batch,
    pub result: Result<(), Arc<Error>>,
}

/// Where workers hand in their batches.
#[derive(Clone)]
pub(super) struct Lane(mpsc::Sender<BatchRequest>);

impl Lane {
    /// A lane, and what runs it until its last handle is gone.
    pub(super) fn new(engine: Arc<dyn AnyProcessor>, limits: Limits) -> (Self, impl Future<Output = ()> + Send) {
        let (requests, waiting) = mpsc::channel(WAITING);
        (Self(requests), run(engine, limits, waiting))
    }

    /// Runs a batch, with whatever else waits. None when the lane has ended.
    pub(super) async fn run(&self, works: Vec<AnyWork>, batch: Batch) -> Option<BatchResult> {
        let (reply, ran) = oneshot::channel();
        self.0.send(BatchRequest { works, batch, reply }).await.ok()?;
        ran.await.ok()
    }
}

async fn run(engine: Arc<dyn AnyProcessor>, limits: Limits, mut queue: mpsc::Receiver<BatchRequest>) {
    let (mut waiting, mut applied) = (Vec::new(), HealedInputs::default());
    while !waiting.is_empty() || queue.recv_many(&mut waiting, WAITING).await > 0 {
        while let Ok(request) = queue.try_recv() {
            waiting.push(request);
        }
        let (mut inputs, mut scopes) = (0, HashSet::new());
        // Of one partition only one: a second is that of a worker that was given up, or of its successor.
        let fits = |request: &&BatchRequest| {
            inputs += request.works.len();
            inputs <= INPUTS && scopes.insert(request.batch.scope.clone())
        };
        let some = waiting.iter().take_while(fits).count().max(1);
        together(&*engine, limits, &mut applied, waiting.drain(..some).collect()).await;
    }
}

async fn together(engine: &dyn AnyProcessor, limits: Limits, applied: &mut HealedInputs, mut requests: Vec<BatchRequest>) {
    let result = transaction(engine, limits, applied, &mut requests).await;
    if requests.len() > 1 && result.as_ref().is_err_and(Error::is_isolatable) {
        for request in requests {
            let mut alone = vec![request];
            let result = transaction(engine, limits, applied, &mut alone).await.map_err(Arc::new);
            answer(alone, &result);
        }
        return;
    }
    answer(requests, &result.map_err(Arc::new));
}

fn answer(requests: Vec<BatchRequest>, result: &Result<(), Arc<Error>>) {
    for BatchRequest { works, batch, reply } in requests {
        let _ = reply.send(BatchResult { works, batch, result: result.clone() }); // a worker that has gone is fenced by its step
    }
}

async fn transaction(
    engine: &dyn AnyProcessor,
    limits: Limits,
    applied: &mut HealedInputs,
    requests: &mut [BatchRequest],
) -> Result<(), Error> {
    let counts: Vec<usize> = requests.iter().map(|p| p.works.len()).collect();
    let mut works: Vec<AnyWork> = requests.iter_mut().flat_map(|p| std::mem::take(&mut p.works)).collect();
    let batches = requests.iter().map(|p| &p.batch).collect();
    let (reader, journal) = (engine.reader(), engine.journal());
    let mut source = LaneSource { reader, batches, limits, journal, applied, comparison: None, repeated: 0 };
    let result = engine.run(&mut works, &mut source).await.map(drop);
    let comparison = source.comparison;
    if result.is_ok() {
        metrics::DUPLICATES.add(source.repeated, []);
    }
    let mut works = works.into_iter();
    for (request, count) in requests.iter_mut().zip(counts) {
        request.works = works.by_ref().take(count).collect();
        if result.is_ok() {
            request.batch.compared = comparison;
        }
    }
    result
}

/// The batches of several partitions as one source: moves their positions and parks what must be.
struct LaneSource<'a> {
    reader: &'a str,
    batches: Vec<&'a Batch>,
    limits: Limits,
    journal: Option<Journal>,
    applied: &'a mut HealedInputs,
    /// What this run rests on.
    comparison: Option<u64>,
    /// Foreign records that were seen before.
    repeated: u64,
}

impl LaneSource<'_> {
    /// Looks whether positions that come from before the last comparison are still what the database says; where nothing is compared, as by a
    /// reader, which has no topic of its own, all of them. A step's number alone doesn't tell: in a database that was set back and went on,
    /// another step may have it.
    async fn still(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let doubted = |batch: &&&Batch| self.comparison.is_none() || batch.compared != self.comparison;
        for batch in self.batches.iter().filter(doubted) {
            let latest = step::latest::<Position>(conn, &batch.scope).await.map_err(|e| match e {
                step::Error::Database { source, .. } => Error::Database { doing: "looking at a position", inputs: 0, source },
                other => Error::Fenced(chain_of(&other)),
            })?;
            let (step, position) = latest.map(|(step, position)| (step, position.bounded())).unzip();
            if step != batch.step || position.is_some_and(|position| position != *batch.before) {
                return Err(Error::Fenced(format!("{} has changed: the database was rolled back", batch.scope)));
            }
        }
        Ok(())
    }
}

impl Source<()> for LaneSource<'_> {
    /// A position that is taken back is read from again.
    fn comes_again(&self) -> bool {
        true
    }

    fn rests_on(&mut self, comparison: Option<u64>) {
        self.comparison = comparison;
    }

    fn claim<'a>(&'a mut self, conn: &'a mut PgConnection, works: &'a [()]) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(async move {
            self.still(conn).await?;
            let mut records = Vec::with_capacity(works.len());
            for batch in &self.batches {
                records.extend(batch.records.iter().map(|(i, _)| &batch.items[*i].record));
            }
            let at = |doing| Error::database(doing, works.len());
            let mut stand = foreign_dedup::fresh(conn, self.reader, &records).await.map_err(at("looking for foreign records"))?;
            self.repeated = stand.iter().filter(|stands| !**stands).count() as u64;
            let struck = self.applied.strike(conn, self.comparison, self.reader, &records, &mut stand).await;
            struck.map_err(at("looking for inputs that are applied"))?;
            Ok(stand)
        })
    }

    fn settle<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        works: &'a [()],
        verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut parked: Vec<Parked<'_>> = Vec::new();
            let mut verdicts = verdicts.iter();
            for batch in &self.batches {
                for ((i, aggregate), verdict) in batch.records.iter().zip(verdicts.by_ref()) {
                    let why = match verdict {
                        Verdict::Parked(fault) => Why::Fault(fault),
                        Verdict::Held { behind } => Why::Behind(behind),
                        Verdict::Done(_) | Verdict::Refused(_) | Verdict::Lost => continue,
                    };
                    let record = &batch.items[*i].record;
                    let (aggregate, key) = (aggregate.clone(), record.aggregate());
                    parked.push(Parked { aggregate, key, what: What::Record(record), why });
                }
                if let Some((i, aggregate, fault)) = &batch.unreadable {
                    let (record, mut stands) = (&batch.items[*i].record, [true]);
                    let struck = self.applied.strike(conn, self.comparison, self.reader, &[record], &mut stands).await;
                    struck.map_err(Error::database("looking for an input that is applied", works.len()))?;
                    if stands[0] {
                        let (aggregate, key) = (aggregate.clone(), record.aggregate());
                        parked.push(Parked { aggregate, key, what: What::Record(record), why: Why::Fault(fault) });
                    }
                }
            }
            parking::park(conn, self.reader, self.journal.as_ref(), &parked, self.limits).await?;
            let moves: Vec<_> =
                self.batches.iter().map(|b| Append { scope: &b.scope, expected: b.step, state: &b.after }).collect();
            step::append_many(conn, &moves).await.map_err(|e| match e {
                step::Error::Fenced { .. } => Error::Fenced(e.to_string()),
                step::Error::Database { source, .. } => {
                    Error::Database { doing: "moving positions", inputs: works.len(), source }
                }
                other => Error::Fenced(chain_of(&other)),
            })
        })
    }
}
