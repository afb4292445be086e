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
