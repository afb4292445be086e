//! Handlers over tables of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use farandole::handler::{Error, Handler, Tx};
use farandole::record::Record;
use farandole::{Codec, Message as _, Reader};
use tokio_util::sync::CancellationToken;

use crate::parked::{Topic, until};
use crate::world::{Event, World};

const RECORDS: usize = 20;

/// A reader beside a service, in its database. Guard: what a reader tidies is its own; answers are kept for as long as the service's
/// setting says, which may be longer than the default. Without, a command that comes again is decided again. It takes the minute that
/// lies between two rounds of the tidy.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_leaves_a_services_answers_alone() {
    let (world, topic) = (World::new().await, Topic::new(1).await);
    let old = "insert into farandole.idempotency (scope, key, body_hash, status, answer, at)
               values ('chronicle', 'k', '\\x00', 202, '{}', clock_timestamp() - interval '30 days');
               insert into farandole.strangers (reader, source, id, seen_at)
               values ('gone', 's', 'i', clock_timestamp() - interval '30 days')";
    sqlx::raw_sql(old).execute(&world.pool).await.unwrap();
    let stop = CancellationToken::new();
    let reader = Reader::new(Slow::default(), Codec::offline(Event::TYPES), world.pool.clone(), topic.config(1));
    let reader = tokio::spawn(reader.run(stop.clone()));
    // Answers would go before these.
    until("a round of the tidy", async || world.count("select count(*) from farandole.strangers").await == 0).await;
    assert_eq!(world.count("select count(*) from farandole.idempotency").await, 1);
    stop.cancel();
    reader.await.unwrap().unwrap();
}

/// Takes its time, and counts how many calls are under way.
#[derive(Debug, Clone, Default)]
struct Slow {
    inside: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
    done: Arc<AtomicU32>,
}

impl Handler for Slow {
    async fn handle(&self, _: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        self.most.fetch_max(self.inside.fetch_add(1, SeqCst) + 1, SeqCst);
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.inside.fetch_sub(1, SeqCst);
        self.done.fetch_add(u32::try_from(records.len()).unwrap(), SeqCst);
        Ok(())
    }
}

/// Two topics tell of one key, to two replicas. Guard: a batch's keys are locked before the handler is called.
#[tokio::test(flavor = "multi_thread")]
async fn of_one_key_no_two_calls_run_at_once() {
    let world = World::new().await;
    let (handler, stop) = (Slow::default(), CancellationToken::new());
    let mut readers = Vec::new();
    for topic_number in 0..2 {
        let topic = Topic::new(2).await;
        let inputs: Vec<_> = (0..RECORDS).map(|n| (0, format!("t{topic_number} n{n}"))).collect();
        topic.send(&inputs).await;
        let reader = Reader::new(handler.clone(), Codec::offline(Event::TYPES), world.pool.clone(), topic.config(1));
        readers.push(tokio::spawn(reader.run(stop.clone())));
    }
    let all = u32::try_from(2 * RECORDS).unwrap();
    until("all records to be handled", async || handler.done.load(SeqCst) == all).await;
    stop.cancel();
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    assert_eq!(handler.most.load(SeqCst), 1, "calls at once");
}
