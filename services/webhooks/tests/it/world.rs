//! The service on the shared stage, beside an outbox that publishes orders' events.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use farandole::codec::Codec;
use farandole::extent::{Client, View};
use farandole::outbox::{self, NewEvent};
use farandole::relay::{self, Relay};
use farandole::topics::{self, Kafka, Topics};
use farandole::{Message as _, record};
use schemas::orders::{Completion, OrderCompleted, OrderConfirmed, OrderLine, OrderPlaced, OrderProgressed, OrderStep};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use stage::Stage;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use webhooks::Heard;

use crate::subscriber::Subscriber;

/// When the orders' first event happens: after any subscription of these tests.
const AT: i64 = 4_000_000_000_000_000;

/// Only bounds failures.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// What each order's subscriber hears, in order.
pub const LIFE: [&str; 4] = ["order.placed", "order.confirmed", "order.progressed", "order.completed"];

/// The service, and what is around it.
pub struct World {
    pub pool: PgPool,
    kafka: String,
    registry: String,
    prefix: String,
    url: String,
    orders: (PgPool, Codec, String),
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    running: Option<Child>,
    pub base: String,
    client: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

impl World {
    /// With these settings of its own besides those that let it reach this machine.
    pub async fn new(settings: &[(&'static str, &str)]) -> Self {
        let stage = Stage::shared();
        let sandbox = stage.sandbox().await.unwrap();
        let (kafka, registry, prefix) = (stage.kafka().to_owned(), stage.registry().to_owned(), sandbox.prefix.clone());
        let stop = CancellationToken::new();
        let orders = PgPool::connect(&sandbox.database("orders").await.unwrap().url).await.unwrap();
        farandole::migrate(&orders).await.unwrap();
        let broker = Kafka { bootstrap: kafka.clone(), ..Kafka::default() };
        let named = Topics { prefix: prefix.clone(), partitions: 3, ..Topics::default() };
        topics::ensure(&broker, &named, "orders", true).await.unwrap();
        let (topic, codec) = (topics::own(&prefix, "orders"), Codec::new(&registry, &orders));
        codec.register(&topic, Heard::TYPES).await.unwrap();
        let (relay, _) = Relay::new(orders.clone(), relay::Config::new("orders", &kafka));
        tokio::spawn(relay.run(stop.clone()));
        let url = sandbox.database("webhooks").await.unwrap().url;
        let pool = PgPool::connect(&url).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n").unwrap();
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let (orders, client) = ((orders, codec, topic), reqwest::Client::new());
        let (running, base) = (None, String::new());
        let mut world = Self { pool, kafka, registry, prefix, url, orders, folder, settings, running, base, client, stop };
        world.start().await;
        world
    }

    /// Starts the program, and waits until it is ready.
    pub async fn start(&mut self) {
        let port_file = self.folder.path().join("port");
        let _ = std::fs::remove_file(&port_file); // of the time before
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = self
            .program(&["serve", "--migrate"])
            .env("FARANDOLE_HTTP_PORT_FILE", &port_file)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.running = Some(child.unwrap());
        eventually("the service to listen", async || port_file.exists()).await;
        let address = std::fs::read_to_string(&port_file).unwrap();
        self.base = format!("http://{}", address.trim());
        let ready = format!("{}/readyz", self.base);
        let client = self.client.clone();
        eventually("the service to be ready", async || {
            client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    fn program(&self, args: &[&str]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_webhooks"));
        program
            .args(args)
            .env("FARANDOLE_DATABASE_URL", &self.url)
            .env("FARANDOLE_KAFKA_BOOTSTRAP", &self.kafka)
            .env("FARANDOLE_REGISTRY_URL", &self.registry)
            .env("FARANDOLE_TOPICS_PREFIX", &self.prefix)
            .env("FARANDOLE_HTTP_LISTEN", "127.0.0.1:0")
            .env("FARANDOLE_OWN_KEY_FILE", self.folder.path().join("key"))
            .env("FARANDOLE_OWN_ALLOW_HTTP", "true")
            .env("FARANDOLE_OWN_ALLOW_PRIVATE", r#"["127.0.0.0/8"]"#)
            .envs(self.settings.iter().map(|(name, value)| (*name, value)));
        program
    }

    /// Has the program do something else: whether it went well, and all that it said.
    pub async fn tell(&self, args: &[&str]) -> (bool, String) {
        let mut program = self.program(args);
        let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }

    /// All that the program has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks for `path`: status and body.
    pub async fn ask(&self, method: reqwest::Method, path: &str, key: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(reqwest::Method::GET, path, None, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Registers a subscriber for everything; gives the id.
    pub async fn register(&self, url: &str, secret: &str) -> String {
        let body = json!({ "url": url, "types": LIFE, "secret": secret });
        let (status, said) = self.ask(reqwest::Method::POST, "/subscriptions", None, Some(body)).await;
        assert_eq!(status, 201, "{said}");
        said["subscription_id"].as_str().unwrap().to_owned()
    }

    pub async fn subscribe(&self, subscriber: &Subscriber) -> String {
        self.register(&subscriber.url, subscriber.secret).await
    }

    /// Orders that live a whole life, in one transaction each.
    pub async fn live(&self, orders: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..orders {
            let order_id = Uuid::now_v7();
            let lines = vec![OrderLine { sku: "tea".into(), quantity: 2, unit_price: 250 }];
            let (customer, card_token) = ("anna".to_owned(), "tok_of_a_card".into());
            let placed = OrderPlaced {
                order_id,
                customer: customer.clone(),
                currency: "EUR".into(),
                total: 500,
                lines,
                card_token,
                placed_at: AT + 1,
                confirm_by: 9,
            };
            let confirmed = OrderConfirmed { order_id, customer, confirmed_at: AT + 2 };
            let (step, tracking) = (OrderStep::Dispatched, Some("PX-1".to_owned()));
            let progressed = OrderProgressed { order_id, step, tracking, until: None, progressed_at: AT + 3 };
            let completed = OrderCompleted { order_id, how: Completion::Delivered, completed_at: AT + 4 };
            self.publish(order_id, [placed.into(), confirmed.into(), progressed.into(), completed.into()]).await;
            ids.push(order_id.to_string());
        }
        ids
    }

    async fn publish(&self, order_id: Uuid, events: impl IntoIterator<Item = Heard>) {
        let (pool, codec, topic) = &self.orders;
        let mut tx = pool.begin().await.unwrap();
        for event in events {
            let event = NewEvent::of(codec, topic.as_str(), order_id.to_string(), &event).unwrap();
            outbox::append(&mut tx, &event).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Everything that the service has written: its topics, its tables, its log.
    pub async fn written(&self) -> Vec<u8> {
        let mut all = self.said().into_bytes();
        for topic in ["webhooks", "webhooks.journal"] {
            let (kafka, topic) = (rdkafka::ClientConfig::new().set("bootstrap.servers", &self.kafka).clone(), self.topic(topic));
            let read = move || Client::new(&kafka, View::Committed).unwrap().records(&topic).unwrap();
            let records: Vec<record::Record> = tokio::task::spawn_blocking(read).await.unwrap();
            all.extend(records.iter().flat_map(|record| format!("{record:?}").into_bytes()));
            all.extend(records.into_iter().flat_map(|record| record.value.map(|value| value.to_vec()).unwrap_or_default()));
        }
        let tables: Vec<String> = sqlx::query_scalar(
            "select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables
             where schemaname not in ('pg_catalog', 'information_schema')",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        for table in tables {
            let rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(format!("select t::text from {table} t")));
            all.extend(rows.fetch_all(&self.pool).await.unwrap().concat().into_bytes());
        }
        all
    }

    fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Waits until it is so.
pub async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
