//! What strangers write into a topic: any number of sources, of any length.

use std::time::Duration;

use farandole::agenda::Poke;
use farandole::intake::Intake;
use farandole::record::Record;
use farandole::{Codec, Message as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use uuid::Uuid;

use crate::parked::{Topic, read, until};
use crate::world::{Event, Happened, World};

const FORGED: usize = 80;
const LONG: usize = 12;

/// Sends one event as `source` does, the `number`th after `previous`; with further headers.
async fn send(topic: &Topic, source: &str, key: &str, (number, previous): (i64, Option<i64>), further: usize) {
    let previous = previous.map_or_else(|| "-".to_owned(), |n| format!("1:{n}"));
    let extra = vec![("x", "y"); further];
    send_at(topic, source, key, (1, number, &previous), &extra).await;
}

/// The same of any lineage; with these headers besides.
async fn send_at(topic: &Topic, source: &str, key: &str, place: (i64, i64, &str), extra: &[(&str, &str)]) {
    let (lineage, number, previous) = place;
    let producer: FutureProducer = topic.client.create().unwrap();
    let value = Event::from(Happened { key: key.to_owned(), what: format!("n{number}") }).encode(&Codec::offline(Event::TYPES));
    let link = format!("l={lineage};n={number};p={previous};c=x/0/0;k={};i=1/1", Uuid::nil());
    let mut headers = OwnedHeaders::new();
    for (key, value) in [("ce_type", Happened::NAME), ("ce_source", source), ("farandole", &link)] {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    for (key, value) in extra {
        headers = headers.insert(Header { key, value: Some(*value) });
    }
    let value = value.unwrap();
    let record = FutureRecord::to(&topic.name).partition(0).key(key).payload(&value).headers(headers);
    producer.send(record, Duration::from_secs(30)).await.unwrap();
}

/// Guards: a partition keeps a bounded number of sources and of bytes of them, and what is beyond parks instead of stopping the partition;
/// the service that the topic is named after has its place however many came before. Without them a stranger stops a partition for good, or
/// each position grows by what he writes.
#[tokio::test(flavor = "multi_thread")]
async fn forged_sources_stop_nobody_and_are_not_kept() {
    let (world, topic) = (World::new().await, Topic::new(1).await);
    for n in 0..FORGED {
        send(&topic, &format!("/forged/{n}"), &format!("f{n}"), (1, None), 0).await;
    }
    for n in 0..LONG {
        send(&topic, &format!("/{n}/{}", "x".repeat(500_000)), &format!("l{n}"), (1, None), 0).await;
    }
    send(&topic, "/farandole/happened", "crowded", (1, None), 10_000).await;
    for (number, previous) in [(2, None), (5, Some(2)), (5, Some(2)), (6, Some(5))] {
        send(&topic, "/farandole/happened", "own", (number, previous), 0).await;
    }
    let (intake, stop) = topic.read(&world, 500);
    until("what is the service's own", async || world.story("own").await == "n2, n5, n6").await;
    stop.cancel();
    intake.await.unwrap();
    let parked: Vec<(String, String)> =
        sqlx::query_as("select aggregate, reason from farandole.parked order by seq").fetch_all(&world.pool).await.unwrap();
    let why = |words: &str| parked.iter().filter(|(_, reason)| reason.contains(words)).count();
    assert_eq!(why("64 sources are tracked in this partition"), FORGED - 64, "{parked:?}");
    assert_eq!(why("header `ce_source` is 5000"), LONG, "{parked:?}");
    assert_eq!(why("the record has 10003 headers; the limit is 256"), 1, "{parked:?}");
    assert_eq!(parked.len(), FORGED - 64 + LONG + 1);
    assert_eq!(world.count("select count(*) from stories where key like 'f%'").await, 64);
    let position =
        world.count("select max(length(state::text))::bigint from farandole.steps where scope like 'position/%'").await;
    assert!(position < 16_384, "{position} bytes a step");
}

/// A database was healed, and the service goes on on the one before, too: what it publishes is dropped by all, for good. Guard: what is
/// dropped as a ghost is counted apart, and that it goes on coming is said.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_lineage_that_goes_on_shows() {
    farandole::telemetry::recorder();
    let (world, topic) = (World::new().await, Topic::new(1).await);
    let source = "/farandole/happened";
    send_at(&topic, source, "own", (1, 1, "-"), &[]).await;
    send_at(&topic, source, "own", (2, 2, "1:1"), &[]).await;
    let intake = Intake::new(world.engine(&Poke::default()), topic.config(500));
    let troubles = intake.troubles();
    let (task, stop) = read(intake);
    until("what is in the chain", async || world.story("own").await == "n1, n2").await;
    // What is read again was written long ago.
    send_at(&topic, source, "own", (1, 2, "1:1"), &[("ce_time", "2020-01-01T00:00:00Z")]).await;
    let mut number = 2;
    until("the other history to show", async || {
        let now = jiff::Timestamp::now().to_string();
        send_at(&topic, source, "own", (1, number, &format!("1:{}", number - 1)), &[("ce_time", &now)]).await;
        number += 1;
        !troubles.list().is_empty()
    })
    .await;
    let said = troubles.list().concat();
    assert!(said.contains("/farandole/happened keep arriving with lineage 1, which lineage 2"), "{said}");
    send_at(&topic, source, "own", (2, 3, "2:2"), &[]).await;
    until("the newer history to go on", async || world.story("own").await == "n1, n2, n3").await;
    let line = format!("farandole_intake_older_lineage_total{{topic=\"{}\"}} ", topic.name());
    let counted = farandole::telemetry::render().lines().find_map(|l| l.strip_prefix(&line)?.parse::<i64>().ok());
    assert!(counted.is_some_and(|counted| counted >= number - 2), "{counted:?} of {number}");
    stop.cancel();
    task.await.unwrap();
}

/// Whatever headers a record has, it is read or refused, and what is said of it is short.
#[test]
fn any_record_is_judged() {
    use proptest::prelude::*;
    let name = prop_oneof![
        Just("ce_type".to_owned()),
        Just("ce_source".to_owned()),
        Just("farandole".to_owned()),
        Just("content-type".to_owned()),
        Just("traceparent".to_owned()),
        ".{0,20}"
    ];
    let value = prop_oneof![
        Just(Happened::NAME.to_owned()),
        Just("application/json".to_owned()),
        "l=[0-9]{0,22};n=[0-9-]{0,22};p=(-|[0-9]{0,20}:[0-9]{0,20});c=.{0,10};k=[0-9a-f-]{30,36};i=[0-9]{0,6}/[0-9]{0,6}",
        ".{0,60}",
        (0..100_000_usize).prop_map(|n| "y".repeat(n)),
    ];
    let headers = prop::collection::vec((name, value), 0..6);
    let record = (headers, any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>());
    proptest!(|((headers, key, value) in record)| {
        let headers = headers.into_iter().map(|(name, value)| farandole::record::Header { name, value }).collect();
        let record = Record { topic: "happened".into(), partition: 0, offset: 7, key, value, headers };
        if let Err(why) = record.link() {
            prop_assert!(why.len() < 2_000, "{}", why);
        }
        let codec = Codec::offline(Event::TYPES);
        let said = farandole::engine::read_in_chain(&crate::world::Chronicle, &record, &codec, farandole::config::Unknown::Park);
        if let farandole::engine::Decoded::Input(work) = said {
            prop_assert!(work.origin.traceparent.is_none_or(|text| text.len() <= 128));
        }
    });
}
