//! Billing on real parts: what its transactions append is published exactly if they commit, in order, as a chain.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use billing_outbox::{issue, pay};
use farandole_outbox::Record;
use farandole_outbox::chain::{Head, Verdict, judge};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use sqlx::PgPool;
use stage::Stage;

/// Only bounds failures.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    kafka: String,
    prefix: String,
    url: String,
}

impl World {
    async fn new() -> Self {
        let stage = Stage::shared();
        let sandbox = stage.sandbox().await.unwrap();
        let url = sandbox.database("billing").await.unwrap().url;
        Self { kafka: stage.kafka().to_owned(), prefix: sandbox.prefix, url }
    }

    fn topic(&self) -> String {
        format!("{}billing", self.prefix)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_billing-outbox"));
        command
            .env("FARANDOLE_DATABASE_URL", &self.url)
            .env("FARANDOLE_KAFKA_BOOTSTRAP", &self.kafka)
            .env("FARANDOLE_TOPICS_PREFIX", &self.prefix);
        command
    }

    /// The process, with `lines` as its input.
    fn spawn(&self, lines: &str) -> Child {
        let mut child = self.command().stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        child
    }

    /// Reads the topic until `enough` says so of the records that are no repetitions; checks each partition's chain on the way.
    async fn read(&self, enough: impl Fn(&[Record]) -> bool + Send + 'static) -> Vec<Record> {
        let (mut config, topic) = (ClientConfig::new(), self.topic());
        config.set("bootstrap.servers", &self.kafka).set("group.id", "test");
        let read = move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let mut list = TopicPartitionList::new();
            (0..6).for_each(|p| list.add_partition_offset(&topic, p, Offset::Beginning).unwrap());
            consumer.assign(&list).unwrap();
            let (mut records, mut heads, until) = (Vec::new(), BTreeMap::<i32, Head>::new(), Instant::now() + PATIENCE);
            while !enough(&records) {
                assert!(Instant::now() < until, "{} records and no more: {records:?}", records.len());
                // A topic that isn't made yet is an error that ends.
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else { continue };
                let record = Record::copy(&message);
                let (source, link) = record.link().unwrap().expect("a farandole header");
                assert_eq!((source, record.header("content-type")), ("/farandole/billing", Some("application/json")));
                match judge(heads.get(&record.partition).copied(), link.place, link.previous) {
                    Verdict::Apply => {
                        heads.insert(record.partition, Head { place: link.place, previous: link.previous });
                        records.push(record);
                    }
                    Verdict::Drop => {}
                    broken => panic!("{broken:?}: {record:?}"),
                }
            }
            records
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }
}

fn cents(record: &Record) -> i64 {
    let value: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    value["cents"].as_i64().unwrap()
}

fn of<'a>(records: &'a [Record], invoice: &str) -> Vec<(&'a str, i64)> {
    let its = records.iter().filter(|r| r.key.as_deref() == Some(invoice.as_bytes()));
    its.map(|r| (r.kind().unwrap(), cents(r))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_published_in_order_and_nothing_else() {
    let world = World::new().await;
    let mut child =
        world.spawn("issue anna 1200\nissue ben 700\npay 1 500\npay 99 1\nissue carla 0\nissue dora 300\npay 1 700\n");
    let records = world.read(|records| records.len() == 5).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(of(&records, "1"), [("billing.InvoiceIssued", 1_200), ("billing.InvoicePaid", 500), ("billing.InvoicePaid", 700)]);
    assert_eq!(of(&records, "2"), [("billing.InvoiceIssued", 700)]);
    // Carla's invoice took a number and was refused by the table: it has no event. Nor has the payment of invoice 99.
    assert_eq!(of(&records, "4"), [("billing.InvoiceIssued", 300)]);
    let billing: i64 = count(&world.url, "select count(*) from public._sqlx_migrations").await;
    let kit: i64 = count(&world.url, "select count(*) from farandole._sqlx_migrations").await;
    assert!(billing == 2 && kit >= 1, "{billing} and {kit} migrations, each in its own table");
}

/// Twelve writers pay one invoice at once while the relay's process is killed: fails when `append` takes no lock, since then
/// events come in another order than their transactions were committed in.
#[tokio::test(flavor = "multi_thread")]
async fn payments_at_once_come_in_the_order_of_their_commits_although_the_relay_is_killed() {
    let (world, writers, each) = (World::new().await, 12, 25);
    let mut child = world.spawn("issue anna 1000000\n");
    world.read(|records| records.len() == 1).await;
    let pool = PgPool::connect(&world.url).await.unwrap();
    let paying = (0..writers).map(|w| {
        let (pool, topic) = (pool.clone(), world.topic());
        tokio::spawn(async move {
            for n in 0..each {
                pay(&pool, &topic, 1, 1 + w * each + n).await.unwrap();
            }
        })
    });
    let paying: Vec<_> = paying.collect();
    for seen in [20, 60] {
        world.read(move |records| records.len() > seen).await;
        child.kill().unwrap();
        child.wait().unwrap();
        child = world.spawn("");
    }
    for writer in paying {
        writer.await.unwrap();
    }
    let second = issue(&pool, &world.topic(), "ben", 1).await.unwrap();
    let all = usize::try_from(writers * each).unwrap() + 2;
    let records = world.read(move |records| records.len() == all).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let paid: Vec<i64> = sqlx::query_scalar("select cents from payments order by id").fetch_all(&pool).await.unwrap();
    let told: Vec<i64> = of(&records, "1").into_iter().skip(1).map(|(_, cents)| cents).collect();
    assert_eq!(told, paid);
    assert_eq!(of(&records, &second.to_string()), [("billing.InvoiceIssued", 1)]);
}

/// Waits until `child` has ended.
fn ended(child: &mut Child) -> std::process::ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "it doesn't end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A database that was restored. Guard: the relay's end is the program's. Without, it takes invoices as ever, publishes none of
/// them, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_refuses_ends_the_program_with_its_reason() {
    let world = World::new().await;
    let mut child = world.spawn("issue anna 1200\n");
    world.read(|records| records.len() == 1).await;
    let asked = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(asked.success());
    assert!(ended(&mut child).success(), "SIGTERM stops it in order");

    let pool = PgPool::connect(&world.url).await.unwrap();
    sqlx::query("delete from farandole.steps where scope = 'relay'").execute(&pool).await.unwrap();
    let mut child = world.command().stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Its input stays open: nothing but the relay can end it.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"issue ben 700\n").unwrap();
    let status = ended(&mut child);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(!status.success(), "{said}");
    assert!(said.contains("publishing has stopped") && said.contains("farandole heal --service billing"), "{said}");
    drop(input);
}

async fn count(url: &str, sql: &'static str) -> i64 {
    let pool = PgPool::connect(url).await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
}
