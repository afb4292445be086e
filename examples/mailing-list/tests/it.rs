//! The mailing list on real parts: a record at fault parks with what follows for its key, the others go on, and a crash applies
//! nothing twice.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use farandole::codec::{Codec, Json};
use farandole::mapping::{Mapping, Source};
use farandole::outbox::{self, NewEvent};
use farandole::relay::{self, Relay};
use farandole::topics::{Kafka, Topics};
use farandole::{Reader, intake, topics};
use mailing_list::MailingList;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use sqlx::PgPool;
use stage::Stage;
use tokio_util::sync::CancellationToken;

/// Only bounds failures.
const PATIENCE: Duration = Duration::from_secs(60);

/// Billing as far as it is needed, and the list's database.
struct World {
    kafka: String,
    prefix: String,
    url: String,
    list: PgPool,
    billing: PgPool,
    stop: CancellationToken,
}

/// The program; it doesn't outlive its test.
struct Running(Child);

impl std::ops::Deref for Running {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

impl World {
    async fn new() -> Self {
        let stage = Stage::shared();
        let sandbox = stage.sandbox().await.unwrap();
        let (kafka, prefix) = (stage.kafka().to_owned(), sandbox.prefix.clone());
        let billing = PgPool::connect(&sandbox.database("billing").await.unwrap().url).await.unwrap();
        farandole::migrate(&billing).await.unwrap();
        let settings =
            (Kafka { bootstrap: kafka.clone(), ..Kafka::default() }, Topics { prefix: prefix.clone(), ..Topics::default() });
        topics::ensure(&settings.0, &settings.1, "billing", true).await.unwrap();
        let (relay, _) = Relay::new(billing.clone(), relay::Config::new("billing", &kafka));
        let stop = CancellationToken::new();
        tokio::spawn(relay.run(stop.clone()));
        let url = sandbox.database("list").await.unwrap().url;
        let list = PgPool::connect(&url).await.unwrap();
        sqlx::raw_sql(include_str!("../schema.sql")).execute(&list).await.unwrap();
        let sql = "insert into subscribers select n || '@example.org', n from unnest($1::text[]) n";
        let long = "x".repeat(60);
        sqlx::query(sql).bind(["anna", "ben", &long]).execute(&list).await.unwrap();
        Self { kafka, prefix, url, list, billing, stop }
    }

    async fn invoices(&self, invoices: &[(&str, Value)]) {
        let mut tx = self.billing.begin().await.unwrap();
        for (key, value) in invoices {
            let (topic, bytes) = (format!("{}billing", self.prefix), value.to_string().into_bytes());
            let event = NewEvent::new(topic, *key, "billing.InvoiceIssued", Json::CONTENT_TYPE, bytes);
            outbox::append(&mut tx, &event).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    fn spawn(&self) -> Running {
        let child = Command::new(env!("CARGO_BIN_EXE_mailing-list"))
            .env("FARANDOLE_DATABASE_URL", &self.url)
            .env("FARANDOLE_KAFKA_BOOTSTRAP", &self.kafka)
            .env("FARANDOLE_TOPICS_PREFIX", &self.prefix)
            .spawn();
        Running(child.unwrap())
    }

    async fn subjects(&self) -> Vec<String> {
        sqlx::query_scalar("select subject from mails order by id").fetch_all(&self.list).await.unwrap()
    }

    /// What is parked: key, whether it is a head, why.
    async fn parked(&self) -> Vec<(String, bool, String)> {
        let sql = "select aggregate, head, reason from farandole.parked order by aggregate, seq";
        // Before the list has made its tables there are none.
        sqlx::query_as(sql).fetch_all(&self.list).await.unwrap_or_default()
    }
}

async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn invoice(invoice: i64, customer: &str, cents: i64) -> Value {
    json!({ "invoice": invoice, "customer": customer, "cents": cents })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_at_fault_parks_with_its_successors_and_the_others_go_on() {
    let world = World::new().await;
    let long = "x".repeat(60);
    // Before the list has ever run, so that good and bad meet in one batch.
    let bad = [
        ("1", invoice(1, "anna", 100)),
        ("2", invoice(2, "anna", 0)),
        ("3", invoice(3, &long, 100)),
        ("2", invoice(2, "anna", 201)),
        ("4", json!({ "invoice": 4, "customer": "ben", "cents": "many" })),
        ("5", json!(["5", "ben", 100])),
        ("6", json!({ "invoice": 6, "cents": 100 })),
        ("2", invoice(2, "anna", 202)),
        ("1", invoice(1, "anna", 101)),
        ("7", invoice(7, "ben", 700)),
    ];
    world.invoices(&bad).await;
    let mut child = world.spawn();
    eventually("six keys to be sorted out", async || world.parked().await.len() == 7 && world.subjects().await.len() == 3).await;
    let parked = world.parked().await;
    let heads: Vec<(&str, bool)> = parked.iter().map(|(key, head, _)| (key.as_str(), *head)).collect();
    assert_eq!(heads, [("2", true), ("2", false), ("2", false), ("3", true), ("4", true), ("5", true), ("6", true)]);
    for (at, words) in [
        (0, "invoice 2 is of 0 cents"),
        (3, "too long"),
        (4, "field `cents`"),
        (5, "not a JSON object"),
        (6, "missing field `customer`"),
    ] {
        assert!(parked[at].2.contains(words), "{words} is missing in {:?}", parked[at]);
    }
    let mut subjects = world.subjects().await;
    subjects.sort();
    assert_eq!(subjects, ["anna: invoice 1 of 1.00", "anna: invoice 1 of 1.01", "ben: invoice 7 of 7.00"]);

    // Later records of a parked key queue behind it, whenever they come.
    world.invoices(&[("2", invoice(2, "anna", 203)), ("8", invoice(8, "ben", 800))]).await;
    let sorted = async || world.subjects().await.len() == 4 && world.parked().await.len() == 8;
    eventually("invoice 8, and the third of key 2 to wait", sorted).await;

    // The operator repairs the head; what waited behind it follows in order.
    let repaired = invoice(2, "anna", 200).to_string();
    let sql = "update farandole.parked set value = $1, retry_at = now()
               where seq = (select min(seq) from farandole.parked where aggregate = '2')";
    sqlx::query(sql).bind(repaired.as_bytes()).execute(&world.list).await.unwrap();
    eventually("key 2 to be released", async || world.parked().await.iter().all(|(key, ..)| key != "2")).await;
    let subjects = world.subjects().await;
    let expected = ["200", "201", "202", "203"].map(|cents| format!("anna: invoice 2 of 2.{}", &cents[1..]));
    assert_eq!(subjects[4..], expected);
    child.kill().unwrap();
    child.wait().unwrap();
    world.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_writes_each_mail_once_and_in_order() {
    let (world, keys, each) = (World::new().await, 20, 150);
    for n in 0..each {
        let round: Vec<(String, Value)> = (0..keys).map(|k| (format!("k{k}"), invoice(k, "anna", 1 + n))).collect();
        let round: Vec<(&str, Value)> = round.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        world.invoices(&round).await;
    }
    let all = usize::try_from(keys * each).unwrap();
    // Killed at the first mails that are seen; whether more are on their way is up to chance.
    for seen in [0, 1, all / 3, all / 2] {
        let mut child = world.spawn();
        eventually("mails", async || world.subjects().await.len() > seen).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut child = world.spawn();
    eventually("all mails", async || world.subjects().await.len() >= all).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let subjects = world.subjects().await;
    for k in 0..keys {
        let prefix = format!("anna: invoice {k} of ");
        let told: Vec<&str> = subjects.iter().filter_map(|s| s.strip_prefix(&prefix)).collect();
        let expected: Vec<String> = (1..=each).map(|n| format!("{}.{:02}", n / 100, n % 100)).collect();
        assert_eq!(told, expected, "key {k}");
    }
    assert!(world.parked().await.is_empty());
    world.stop.cancel();
}

/// Whoever stops a container sends SIGTERM.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_it_in_order() {
    let world = World::new().await;
    world.invoices(&[("1", invoice(1, "anna", 100))]).await;
    let mut child = world.spawn();
    eventually("the first mail", async || world.subjects().await.len() == 1).await;
    assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
    let mut status = None;
    eventually("its end", async || {
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert!(status.unwrap().success(), "{status:?}");
    world.stop.cancel();
}

/// Somebody else's topic: another name, other headers, the key inside the value.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_topic_is_read_as_mapped() {
    let world = World::new().await;
    farandole::migrate(&world.list).await.unwrap();
    // Billing's topic stands for theirs: nothing of ours is written to it here.
    let topic = format!("{}billing", world.prefix);
    let mapping = Mapping::new()
        .key(Source::Value("/customer".into()))
        .header("ce_type", Source::Header("event".into()))
        .header("ce_source", Source::Fixed("/acme".into()))
        .header("ce_id", Source::Value("/invoice".into()))
        .header("content-type", Source::Fixed("application/json".into()));
    let mut config = intake::Config::new(format!("{}list", world.prefix), &world.kafka, vec![topic.clone()]);
    config.mappings.insert(topic.clone(), mapping);
    let codec = Codec::json();
    let reader = Reader::new(MailingList::new(codec.clone()), codec, world.list.clone(), config).start();

    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &world.kafka).create().unwrap();
    let send = async |value: Value| {
        let headers = OwnedHeaders::new().insert(Header { key: "event", value: Some("billing.InvoiceIssued") });
        let text = value.to_string();
        // All in one partition, under a key that says nothing.
        let record = FutureRecord::to(&topic).key("theirs").payload(&text).headers(headers);
        producer.send(record, PATIENCE).await.unwrap();
    };
    send(invoice(1, "anna", 100)).await;
    send(invoice(2, "ben", -5)).await;
    send(invoice(1, "anna", 100)).await; // again: their producer tries twice
    send(invoice(3, "anna", 300)).await;
    eventually("the invoices", async || world.subjects().await.len() >= 2 && world.parked().await.len() == 1).await;
    send(invoice(4, "ben", 400)).await;
    send(invoice(5, "anna", 500)).await;
    eventually("the last", async || world.subjects().await.len() >= 3 && world.parked().await.len() == 2).await;
    assert_eq!(world.subjects().await, ["anna: invoice 1 of 1.00", "anna: invoice 3 of 3.00", "anna: invoice 5 of 5.00"]);
    assert!(world.parked().await.iter().all(|(key, ..)| key == "ben"), "what parks does so under the mapped key");
    assert!(reader.health().is_well(), "{:?}", reader.health());
    world.stop.cancel();
    reader.stop().await.unwrap();
}
