//! The relay on a connection that breaks, slows down and loses answers: one broker of the test's own, behind a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use faults::{Door, Harm, Subject as _};
use stage::{Options, Stage};

use crate::rounds::{aggregates, audit_versions, write};
use crate::world::{World, consume, eventually};

const WAIT: Duration = Duration::from_secs(90);

struct Wire {
    world: World,
    door: Door,
    _stage: Stage,
}

impl Wire {
    async fn new() -> Self {
        let door = Door::open().await.unwrap();
        let options = Options { registry: false, proxies: vec![door.port()], ..Options::default() };
        let stage = tokio::task::spawn_blocking(move || Stage::start(options).unwrap()).await.unwrap();
        door.lead_to(stage.behind().to_vec());
        Self { world: World::on(&stage).await, door, _stage: stage }
    }

    async fn harm(&self, harm: Harm, millis: u64) {
        self.door.strike(harm).unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        self.door.mend(harm).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// F17, F18: answers are lost, connections are cut and stand still, for longer than a record may stay unacknowledged. Guards: the
/// idempotent, gapless producer; whatever fails, the producer goes and the batch is read again under the same numbers. Without, a
/// record that is sent again passes one that was not, or is there under two numbers.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_wire_does_order_holds() {
    let wire = Wire::new().await;
    let world = &wire.world;
    let topic = world.make_topic("orders", 3).await;
    aggregates(world).await;
    let mut config = world.config();
    config.bootstrap = wire.door.address();
    (config.delivery_timeout, config.page_rows) = (Duration::from_secs(3), 200);
    config.kafka.insert("reconnect.backoff.max.ms".to_owned(), "500".to_owned());
    let relay = world.relay(config).await;
    relay.is_active().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (1..=4).map(|seed| tokio::spawn(write(world.url.clone(), topic.clone(), seed, Arc::clone(&stop)))).collect();
    relay.published(1).await;
    for _ in 0..3 {
        wire.harm(Harm::Cut, 100).await;
        // Longer than the delivery timeout: what was sent is there, and is given up all the same.
        wire.harm(Harm::LoseAnswers, 4_500).await;
        wire.harm(Harm::Slow, 300).await;
        wire.harm(Harm::Freeze, 700).await;
    }
    stop.store(true, Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let rows = world.ids().await.len();
    eventually("everything to be out", WAIT, async || relay.status.next().1 == rows as i64 + 1).await;
    relay.stop().await.unwrap();
    let records = world.read(&topic).await;
    let applied = consume(&records);
    assert_eq!(applied.len(), rows);
    audit_versions(&applied);
    assert!(records.len() > rows, "no answer was lost on the way: the test tests nothing");
}

/// D10: the first batches of a fresh producer change places. A broker that doesn't know a producer takes its first batch whatever its
/// number. Guard: a fresh producer's first record in a partition goes alone, until it is acknowledged: as long as its answer is kept
/// back, nothing follows it.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_record_of_a_fresh_producer_goes_alone() {
    let wire = Wire::new().await;
    let world = &wire.world;
    let topic = world.make_topic("orders", 1).await;
    let mut config = world.config();
    (config.bootstrap, config.topics) = (wire.door.address(), vec![topic.clone()]);
    config.delivery_timeout = Duration::from_secs(20);
    let relay = world.relay(config).await;
    relay.is_active().await;
    // The producer has its id by then: it asks for it as soon as it is connected.
    tokio::time::sleep(Duration::from_secs(3)).await;
    wire.door.strike(Harm::LoseAnswers).unwrap();
    world.fill(&topic, 2_000).await;
    eventually("the first record", WAIT, async || world.written(&topic).await > 0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.written(&topic).await, 1, "records follow one that isn't acknowledged");
    wire.door.mend(Harm::LoseAnswers).unwrap();
    eventually("everything to be out", WAIT, async || relay.status.next().1 == 2_001).await;
    relay.stop().await.unwrap();
    assert_eq!(consume(&world.read(&topic).await).len(), 2_000);
}
