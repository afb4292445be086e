//! `farandole verify` beside a checker that was written from ARCHITECTURE.md alone, `tests/chains.py`: they count the same.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use demo::shop::CORE;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, FutureProducer, FutureRecord, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use stage::Stage;
use uuid::Uuid;

use crate::kit::Own;

/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 2;
const KEY: &str = "018f0000-0000-7000-8000-000000000001";

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", Stage::shared().kafka());
    config
}

/// What both say of `topic`, once they have said the same. Blocks.
pub fn agreed(topic: &str) -> Value {
    // A journal may get a checkpoint between the two.
    let counted = (0..10).map(|_| both(topic)).find(|(checked, verified)| checked["records"] == verified["records"]);
    let (checked, verified) = counted.expect("records to stop coming");
    assert_eq!(checked, verified, "{topic}: the checker's count, and farandole's");
    verified
}

/// What the checker says of it, and what farandole says.
fn both(topic: &str) -> (Value, Value) {
    let bins = std::env::current_exe().unwrap();
    let tool = bins.ancestors().map(|folder| folder.join("farandole")).find(|tool| tool.is_file()).expect("built with --bins");
    let verified =
        Command::new(tool).args(["verify", "--json", "--quiet", "--bootstrap", Stage::shared().kafka(), topic]).output().unwrap();
    let mut verified: Value = serde_json::from_slice(&verified.stdout).unwrap_or_else(|_| panic!("{verified:?}"));
    verified.as_object_mut().unwrap().remove("examples");

    let consumer: BaseConsumer = client().create().unwrap();
    let described = consumer.fetch_metadata(Some(topic), ANSWER).unwrap();
    let count = described.topics()[0].partitions().len() as i32;
    let start = |p| format!("{p}={}", consumer.fetch_watermarks(topic, p, ANSWER).unwrap().0);
    let mut kcat = Command::new("kcat")
        .args(["-b", Stage::shared().kafka(), "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kcat is installed");
    let checker = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chains.py"))
        .args([topic, &count.to_string()])
        .args((0..count).map(start))
        .stdin(kcat.stdout.take().unwrap())
        .output()
        .expect("python3 is installed");
    assert!(kcat.wait().unwrap().success() && checker.status.success(), "{}", String::from_utf8_lossy(&checker.stderr));
    (serde_json::from_slice(&checker.stdout).unwrap(), verified)
}

/// Both agree on every topic of a shop, journals included, and find nothing wrong; gives each topic's report.
pub async fn whole(own: &Own) -> Vec<Value> {
    let prefix = own.shop.parts.prefix.clone();
    let topics = CORE.iter().flat_map(|service| [format!("{prefix}{service}"), format!("{prefix}{service}.journal")]);
    let topics: Vec<String> = topics.collect();
    let reports =
        tokio::task::spawn_blocking(move || topics.iter().map(|topic| agreed(topic)).collect::<Vec<_>>()).await.unwrap();
    for report in &reports {
        assert_eq!(report["violations"], 0, "{report}");
    }
    reports
}

struct Hand {
    producer: FutureProducer,
    topic: String,
}

impl Hand {
    async fn topic() -> Self {
        let topic = format!("{}hand", Stage::shared().sandbox().await.unwrap().prefix);
        let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        Self { producer: client().create().unwrap(), topic }
    }

    async fn send(&self, partition: i32, headers: &[(&str, Option<&[u8]>)], key: Option<&[u8]>, value: Option<&[u8]>) {
        let add = |all: OwnedHeaders, (key, value): &(&str, Option<&[u8]>)| all.insert(Header { key, value: *value });
        let headers = headers.iter().fold(OwnedHeaders::new(), add);
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic).partition(partition).headers(headers);
        (record.key, record.payload) = (key, value);
        self.producer.send(record, ANSWER).await.unwrap();
    }

    /// A record of `source` at `place`, which names `previous`.
    async fn link(&self, partition: i32, source: &str, place: &str, previous: &str) {
        let (lineage, number) = place.split_once(':').unwrap();
        let header = format!("l={lineage};n={number};p={previous};c=a%3Bb/0/0;k={KEY};i=1/1;later=x");
        self.raw(partition, source, &header).await;
    }

    /// A record with this `farandole` header.
    async fn raw(&self, partition: i32, source: &str, header: &str) {
        let headers = [("ce_source", Some(source.as_bytes())), ("farandole", Some(header.as_bytes()))];
        self.send(partition, &headers, Some(b"key"), Some(b"\x00\x00\xff\n\"value")).await;
    }

    /// A transaction with one foreign record in it, and its marker behind.
    fn transaction(&self, partition: i32, commit: bool) {
        let producer: ThreadedProducer<_> = client().set("transactional.id", Uuid::new_v4().to_string()).create().unwrap();
        producer.init_transactions(ANSWER).unwrap();
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to(&self.topic).partition(partition).key("t").payload("t")).map_err(|(e, _)| e).unwrap();
        if commit {
            producer.commit_transaction(ANSWER)
        } else {
            producer.flush(ANSWER).and_then(|()| producer.abort_transaction(ANSWER))
        }
        .unwrap();
    }
}

/// A topic made by hand, with one of everything that the wire knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_checker_written_from_the_documents_counts_the_same() {
    let hand = Hand::topic().await;
    let (ours, other) = ("/farandole/hand", "/farandole/überall");
    // Two sources in one partition, numbers with gaps; the same batch twice; one of it late; a tombstone.
    for (source, place, previous) in [
        (ours, "1:1", "-"),
        (other, "7:3", "-"),
        (ours, "1:4", "1:1"),
        (ours, "1:9", "1:4"),
        (ours, "1:4", "1:1"),
        (ours, "1:9", "1:4"),
        (ours, "1:1", "-"),
        (other, "7:4", "7:3"),
        // A heal; then a writer that was replaced comes late, once in order and once far ahead.
        (ours, "2:10", "1:9"),
        (ours, "1:11", "1:9"),
        (ours, "1:12", "1:11"),
        (ours, "2:14", "2:10"),
        // A gap, across a heal as well; a fork from before, one between, a second beginning.
        (ours, "2:20", "2:17"),
        (ours, "4:1", "3:2"),
        (ours, "4:5", "2:20"),
        (ours, "4:9", "4:5"),
        (ours, "4:7", "4:5"),
        (ours, "4:30", "-"),
    ] {
        hand.link(0, source, place, previous).await;
    }
    // A first record that names another, in a partition whose beginning is there.
    hand.link(1, ours, "1:2", "1:1").await;
    hand.link(1, ours, "1:3", "1:2").await;
    hand.transaction(1, false);
    // Foreign: nothing at all, a tombstone, another's, no text. Damaged: each field once, and no source.
    hand.send(1, &[], None, None).await;
    hand.send(1, &[("ce_source", Some(ours.as_bytes()))], Some(b"\x81\x82"), None).await;
    hand.send(1, &[("x", None), ("y", Some(b"\xff\xfe\0"))], Some(b""), Some(b"\xe2\"\x80")).await;
    hand.send(1, &[("big", Some(&[b'x'; 100_000]))], None, Some(b"v")).await;
    let good = format!("l=1;n=4;p=1:3;c=;k={KEY};i=1/1");
    hand.send(1, &[("farandole", Some(good.as_bytes()))], None, None).await;
    hand.send(1, &[("farandole", None), ("ce_source", Some(ours.as_bytes()))], None, None).await;
    let damaged = [
        ("l=1", "l=+1"),
        ("l=1;", ""),
        ("n=4", "n=-4"),
        ("n=4", "n=9223370937343148032"),
        ("n=4", "n=٤"),
        ("p=1:3", "p=1"),
        ("p=1:3", "p=1:3 "),
        ("c=;", ""),
        ("c=;", "c;"),
        (KEY, "018f0000000070008000000000000001"),
        ("i=1/1", "i=2/1"),
        ("i=1/1", "i=0/1"),
        ("i=1/1", "i=1/32768"),
        ("i=1/1", "i=1"),
    ];
    for (right, wrong) in damaged {
        hand.raw(1, ours, &good.replace(right, wrong)).await;
    }
    // Bytes that are no text: a damaged header, and a source of its own.
    let latin: Vec<u8> = good.replace("c=;", "c=ÿ;").chars().map(|c| c as u8).collect();
    hand.send(1, &[("farandole", Some(latin.as_slice())), ("ce_source", Some(ours.as_bytes()))], None, None).await;
    let first = good.replace("p=1:3", "p=-");
    hand.send(1, &[("farandole", Some(first.as_bytes())), ("ce_source", Some(b"\xff\0"))], None, None).await;
    // None of them moved the head; of two fields, or two headers, the first counts; the order is free.
    hand.raw(1, ours, &format!("later;;i=1/1;k={KEY};c=%;p=1:3;n=4;n=x;l=1")).await;
    let twice = [("farandole", Some(&b"l=1;n=5"[..])), ("farandole", Some(good.as_bytes())), ("ce_source", Some(b"/x"))];
    hand.send(1, &twice, None, None).await;
    hand.transaction(1, true);

    let topic = hand.topic.clone();
    let whole = tokio::task::spawn_blocking(move || agreed(&topic)).await.unwrap();
    let tally = |links, duplicates, gaps, forks, ghosts| json!({ "links": links, "duplicates": duplicates, "gaps": gaps, "forks": forks, "ghosts": ghosts });
    let of = |report: &Value, source: &str, lineage: i64| {
        let chains = report["chains"].as_array().unwrap();
        let mut chain = chains.iter().find(|c| c["source"] == source && c["lineage"] == lineage).unwrap().clone();
        chain.as_object_mut().unwrap().retain(|name, _| name != "source" && name != "lineage");
        chain
    };
    assert_eq!(of(&whole, ours, 1), tally(5, 3, 1, 0, 2));
    assert_eq!(of(&whole, ours, 2), tally(2, 0, 1, 0, 0));
    assert_eq!(of(&whole, ours, 4), tally(1, 0, 1, 3, 0));
    assert_eq!(of(&whole, other, 7), tally(2, 0, 0, 0, 0));
    assert_eq!((&whole["foreign"], &whole["damaged"]), (&5.into(), &(damaged.len() + 4).into()), "{whole}");
    assert_eq!(of(&whole, ":hex:ff00", 1), tally(1, 0, 0, 0, 0));
    assert_eq!(whole["violations"], damaged.len() + 4 + 3 + 3, "{whole}");

    // Retention takes partition 1's first record: what is left may begin anywhere.
    let admin: AdminClient<DefaultClientContext> = client().create().unwrap();
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&hand.topic, 1, Offset::Offset(1)).unwrap();
    admin.delete_records(&gone, &AdminOptions::new()).await.unwrap();
    let topic = hand.topic.clone();
    let cut = tokio::task::spawn_blocking(move || agreed(&topic)).await.unwrap();
    assert_eq!(of(&cut, ours, 1), tally(5, 3, 0, 0, 2), "the second record is the first now");
}
