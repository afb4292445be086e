//! What isn't there: a topic, a place in the group. It shows, and ends by itself when it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use farandole::agenda::Poke;
use farandole::intake::{Error, Intake};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio_util::sync::CancellationToken;

use crate::logs;
use crate::parked::{Topic, read, until};
use crate::world::World;

fn lag(topic: &str) -> Option<String> {
    let line = format!("farandole_intake_lag_records{{topic=\"{topic}\"}} ");
    farandole::telemetry::render().lines().find_map(|l| l.strip_prefix(&line).map(str::to_owned))
}

/// Guards: absence shows; a topic is heard soon after it was made. Without, a reader of a topic that isn't there has no lag and no
/// trouble, and hears the topic half a minute late.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_shows_and_is_heard_once_it_is() {
    farandole::telemetry::recorder();
    logs::listen();
    let (world, topic) = (World::new().await, Topic::planned().await);
    let intake = Intake::new(world.engine(&Poke::default()), topic.config(500));
    let troubles = intake.troubles();
    assert!(troubles.list()[0].contains("isn't joined yet"), "from the beginning: {:?}", troubles.list());
    let (task, stop) = read(intake);
    until("its absence to show", async || {
        troubles.list().iter().any(|trouble| trouble.starts_with(&format!("{}: this topic doesn't exist", topic.name)))
    })
    .await;
    until("the lag to be unknown", async || lag(&topic.name).is_some_and(|lag| lag == "NaN")).await;
    // Over several looks, which the log tells of once.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(logs::lines(&[&topic.name, "topic not fully consumed"]).len(), 1);
    topic.make(2).await;
    topic.send(&[(0, "n0".to_owned())]).await;
    let made = Instant::now();
    until("the topic to be heard", async || world.story("k0").await == "n0").await;
    assert!(made.elapsed() < Duration::from_secs(20), "{:?}", made.elapsed());
    until("all to be well", async || troubles.list().is_empty()).await;
    until("the lag to be known", async || lag(&topic.name).is_some_and(|lag| lag == "0")).await;
    stop.cancel();
    task.await.unwrap();
}

/// Guard: partitions of a member that is no replica are asked for in this database. Without, what they hold waits for as long as the
/// stranger is there, with no lag and no trouble.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_in_the_group_shows() {
    farandole::telemetry::recorder();
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let config = topic.config(500);
    let mut client = topic.client().clone();
    client.set("group.id", &config.group).set("partition.assignment.strategy", "cooperative-sticky");
    let stranger: BaseConsumer = client.set("client.id", "a tool\u{1b}").create().unwrap();
    stranger.subscribe(&[topic.name()]).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    let polling = std::thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            drop(stranger.poll(Duration::from_millis(100)));
        }
    });
    let intake = Intake::new(world.engine(&Poke::default()), config);
    let troubles = intake.troubles();
    let (task, stop) = read(intake);
    let shows = |words: &str| troubles.list().iter().any(|trouble| trouble.contains(words));
    // Again and again: the reader may have had all partitions first, and have read what was there.
    let waits = async || {
        topic.send(&[(0, "n0".to_owned()), (1, "n1".to_owned())]).await;
        shows("is not a replica of")
    };
    until("the stranger to show", waits).await;
    assert!(shows("a tool\\u{1b} at ") && shows("without applying their records: "), "{:?}", troubles.list());
    until("the lag to be unknown", async || lag(topic.name()).is_some_and(|lag| lag == "NaN")).await;
    over.store(true, Ordering::Relaxed);
    polling.join().unwrap();
    until("all to be read", async || world.story("k0").await == "n0" && world.story("k1").await == "n1").await;
    until("all to be well", async || troubles.list().is_empty()).await;
    stop.cancel();
    task.await.unwrap();
}

/// G23. Guard: a member's name in its group holds its database. Without, readers of two databases in one group (a staging copy on the same
/// brokers) have half of the records each, and all seems well to both.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_another_database_in_the_group_shows() {
    let (here, there, topic) = (World::new().await, World::new().await, Topic::new(2).await);
    let start = |world: &World| {
        let intake = Intake::new(world.engine(&Poke::default()), topic.config(500));
        let troubles = intake.troubles();
        (troubles, read(intake))
    };
    let readers = [start(&here), start(&there)];
    topic.send(&[(0, "n0".to_owned()), (1, "n1".to_owned())]).await;
    let shows = async || {
        topic.send(&[(0, "n0".to_owned()), (1, "n1".to_owned())]).await;
        readers.iter().any(|(troubles, _)| troubles.list().iter().any(|trouble| trouble.contains("is not a replica of")))
    };
    until("one to tell of the other", shows).await;
    for (_, (task, stop)) in readers {
        stop.cancel();
        task.await.unwrap();
    }
}

/// Guard: an error from which the client doesn't recover ends the reader, with words. Without, each of the two sits idle for a
/// minute until the watchdog makes it a new client, which throws the other out.
#[tokio::test(flavor = "multi_thread")]
async fn one_instance_twice_ends_with_words() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let start = |stop: &CancellationToken| {
        let mut config = topic.config(500);
        config.instance = Some("one".to_owned());
        let intake = Intake::new(world.engine(&Poke::default()), config);
        (intake.troubles(), tokio::spawn(intake.run(stop.clone())))
    };
    let stop = CancellationToken::new();
    let (troubles, first) = start(&stop);
    until("the first to have its place", async || troubles.list().is_empty()).await;
    let (_, second) = start(&stop);
    topic.send(&[(0, "n0".to_owned()), (1, "n1".to_owned())]).await;
    until("one to end", async || first.is_finished() || second.is_finished()).await;
    until("the other to read", async || world.story("k0").await == "n0" && world.story("k1").await == "n1").await;
    stop.cancel();
    let ended = [first.await.unwrap(), second.await.unwrap()];
    let fatal = ended.iter().find_map(|ended| if let Err(Error::Fatal { why }) = ended { Some(why) } else { None });
    assert!(fatal.is_some_and(|why| why.contains("`IntakeConfig::instance` = \"one\"")), "{ended:?}");
    assert!(ended.iter().any(Result::is_ok), "{ended:?}");
}
