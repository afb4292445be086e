//! A database with the kit's tables, topics of its own, and an audit of what the topics hold.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use farandole::chain::{Head, Link, Place, Verdict, judge};
use farandole::extent::{Client, View};
use farandole::relay::{Config, Error, Relay, Role, Status};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool};
use stage::Stage;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub struct World {
    pub pool: PgPool,
    pub url: String,
    pub kafka: String,
    prefix: String,
}

/// A record as a consumer sees it.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i32,
    pub key: String,
    pub id: Uuid,
    pub link: Link,
    pub payload: Vec<u8>,
}

pub struct Running {
    pub task: tokio::task::JoinHandle<Result<(), Error>>,
    pub shutdown: CancellationToken,
    pub status: std::sync::Arc<Status>,
}

/// Numbers that are the same in each run (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

pub async fn pool(url: &str, connections: u32) -> PgPool {
    PgPoolOptions::new().max_connections(connections).connect(url).await.unwrap()
}

impl World {
    pub async fn new() -> Self {
        Self::on(tokio::task::spawn_blocking(Stage::shared).await.unwrap()).await
    }

    pub async fn on(stage: &Stage) -> Self {
        let sandbox = stage.sandbox().await.unwrap();
        let url = sandbox.database("relay").await.unwrap().url;
        let pool = pool(&url, 24).await;
        farandole::migrate(&pool).await.unwrap();
        Self { pool, url, kafka: stage.kafka().to_owned(), prefix: sandbox.prefix }
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub async fn make_topic(&self, name: &str, partitions: i32) -> String {
        let topic = self.topic(name);
        let admin: AdminClient<_> = self.client().create().unwrap();
        let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        for made in admin.create_topics([&new], &AdminOptions::new()).await.unwrap() {
            made.unwrap();
        }
        topic
    }

    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.kafka);
        config
    }

    pub fn config(&self) -> Config {
        Config::new("orders", &self.kafka)
    }

    pub async fn relay(&self, config: Config) -> Running {
        let (relay, _) = Relay::new(pool(&self.url, 3).await, config);
        let (status, shutdown) = (relay.status(), CancellationToken::new());
        let task = tokio::spawn(relay.run(shutdown.clone()));
        Running { task, shutdown, status }
    }

    /// Appends one event of `key`; `version` is the payload's beginning.
    pub async fn append(conn: &mut PgConnection, topic: &str, key: &str, version: i64) -> Uuid {
        let id = Uuid::now_v7();
        Self::append_payload(conn, topic, key, id, version.to_string().as_bytes()).await;
        id
    }

    pub async fn append_payload(conn: &mut PgConnection, topic: &str, key: &str, id: Uuid, payload: &[u8]) {
        sqlx::query(
            "insert into farandole.outbox (topic, id, aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n)
             values ($1, $2, 'orders', $3, 'farandole.orders.OrderPlaced', $4, clock_timestamp(), 'carts/0/7', $2, 1, 1)",
        )
        .bind(topic)
        .bind(id)
        .bind(key)
        .bind(payload)
        .execute(conn)
        .await
        .unwrap();
    }

    /// `rows` events in one statement, ten a transaction's worth of keys, with 400-byte payloads.
    pub async fn fill(&self, topic: &str, rows: i64) {
        sqlx::query(
            "insert into farandole.outbox (topic, id, aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n, traceparent)
             select $1, gen_random_uuid(), 'orders', 'order-' || (g % 10007), 'farandole.orders.OrderPlaced',
                    convert_to(lpad((g / 10007)::text, 400, '0'), 'utf8'), clock_timestamp(), 'carts/3/' || g, gen_random_uuid(), 1, 1,
                    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
             from generate_series(0, $2 - 1) g",
        )
        .bind(topic)
        .bind(rows)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    pub async fn ids(&self) -> Vec<Uuid> {
        sqlx::query_scalar("select id from farandole.outbox").fetch_all(&self.pool).await.unwrap()
    }

    /// How far `topic` is filled: how many records it holds when it was written to by relays alone.
    pub async fn written(&self, topic: &str) -> i64 {
        let (config, topic) = (self.client(), topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let (consumer, wait): (BaseConsumer, _) = (config.create().unwrap(), Duration::from_secs(20));
            let metadata = consumer.fetch_metadata(Some(&topic), wait).unwrap();
            let partitions = metadata.topics()[0].partitions().iter();
            partitions.map(|p| consumer.fetch_watermarks(&topic, p.id(), wait).unwrap().1).sum()
        })
        .await
        .unwrap()
    }

    /// Everything in `topic`, partition by partition, in the order of offsets.
    pub async fn read(&self, topic: &str) -> Vec<Record> {
        read(&self.kafka, topic).await
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Commit,
    Abort,
    /// It doesn't, as long as the test runs.
    Open,
}

/// Sends a record within a transaction, which leaves a marker behind it when it ends.
pub async fn transact(kafka: &str, topic: &str, partition: i32, headers: OwnedHeaders, payload: Vec<u8>, fate: Fate) {
    let (kafka, topic) = (kafka.to_owned(), topic.to_owned());
    let send = move || {
        let wait = Duration::from_secs(30);
        let id = Uuid::new_v4().to_string();
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &kafka).set("transactional.id", &id).create().unwrap();
        producer.init_transactions(wait).unwrap();
        producer.begin_transaction().unwrap();
        let record = BaseRecord::to(&topic).partition(partition).key("k").payload(&payload).headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(wait).unwrap();
        match fate {
            Fate::Commit => producer.commit_transaction(wait).unwrap(),
            Fate::Abort => producer.abort_transaction(wait).unwrap(),
            Fate::Open => {}
        }
    };
    tokio::task::spawn_blocking(send).await.unwrap();
}

/// All that a topic holds, whosever it is.
pub async fn records(kafka: &str, topic: &str) -> Vec<farandole::Record> {
    let (kafka, topic) = (ClientConfig::new().set("bootstrap.servers", kafka).clone(), topic.to_owned());
    let read = move || Client::new(&kafka, View::Everything).unwrap().records(&topic).unwrap();
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Everything of ours in `topic`, partition by partition, in the order of offsets.
pub async fn read(kafka: &str, topic: &str) -> Vec<Record> {
    let ours = records(kafka, topic).await.into_iter().filter_map(|record| {
        let (_, link) = record.link().ok().flatten()?;
        Some(Record {
            partition: record.partition,
            key: String::from_utf8(record.key.clone().unwrap()).unwrap(),
            id: record.header("ce_id")?.parse().ok()?,
            link,
            payload: record.value.unwrap(),
        })
    });
    ours.collect()
}

/// What an honest consumer applies of `records`, by the chain rule; panics where it would stop. Also holds the numbers up:
/// one number, one event, and one event, one number.
pub fn consume(records: &[Record]) -> Vec<Record> {
    let mut heads: BTreeMap<i32, Head> = BTreeMap::new();
    let mut number_of: HashMap<Uuid, Place> = HashMap::new();
    let mut event_of: HashMap<Place, Uuid> = HashMap::new();
    let mut applied = Vec::new();
    for record in records {
        let place = record.link.place;
        assert_eq!(*number_of.entry(record.id).or_insert(place), place, "an event under two numbers");
        assert_eq!(*event_of.entry(place).or_insert(record.id), record.id, "a number for two events");
        match judge(heads.get(&record.partition).copied(), place, record.link.previous) {
            Verdict::Apply => {
                heads.insert(record.partition, Head { place, previous: record.link.previous });
                applied.push(record.clone());
            }
            Verdict::Drop => {}
            verdict => panic!(
                "partition {}: {verdict:?} at {:?}, head {:?}",
                record.partition,
                record.link,
                heads.get(&record.partition)
            ),
        }
    }
    applied
}

/// Waits until `is` holds.
pub async fn eventually(what: &str, limit: Duration, mut is: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + limit;
    while !is().await {
        assert!(Instant::now() < until, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Running {
    pub async fn is_active(&self) {
        eventually("the relay to be active", Duration::from_secs(20), async || self.status.role() == Role::Active).await;
    }

    pub async fn published(&self, rows: u64) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.status.published() < rows {
            let (out, role) = (self.status.published(), self.status.role());
            assert!(Instant::now() < until, "{out} of {rows} rows are out, the relay is {role:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn stop(self) -> Result<(), Error> {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.task).await.expect("the relay stops in time").unwrap()
    }

    /// As kill -9 does: nothing is finished, nothing handed back.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
