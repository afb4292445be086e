//! Positions that have expired: the topic doesn't hold any more what would be read next.

use farandole::Participant as _;
use farandole::agenda::Poke;
use farandole::config::{PerTopic, Start};
use farandole::intake::{Expired, Intake, positions};
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};

use crate::logs;
use crate::parked::{Topic, read, until};
use crate::positions::{config, link, set};
use crate::world::{Chronicle, World};

/// As retention does it.
async fn expire(topic: &Topic, before: i64) {
    let mut expired = TopicPartitionList::new();
    expired.add_partition_offset(&topic.name, 0, Offset::Offset(before)).unwrap();
    topic.admin().delete_records(&expired, &AdminOptions::new()).await.unwrap();
}

async fn next(world: &World) -> Option<i64> {
    let all = positions(&mut world.pool.acquire().await.unwrap(), Chronicle::NAME).await.unwrap();
    all.first().map(|(_, position)| position.next_offset)
}

fn counted(topic: &Topic) -> Option<u64> {
    let line = format!("farandole_intake_expired_total{{topic=\"{}\"}} ", topic.name);
    farandole::telemetry::render().lines().find_map(|l| l.strip_prefix(&line)?.parse().ok())
}

/// A reader that was away for longer than its topic keeps records. By default it stops and says what to do, and that works; told to, it goes
/// on from the earliest record, beyond the gap in a chain, and what it passed over is counted and logged. Guards: the default, the look at
/// what was stored, the heads that are given up. Without the last, the partition stops again at the next record.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_stops_its_partition_unless_it_is_to_be_passed_over() {
    farandole::telemetry::recorder();
    logs::listen();
    for expired in [Expired::Stop, Expired::Earliest] {
        let (world, topic) = (World::new().await, Topic::new(1).await);
        let mut reading = config(&topic, Start::Earliest);
        reading.expired = PerTopic::all(Expired::Stop).with(&topic.name, expired);
        let intake = || Intake::new(world.engine(&Poke::default()), reading.clone());
        link(&topic, "c1", "l=1;n=1;p=-").await;
        link(&topic, "c2", "l=1;n=2;p=1:1").await;
        let (task, stop) = read(intake());
        until("both to be read", async || next(&world).await == Some(2)).await;
        assert_eq!(counted(&topic), Some(0), "there from the start");
        stop.cancel();
        task.await.unwrap();
        for n in 3..=6 {
            link(&topic, &format!("c{n}"), &format!("l=1;n={n};p=1:{}", n - 1)).await;
        }
        expire(&topic, 4).await;
        let intake = intake();
        let troubles = intake.troubles();
        let (task, stop) = read(intake);
        if expired == Expired::Stop {
            let advice =
                format!("farandole positions set --reader chronicle --topic {} --partition 0 --to earliest`", topic.name);
            let said = |t: &String| t.contains("has expired") && t.contains("`IntakeConfig::expired`") && t.contains(&advice);
            until("it to be said", async || troubles.list().iter().any(said)).await;
            assert_eq!((next(&world).await, counted(&topic)), (Some(2), Some(0)), "nothing is passed over by itself");
            set(&world, &topic, Some(0), "earliest").await.unwrap();
        }
        until("what is left to be read", async || world.story("k0").await == "c1, c2, c5, c6").await;
        until("all to be well", async || troubles.list().is_empty()).await;
        let passed = if expired == Expired::Stop { 0 } else { 2 };
        assert_eq!(counted(&topic), Some(passed), "{expired}");
        let logged = logs::lines(&[&topic.name, "continuing from the earliest record"]);
        assert_eq!(logged.len(), usize::from(passed > 0), "{logged:?}");
        stop.cancel();
        task.await.unwrap();
    }
}

/// The same of a topic whose beginning is gone when it is first read. Guard: a partition without a position is begun where there is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_a_beginning_is_begun_where_it_may_be() {
    farandole::telemetry::recorder();
    let (world, topic) = (World::new().await, Topic::new(1).await);
    let records: Vec<(usize, String)> = (0..4).map(|n| (0, format!("n{n}"))).collect();
    topic.send(&records).await;
    expire(&topic, 3).await;
    let mut reading = config(&topic, Start::Earliest);
    reading.expired = PerTopic::all(Expired::Earliest);
    let intake = Intake::new(world.engine(&Poke::default()), reading);
    let troubles = intake.troubles();
    let (task, stop) = read(intake);
    until("what is left to be read", async || world.story("k0").await == "n3").await;
    until("all to be well", async || troubles.list().is_empty()).await;
    assert_eq!(counted(&topic), Some(3));
    stop.cancel();
    task.await.unwrap();
}
