//! Orders and payments as far as analytics needs them, on the kit's outboxes; the board; and what the truth is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use farandole::extent::{self, View};
use farandole::outbox::{self, NewEvent};
use farandole::relay::{self, Relay};
use farandole::topics::{self, Kafka, Topics};
use farandole::{Codec, Message};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use schemas::orders::{CancellationReason, OrderCancelled, OrderConfirmed, OrderPlaced};
use schemas::payments::{PaymentAuthorised, PaymentRefunded, PaymentVoided};
use serde_json::Value;
use sqlx::PgPool;
use stage::Stage;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Only bounds failures.
const PATIENCE: Duration = Duration::from_secs(90);
const DAY: i64 = 24 * 3600 * 1_000_000;
/// 2026-11-30.
const TODAY: i64 = 20_787;

farandole::messages! { pub enum Orders { Placed(OrderPlaced), Confirmed(OrderConfirmed), Cancelled(OrderCancelled) } }
farandole::messages! { pub enum Payments { Authorised(PaymentAuthorised), Voided(PaymentVoided), Refunded(PaymentRefunded) } }

/// What days have brought: orders and revenue by day and currency.
pub type Figures = BTreeMap<(i32, String), (i64, i64)>;

pub struct Shop {
    pub kafka: String,
    pub registry: String,
    pub prefix: String,
    pub partitions: i32,
    pub folder: TempDir,
    pub truth: Figures,
    /// The days on which orders are placed now.
    pub days: std::ops::Range<i64>,
    orders: Outbox,
    payments: Outbox,
    board: PgPool,
    reader: Child,
    stop: CancellationToken,
    seed: u64,
}

struct Outbox {
    pool: PgPool,
    codec: Codec,
    topic: String,
}

impl Outbox {
    /// A service's outbox and relay.
    async fn of<M: Message>(name: &str, shop: (&str, &str, &str), url: &str, stop: &CancellationToken) -> Self {
        let (kafka, registry, prefix) = shop;
        let pool = PgPool::connect(url).await.unwrap();
        farandole::migrate(&pool).await.unwrap();
        let (broker, settings) = (
            Kafka { bootstrap: kafka.to_owned(), ..Kafka::default() },
            Topics { prefix: prefix.to_owned(), partitions: 3, ..Topics::default() },
        );
        topics::ensure(&broker, &settings, name, true).await.unwrap();
        let topic = topics::own(prefix, name);
        let codec = Codec::new(registry, &pool);
        codec.register(&topic, M::TYPES).await.unwrap();
        let (relay, _) = Relay::new(pool.clone(), relay::Config::new(name, kafka));
        tokio::spawn(relay.run(stop.clone()));
        Self { pool, codec, topic }
    }

    async fn append<M: Message>(&self, events: Vec<(Uuid, M)>) {
        let mut tx = self.pool.begin().await.unwrap();
        for (order, event) in events {
            let event = NewEvent::of(&self.codec, &*self.topic, order.to_string(), &event).unwrap();
            outbox::append(&mut tx, &event).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.reader.kill(); // it may have ended
        let _ = self.reader.wait();
    }
}

impl Shop {
    pub async fn open(seed: u64) -> Self {
        let stage = Stage::shared();
        let sandbox = stage.sandbox().await.unwrap();
        let (kafka, registry, prefix) = (stage.kafka().to_owned(), stage.registry().to_owned(), sandbox.prefix.clone());
        let stop = CancellationToken::new();
        let url = async |name: &str| sandbox.database(name).await.unwrap().url;
        let at = (&*kafka, &*registry, &*prefix);
        let orders = Outbox::of::<Orders>("orders", at, &url("orders").await, &stop).await;
        let payments = Outbox::of::<Payments>("payments", at, &url("payments").await, &stop).await;
        let board = PgPool::connect(&url("board").await).await.unwrap();
        sqlx::raw_sql(include_str!("../../schema.sql")).execute(&board).await.unwrap();
        let reader = Command::new(env!("CARGO_BIN_EXE_revenue-board"))
            .env("FARANDOLE_DATABASE_URL", url("board").await)
            .env("FARANDOLE_KAFKA_BOOTSTRAP", &kafka)
            .env("FARANDOLE_REGISTRY_URL", &registry)
            .env("FARANDOLE_TOPICS_PREFIX", &prefix)
            .spawn()
            .unwrap();
        let (folder, truth) = (tempfile::tempdir().unwrap(), Figures::new());
        Self {
            kafka,
            registry,
            prefix,
            partitions: 3,
            folder,
            truth,
            days: TODAY..TODAY + 4,
            orders,
            payments,
            board,
            reader,
            stop,
            seed,
        }
    }

    /// A number below `most`.
    pub fn random(&mut self, most: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % most
    }

    /// Some orders from beginning to end, in two currencies; every fifth is cancelled, every fifth given back. The truth knows of them.
    pub async fn trade(&mut self, orders: usize) {
        let (mut told, mut paid) = (Vec::new(), Vec::new());
        for _ in 0..orders {
            let (order_id, day) =
                (Uuid::new_v4(), self.days.start + self.random((self.days.end - self.days.start) as u64) as i64);
            let (amount, currency) = (1 + self.random(100_000) as i64, ["GBP", "EUR"][self.random(2) as usize].to_owned());
            let at = day * DAY + self.random(DAY as u64) as i64;
            let placed = OrderPlaced {
                order_id,
                customer: "c1".to_owned(),
                currency: currency.clone(),
                total: amount,
                lines: Vec::new(),
                card_token: "tok".to_owned(),
                placed_at: at,
                confirm_by: at + DAY,
            };
            let (authorisation_id, authorised_at) = ("a1".to_owned(), at);
            let confirmed = OrderConfirmed { order_id, customer: "c1".to_owned(), confirmed_at: at };
            told.extend([(order_id, placed.into()), (order_id, confirmed.into())]);
            let authorised = PaymentAuthorised {
                order_id,
                authorisation_id: authorisation_id.clone(),
                amount,
                currency: currency.clone(),
                authorised_at,
                expires_at: None,
            };
            paid.push((order_id, authorised.into()));
            match self.random(5) {
                0 => {
                    let reason = CancellationReason::CustomerRequest;
                    told.push((order_id, OrderCancelled { order_id, reason, cancelled_at: at }.into()));
                    paid.push((order_id, PaymentVoided { order_id, authorisation_id, amount, currency, voided_at: at }.into()));
                }
                1 => {
                    paid.push((
                        order_id,
                        PaymentRefunded { order_id, authorisation_id, amount, currency, refunded_at: at }.into(),
                    ));
                }
                _ => {
                    let figures = self.truth.entry((i32::try_from(day).unwrap(), currency)).or_default();
                    *figures = (figures.0 + 1, figures.1 + amount);
                }
            }
        }
        self.orders.append::<Orders>(told).await;
        self.payments.append::<Payments>(paid).await;
    }

    /// What the board shows, days without orders left out.
    pub async fn shown(&self) -> Figures {
        let sql = "select day - date '1970-01-01', currency, orders, revenue from revenue where orders > 0 or revenue <> 0";
        let rows: Vec<(i32, String, i64, i64)> = sqlx::query_as(sql).fetch_all(&self.board).await.unwrap();
        rows.into_iter().map(|(day, currency, orders, revenue)| ((day, currency), (orders, revenue))).collect()
    }

    /// How many reports the board was given.
    pub async fn reports(&self) -> i64 {
        sqlx::query_scalar("select coalesce(sum(reports), 0)::bigint from revenue").fetch_one(&self.board).await.unwrap()
    }

    /// Waits until the board shows the truth.
    pub async fn settled(&self) {
        eventually("the board to show the truth", async || self.shown().await == self.truth).await;
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.kafka);
        client
    }

    /// Lineage, number and id of each record that analytics published, in the order of each partition; none while it has no topic.
    pub async fn published(&self) -> Vec<(i64, i64, String)> {
        let (client, topic) = (self.client(), format!("{}analytics", self.prefix));
        let read = move || extent::Client::new(&client, View::Everything).and_then(|client| client.records(&topic));
        let records = tokio::task::spawn_blocking(read).await.unwrap().unwrap_or_default();
        let place = |record: &farandole::Record| {
            let (_, link) = record.link().unwrap().unwrap();
            (link.place.lineage, link.place.number, record.header("ce_id").unwrap().to_owned())
        };
        records.iter().map(place).collect()
    }

    /// What `farandole verify` says of analytics' topic, which has to be whole; and each number was given to one event. Gives the chains.
    pub async fn verified(&self) -> Vec<Value> {
        let bins = std::env::current_exe().unwrap();
        let tool =
            bins.ancestors().map(|folder| folder.join("farandole")).find(|tool| tool.is_file()).expect("built with --bins");
        let topic = format!("{}analytics", self.prefix);
        let output = Command::new(tool).args(["verify", "--json", "--quiet", "-b", &self.kafka, &topic]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert!(output.status.success() && report["violations"] == 0 && report["foreign"] == 0, "{report}");
        let published = self.published().await;
        let events: BTreeSet<&(i64, i64, String)> = published.iter().collect();
        let places: BTreeSet<(i64, i64)> = published.iter().map(|(lineage, number, _)| (*lineage, *number)).collect();
        let ids: BTreeSet<&str> = published.iter().map(|(_, _, id)| id.as_str()).collect();
        assert_eq!(
            (events.len(), events.len()),
            (places.len(), ids.len()),
            "a number is one event's, and an event has one number"
        );
        let chains = report["chains"].as_array().unwrap().clone();
        let links: u64 = chains.iter().map(|chain| chain["links"].as_u64().unwrap()).sum();
        assert_eq!(links as usize, events.len());
        chains
    }

    /// A record of somebody else's.
    pub async fn stray(&self, topic: &str, partition: i32, headers: &[(&str, &str)], key: Option<&str>, value: Option<&[u8]>) {
        let producer: FutureProducer = self.client().create().unwrap();
        let add = |all: OwnedHeaders, (key, value): &(&str, &str)| all.insert(Header { key, value: Some(value.as_bytes()) });
        let topic = format!("{}{topic}", self.prefix);
        let headers = headers.iter().fold(OwnedHeaders::new(), add);
        let mut record: FutureRecord<'_, str, [u8]> = FutureRecord::to(&topic).partition(partition).headers(headers);
        (record.key, record.payload) = (key, value);
        producer.send(record, PATIENCE).await.unwrap();
    }
}

impl Shop {
    /// Deletes a topic, and makes another of its name.
    pub async fn make_anew(&self, topic: &str) {
        let topic = format!("{}{topic}", self.prefix);
        let (admin, options): (AdminClient<DefaultClientContext>, _) = (self.client().create().unwrap(), AdminOptions::new());
        admin.delete_topics(&[&topic], &options).await.unwrap().remove(0).unwrap();
        // It may be there for a moment yet.
        let new = NewTopic::new(&topic, self.partitions, TopicReplication::Fixed(1));
        let make = async || admin.create_topics([&new], &options).await.unwrap().remove(0).is_ok();
        eventually("the topic to be made", make).await;
    }

    /// A record with a header whose name isn't UTF-8, which other clients don't write.
    pub fn stray_with_a_name_that_is_no_text(&self, topic: &str, partition: i32, key: &str) {
        let topic = format!("{}{topic}", self.prefix);
        let mut kcat = Command::new("kcat")
            .args(["-b", &self.kafka, "-P", "-t", &topic, "-p", &partition.to_string(), "-k", key, "-H"])
            .arg(OsStr::from_bytes(b"\xff\xfe=x"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("kcat is installed");
        kcat.stdin.take().unwrap().write_all(b"x\n").unwrap();
        assert!(kcat.wait().unwrap().success());
    }
}

pub async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
