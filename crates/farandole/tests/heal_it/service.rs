//! A whole service on a database that is set back while its topic, its inputs and its consumers go on.

mod acts;
mod aggregate;
mod any_history;
mod asleep;
mod derived;
mod elsewhere;
mod from_nothing;
mod history;
mod killed;
mod markers;
mod odd;
mod other_fold;
mod owner;
mod partitions;
mod rebuild;
mod sums;
mod surroundings;
mod tombstone;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farandole::chain::Place;
use farandole::extent::{Client, Extent, View};
use farandole::heal::{Error, Folding, Mode, heal};
use farandole::service::{self, Bound, Missing};
use farandole::{Codec, Config, Message as _, relay};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};
use stage::{Database, Stage};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::till::{Counted, DEAR, Event, Heard, Insured, Insurer, Old, Sold, service};
use crate::world::{Record, consume, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

struct Shop {
    config: Config,
    database: Database,
    insurer: Insurer,
    producer: FutureProducer,
    codec: Codec,
    sales: String,
    /// Of what was sold: the number in the chain so far, and what the till and the articles must come to.
    sold: i64,
    tills: BTreeMap<String, i64>,
    articles: BTreeMap<String, i64>,
}

struct Running {
    url: String,
    stop: CancellationToken,
    task: JoinHandle<Result<(), service::Error>>,
}

impl Shop {
    async fn new() -> Self {
        let stage = tokio::task::spawn_blocking(Stage::shared).await.unwrap();
        let sandbox = stage.sandbox().await.unwrap();
        let database = sandbox.database("till").await.unwrap();
        let mut config = Config::default();
        config.database.url = database.url.as_str().into();
        config.kafka.bootstrap = stage.kafka().to_owned();
        config.registry.url = stage.registry().to_owned();
        config.topics.prefix = sandbox.prefix.clone();
        config.topics.partitions = 3;
        // Tests count what is published.
        config.intake.checkpoint_every = Duration::from_secs(3600);
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        let mut kafka = ClientConfig::new();
        kafka.set("bootstrap.servers", stage.kafka());
        let sales = format!("{}sales", sandbox.prefix);
        let admin: AdminClient<DefaultClientContext> = kafka.create().unwrap();
        let new = NewTopic::new(&sales, 1, TopicReplication::Fixed(1));
        admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        let pool = sqlx::postgres::PgPoolOptions::new().connect_lazy(&database.url).unwrap();
        let codec = Codec::new(stage.registry(), pool);
        let (insurer, producer) = (Insurer::default(), kafka.create().unwrap());
        let (tills, articles) = (BTreeMap::new(), BTreeMap::new());
        Self { config, database, insurer, producer, codec, sales, sold: 0, tills, articles }
    }

    async fn start(&self, missing: Missing) -> Running {
        self.start_as(service(self.insurer.clone()), missing).await
    }

    async fn start_as<P>(&self, build: farandole::Service<P, Insurer>, missing: Missing) -> Running
    where
        P: farandole::Participant,
        Insurer: farandole::agenda::EffectHandler<P>,
    {
        let bound = Bound::bind(&self.config.http).await.unwrap();
        let (url, stop) = (format!("http://{}", bound.address), CancellationToken::new());
        let task = tokio::spawn(build.serve(bound, self.config.clone(), missing, stop.clone()));
        Running { url, stop, task }
    }

    /// Sells over the topic that the service hears.
    async fn sell(&mut self, key: &str, article: &str, n: i64) {
        let (headers, payload) = self.sale(key, article, n).await;
        let record = FutureRecord::to(&self.sales).partition(0).key(key).payload(&payload).headers(headers);
        self.producer.send(record, PATIENCE).await.unwrap();
    }

    /// A sale as a record, the next of its chain, which is counted from here on.
    async fn sale(&mut self, key: &str, article: &str, n: i64) -> (OwnedHeaders, Vec<u8>) {
        if self.sold == 0 {
            self.codec.register(&self.sales, Heard::TYPES).await.unwrap();
        }
        let sold = Sold { key: key.to_owned(), article: article.to_owned(), n };
        let payload = Heard::from(sold).encode(&self.codec).unwrap();
        self.sold += 1;
        let previous = if self.sold == 1 { "-".to_owned() } else { format!("1:{}", self.sold - 1) };
        let (id, number) = (Uuid::now_v7().to_string(), self.sold);
        let link = format!("l=1;n={number};p={previous};c=command/x;k={id};i=1/1");
        let mut headers = OwnedHeaders::new();
        for (key, value) in
            [("ce_id", id.as_str()), ("ce_source", "/farandole/sales"), ("ce_type", Sold::NAME), ("farandole", &link)]
        {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        self.counts(key, article, n);
        (headers, payload)
    }

    fn counts(&mut self, key: &str, article: &str, n: i64) {
        // Two events a sale.
        *self.tills.entry(key.to_owned()).or_default() += 2 * n;
        *self.articles.entry(article.to_owned()).or_default() += n;
        *self.articles.entry("all".to_owned()).or_default() += n;
    }

    /// Sells over HTTP; counts it unless it is a repetition.
    async fn ask(&mut self, till: &Running, name: &str, sale: (&str, &str, i64), repeats: bool) -> (u16, String) {
        let (key, article, n) = sale;
        let post = reqwest::Client::new().post(format!("{}/sell/{key}/{article}/{n}", till.url));
        let answer = post.header("Idempotency-Key", name).send().await.unwrap();
        if !repeats {
            self.counts(key, article, n);
        }
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn pool(&self) -> PgPool {
        crate::world::pool(&self.database.url, 2).await
    }

    /// Waits until everything sold is counted, once, and all of it is out.
    async fn all_counted(&self) {
        let pool = self.pool().await;
        let wanted = (self.tills.clone(), self.articles.clone());
        let until = Instant::now() + PATIENCE;
        loop {
            let (tills, articles) = state(&pool).await;
            let found = (tills.into_iter().map(|(key, (total, _))| (key, total)).collect(), articles);
            let unsent = unsent(&pool).await;
            if found == wanted && unsent == 0 {
                break;
            }
            assert!(Instant::now() < until, "{found:?} instead of {wanted:?}, {unsent} unsent");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        pool.close().await;
    }

    /// What an honest consumer takes of the own topic.
    async fn own(&self) -> Vec<Record> {
        consume(&crate::world::read(&self.config.kafka.bootstrap, &format!("{}till", self.config.topics.prefix)).await)
    }

    /// As the server's administrator: a copy of the database is made, or put in its place. Who is connected is sent away, and stays
    /// away meanwhile.
    async fn copy(&self, from: &str, to: &str) {
        let mut admin = PgConnection::connect(Stage::shared().postgres()).await.unwrap();
        let there = "select datname::text from pg_database where datname = any($1)";
        let there: Vec<String> = sqlx::query_scalar(there).bind([from, to]).fetch_all(&mut admin).await.unwrap();
        for name in &there {
            admin.execute(AssertSqlSafe(format!("alter database \"{name}\" allow_connections false"))).await.unwrap();
        }
        for sql in [
            format!("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname in ('{from}', '{to}')"),
            format!("drop database if exists \"{to}\""),
            format!("create database \"{to}\" template \"{from}\" owner \"{}\"", self.database.role),
            format!("alter database \"{from}\" allow_connections true"),
        ] {
            admin.execute(AssertSqlSafe(sql)).await.unwrap();
        }
        admin.close().await.unwrap();
    }

    /// What a topic holds.
    async fn extents(&self, topic: &str) -> Vec<Extent> {
        let (kafka, topic) = (self.config.kafka.bootstrap.clone(), topic.to_owned());
        let asking = tokio::task::spawn_blocking(move || {
            let client = Client::new(ClientConfig::new().set("bootstrap.servers", kafka), View::Everything).unwrap();
            client.extents(&topic).unwrap()
        });
        asking.await.unwrap()
    }

    /// As retention does it: of each partition of a topic at most so many of the last offsets stay.
    async fn expire(&self, topic: &str, left: i64) {
        let mut expired = TopicPartitionList::new();
        for Extent { partition, high, .. } in self.extents(topic).await {
            expired.add_partition_offset(topic, partition, Offset::Offset((high - left).max(0))).unwrap();
        }
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.config.kafka.bootstrap).create().unwrap();
        admin.delete_records(&expired, &AdminOptions::new()).await.unwrap();
    }

    fn backup(&self) -> String {
        format!("{}_b", self.database.name)
    }

    async fn heal(&self, mode: Mode) -> Result<farandole::heal::Report, service::Error> {
        service(self.insurer.clone()).heal(&self.config, mode).await
    }
}

type Tills = BTreeMap<String, (i64, i64)>;

async fn state(pool: &PgPool) -> (Tills, BTreeMap<String, i64>) {
    let tills: Vec<(String, i64, i64)> = sqlx::query_as("select key, total, insured from tills").fetch_all(pool).await.unwrap();
    let articles: Vec<(String, i64)> = sqlx::query_as("select article, sold from articles").fetch_all(pool).await.unwrap();
    (tills.into_iter().map(|(key, total, insured)| (key, (total, insured))).collect(), articles.into_iter().collect())
}

async fn unsent(pool: &PgPool) -> i64 {
    let sql = "select count(*) from farandole.outbox where not pg_visible_in_snapshot(xid, (select (state->>'a')::pg_snapshot
               from farandole.steps where scope = 'relay' order by step desc limit 1))";
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

impl Running {
    async fn ready(self) -> Self {
        let ready = async || match reqwest::get(format!("{}/readyz", self.url)).await {
            Ok(answer) => answer.status().is_success() || self.task.is_finished(),
            Err(_) => self.task.is_finished(),
        };
        eventually("the till to be ready", PATIENCE, ready).await;
        if self.task.is_finished() {
            panic!("{:?}", self.task.await);
        }
        self
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops in time").unwrap().unwrap();
    }

    async fn refuses(self) -> String {
        let error = tokio::time::timeout(PATIENCE, self.task).await.expect("it refuses in time").unwrap().unwrap_err();
        farandole::engine::chain_of(&error)
    }
}

/// D1, F54. A backup is restored in the same cluster while topic, group offsets and consumers are ahead. The service refuses to
/// start and names the command; healed, it goes on: what it had counted is counted, what comes again is passed over, what it had
/// answered it answers again, what was insured stays so, and what may have been asked of the insurer is asked under its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_goes_on_after_its_backup_was_restored() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    for i in 0..20 {
        shop.sell(&format!("k{}", i % 4), "tea", 1 + i).await;
    }
    assert_eq!(shop.ask(&till, "before", ("k0", "tea", 5), false).await.0, 201);
    shop.all_counted().await;
    till.stop().await;
    shop.copy(&shop.database.name, &shop.backup()).await;

    let till = shop.start(Missing::Refuse).await.ready().await;
    for i in 0..60 {
        shop.sell(&format!("k{}", i % 7), if i % 2 == 0 { "tea" } else { "cups" }, 20 + i).await;
    }
    shop.sell("insured", "jar", DEAR).await;
    let first = shop.ask(&till, "since", ("k1", "cups", 7), false).await;
    assert_eq!(first.0, 201);
    shop.all_counted().await;
    let pool = shop.pool().await;
    eventually("the jar to be insured", PATIENCE, async || {
        state(&pool).await.0.get("insured") == Some(&(2 * DEAR, DEAR)) && unsent(&pool).await == 0
    })
    .await;
    // Asked, never answered: the insurer may have it on its books.
    *shop.insurer.mute.lock().unwrap() = true;
    shop.sell("asked", "jar", DEAR).await;
    // Of this one: what was asked before may have been asked twice.
    eventually("the insurer to be asked", PATIENCE, async || {
        shop.insurer.calls.lock().unwrap().iter().any(|call| call.aggregate == "asked")
    })
    .await;
    shop.all_counted().await;
    let calls = shop.insurer.calls.lock().unwrap().clone();
    let refused = shop.heal(Mode::Execute).await.unwrap();
    assert!(refused.is_whole(), "nothing to do while all is well: {refused}");
    pool.close().await;
    till.stop().await;
    let before = shop.own().await;

    shop.copy(&shop.backup(), &shop.database.name).await;
    let said = shop.start(Missing::Refuse).await.refuses().await;
    assert!(said.contains("`till heal`"), "{said}");

    // An older build doesn't know what is in its topic.
    let pool = shop.pool().await;
    let mut config = relay::Config::new("till", &shop.config.kafka.bootstrap);
    let own = format!("{}till", shop.config.topics.prefix);
    config.topics = vec![own.clone(), format!("{own}.journal")];
    let old = Folding::new(Arc::new(Old), Codec::new(&shop.config.registry.url, pool.clone()), own.clone(), Vec::new());
    match heal(&pool, &config, &old, Mode::Execute).await {
        Err(Error::UnknownType { kind, service: "till", .. }) => assert_eq!(kind, Counted::NAME),
        other => panic!("{other:?}"),
    }

    let dry = shop.heal(Mode::DryRun).await.unwrap();
    // Two events a sale, and the insurance.
    let missing: u64 = dry.partitions.iter().map(|p| p.missing).sum();
    assert_eq!((missing, dry.unpublished, dry.done), (2 * 63 + 1, 0, false), "{dry}");
    assert_eq!(dry.positions.values().sum::<i64>(), 20, "{dry}");
    assert!(dry.to_string().contains("`till heal --execute`"), "{dry}");
    let done = shop.heal(Mode::Execute).await.unwrap();
    assert_eq!((done.done, done.applied, done.lineage.0), (true, Some(62), 1), "{done}");
    assert!(shop.heal(Mode::Execute).await.unwrap().is_whole(), "a second time there is nothing to do");
    let tasks: Vec<(String, Uuid)> =
        sqlx::query_as("select key, idempotency_key from farandole.tasks").fetch_all(&pool).await.unwrap();
    let asked = calls.iter().find(|c| c.aggregate == "asked").unwrap();
    assert_eq!(tasks, [("asked".to_owned(), asked.idempotency_key)], "what was insured isn't insured again");

    shop.insurer.calls.lock().unwrap().clear();
    *shop.insurer.mute.lock().unwrap() = false;
    let till = shop.start(Missing::Refuse).await.ready().await;
    // The answer of before, and nothing is counted for it.
    assert_eq!(shop.ask(&till, "since", ("k1", "cups", 7), true).await, first);
    assert_eq!(shop.ask(&till, "since", ("k1", "cups", 8), true).await.0, 422);
    for i in 0..20 {
        shop.sell(&format!("k{}", i % 7), "tea", 100 + i).await;
    }
    shop.all_counted().await;
    let insured = async || state(&pool).await.0.get("asked") == Some(&(2 * DEAR, DEAR)) && unsent(&pool).await == 0;
    eventually("the second jar to be insured", PATIENCE, insured).await;
    let calls = shop.insurer.calls.lock().unwrap().clone();
    assert!(calls.iter().all(|c| c.idempotency_key == asked.idempotency_key), "{calls:?}");
    assert!(calls[0].first_attempt_at <= asked.first_attempt_at, "it may have been asked since it was opened");
    till.stop().await;

    // The topic is one history: the one of before, then the new lineage, and the database is its fold.
    let after = shop.own().await;
    let ids = |records: &[Record]| records.iter().map(|r| r.id).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(ids(&after).len(), after.len());
    assert!(ids(&before).is_subset(&ids(&after)));
    assert_eq!(after.len(), before.len() + 2 * 20 + 1);
    let new: Vec<Place> = after.iter().map(|r| r.link.place).filter(|place| place.lineage == done.lineage.1).collect();
    assert_eq!(new.len(), 41);
    let (kafka, topic) = (shop.config.kafka.bootstrap.clone(), own);
    let report = tokio::task::spawn_blocking(move || farandole_cli::verify::topic(&kafka, &[], &topic, false)).await.unwrap();
    let report = report.unwrap();
    assert_eq!((report.violations, report.records), (0, after.len() as u64), "{:?}", report.examples);
    assert_eq!(fold(&shop.codec, &after).await, state(&pool).await);
    pool.close().await;
}

/// A service's own topic is the log of its state, so it stays the same topic. Guard: the owner's row, and before there was one, the
/// topics in the relay's state. Without, its history goes on in another topic, and no heal finds the two halves.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_topic_would_be_another_refuses() {
    let mut shop = Shop::new().await;
    shop.start(Missing::Make).await.ready().await.stop().await;
    let pool = shop.pool().await;
    let prefix = std::mem::replace(&mut shop.config.topics.prefix, "elsewhere.".to_owned());
    for forget in ["select 1", "delete from farandole.owner"] {
        pool.execute(forget).await.unwrap();
        let said = shop.start(Missing::Refuse).await.refuses().await;
        assert!(said.contains(&format!("are in topic {prefix}till")) && said.contains("elsewhere.till"), "{said}");
    }
    shop.config.topics.prefix = prefix;
    shop.start(Missing::Refuse).await.ready().await.stop().await;
    // Under another name.
    pool.execute("update farandole.owner set service = 'orders'").await.unwrap();
    let said = shop.start(Missing::Refuse).await.refuses().await;
    assert!(said.contains("belongs to service `orders`, and `till` can't share it"), "{said}");
    pool.close().await;
}

/// The tables, from the topic alone.
async fn fold(codec: &Codec, records: &[Record]) -> (Tills, BTreeMap<String, i64>) {
    codec.add_reader_schema(Event::TYPES).unwrap();
    codec.prepare(records.iter().filter_map(|r| Codec::schema_id(&r.payload).ok())).await.unwrap();
    let (mut tills, mut articles) = (Tills::new(), BTreeMap::new());
    for record in records {
        let name = if record.link.cause.starts_with("outcome/") { Insured::NAME } else { Counted::NAME };
        match Event::decode(Event::find(name).unwrap(), codec, &record.payload).unwrap() {
            Event::Counted(e) => {
                tills.entry(e.key).or_default().0 += e.n;
                *articles.entry(e.article).or_default() += e.n;
            }
            Event::Insured(e) => tills.entry(e.key).or_default().1 += e.n,
        }
    }
    (tills, articles)
}
