//! `farandole verify`, as an operator runs it.

use std::process::{Command, Output};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::Value;
use stage::Stage;

/// A topic of two partitions on the shared stage.
async fn topic() -> String {
    let stage = Stage::shared();
    let name = format!("{}chains", stage.sandbox().await.unwrap().prefix);
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", stage.kafka()).create().unwrap();
    let new = NewTopic::new(&name, 2, TopicReplication::Fixed(1));
    admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    name
}

/// Sends records of one source with these numbers and predecessors to a partition.
async fn send(topic: &str, partition: i32, links: &[(i64, Option<i64>)]) {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", Stage::shared().kafka()).create().unwrap();
    for (number, previous) in links {
        let previous = previous.map_or_else(|| "-".to_owned(), |n| format!("1:{n}"));
        let header = format!("l=1;n={number};p={previous};c=x/0/0;k={};i=1/1", uuid::Uuid::now_v7());
        let headers = OwnedHeaders::new()
            .insert(Header { key: "ce_source", value: Some("/farandole/chains") })
            .insert(Header { key: "farandole", value: Some(&header) });
        let record = FutureRecord::to(topic).partition(partition).key("k").payload("v").headers(headers);
        producer.send(record, Duration::from_secs(10)).await.unwrap();
    }
}

fn run(args: &[&str]) -> Output {
    let mut farandole = Command::new(env!("CARGO_BIN_EXE_farandole"));
    farandole.args(args).env("FARANDOLE_KAFKA_BOOTSTRAP", Stage::shared().kafka()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_topic_and_a_broken_one() {
    let topic = topic().await;
    let report = |code| {
        let output = run(&["verify", "--json", &topic]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(report(0)["records"], 0, "an empty topic is whole");

    // Numbers are the service's: partitions share them. The second batch of partition 1 was sent twice.
    send(&topic, 0, &[(1, None), (4, Some(1)), (5, Some(4))]).await;
    send(&topic, 1, &[(2, None), (3, Some(2)), (3, Some(2)), (6, Some(3))]).await;
    let whole = report(0);
    assert_eq!((&whole["records"], &whole["violations"]), (&7.into(), &0.into()), "{whole}");
    let chain = &whole["chains"][0];
    assert_eq!((&chain["links"], &chain["duplicates"]), (&6.into(), &1.into()), "{whole}");

    // Number 7 of partition 0 is lost.
    send(&topic, 0, &[(8, Some(7)), (9, Some(8))]).await;
    let broken = report(1);
    assert_eq!((&broken["violations"], &broken["chains"][0]["gaps"]), (&1.into(), &1.into()), "{broken}");
    let example = broken["examples"][0].as_str().unwrap();
    assert!(
        example.contains("/0@3: a gap: /farandole/chains 1:8 names 1:7 as its predecessor, but the previous record here is 1:5"),
        "{example}"
    );
    let words = String::from_utf8(run(&["verify", &topic]).stdout).unwrap();
    assert!(words.contains("1 violation\n") && words.contains("/farandole/chains"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there() {
    let output = run(&["verify", "nobody-made-this"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no topic \"nobody-made-this\""), "{output:?}");
}
