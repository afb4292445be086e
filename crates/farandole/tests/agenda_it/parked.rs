//! What can't be processed for a while, among what can: through a topic, the intake and releases.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use farandole::config::Kafka;
use farandole::intake::{self, Intake};
use farandole::parking::operate;
use farandole::{Codec, Message as _, Participant as _, release};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio_util::sync::CancellationToken;

use crate::world::{Chronicle, Event, Happened, World};
use farandole::agenda::Poke;

const KEYS: usize = 9;
const INPUTS: usize = 240;
/// Releases look once a second, and a key balks some three times.
const PATIENCE: Duration = Duration::from_secs(90);

/// What happens to each key, in order. A `balk` fails until it is freed; what comes after it could go on, and mustn't.
fn stories(random: &mut impl FnMut(usize) -> usize) -> Vec<(usize, String)> {
    let input = |n| {
        // The first key balks at once and is freed last.
        let key = if n == 0 { 0 } else { random(KEYS) };
        let balks = n == 0 || (key > 0 && random(12) == 0);
        (key, if balks { format!("balk {n}") } else { format!("n{n}") })
    };
    (0..INPUTS).map(input).collect()
}

pub struct Topic {
    pub name: String,
    pub client: ClientConfig,
}

impl Topic {
    pub async fn new(partitions: i32) -> Self {
        let topic = Self::planned().await;
        topic.make(partitions).await;
        topic
    }

    /// A name that no topic has yet.
    pub async fn planned() -> Self {
        let stage = stage::Stage::shared();
        let name = format!("{}happened", stage.sandbox().await.unwrap().prefix);
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", stage.kafka());
        Self { name, client }
    }

    pub async fn make(&self, partitions: i32) {
        let new = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        // One that was just deleted may be there for a moment.
        until("the topic to be made", async || {
            self.admin().create_topics([&new], &AdminOptions::new()).await.unwrap().into_iter().all(|made| made.is_ok())
        })
        .await;
    }

    /// Deletes it, and makes another of its name.
    pub async fn make_anew(&self, partitions: i32) {
        self.admin().delete_topics(&[&self.name], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        self.make(partitions).await;
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn client(&self) -> &ClientConfig {
        &self.client
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client.create().unwrap()
    }

    /// Settings of a client of the brokers.
    pub fn kafka(&self) -> Kafka {
        Kafka { bootstrap: self.client.get("bootstrap.servers").unwrap().to_owned(), ..Kafka::default() }
    }

    /// Sends one record, with what else its headers say.
    pub async fn send_one(&self, key: usize, value: &[u8], headers: &[(&str, &str)]) {
        let producer: FutureProducer = self.client.create().unwrap();
        let add = |all: OwnedHeaders, (key, value): &(&str, &str)| all.insert(Header { key, value: Some(*value) });
        let headers = headers.iter().fold(OwnedHeaders::new(), add);
        let name = format!("k{key}");
        let record = FutureRecord::to(&self.name).partition((key % 2) as i32).key(&name).payload(value).headers(headers);
        producer.send(record, Duration::from_secs(10)).await.unwrap();
    }

    /// As a foreign producer does it: `ce_source` and `ce_id`, no chain.
    pub async fn send(&self, inputs: &[(usize, String)]) {
        let inputs = inputs.iter().map(|(key, what)| (key % 2, format!("k{key}"), format!("k{key}"), what.clone()));
        self.send_as(inputs).await;
    }

    /// Partition, the record's key, the event's aggregate, and what.
    pub async fn send_as(&self, inputs: impl IntoIterator<Item = (usize, String, String, String)>) {
        let codec = Codec::offline(Event::TYPES);
        let producer: FutureProducer = self.client.create().unwrap();
        for (partition, name, key, what) in inputs {
            let event = Happened { key, what: what.clone() };
            let mut headers = OwnedHeaders::new();
            // An id has a limit, which what is said has not.
            let id = what.get(..100).unwrap_or(&what);
            for (key, value) in [("ce_type", Happened::NAME), ("ce_source", "test"), ("ce_id", id)] {
                headers = headers.insert(Header { key, value: Some(value) });
            }
            // As another build might have: without a look whether it can be read here.
            let value = codec.encode(Happened::NAME, &event).unwrap();
            let record = FutureRecord::to(&self.name).partition(partition as i32).key(&name).payload(&value).headers(headers);
            producer.send(record, Duration::from_secs(10)).await.unwrap();
        }
    }

    /// How it is read, in batches of `records` at most.
    pub fn config(&self, records: usize) -> intake::Config {
        let bootstrap = self.client.get("bootstrap.servers").unwrap();
        let mut config = intake::Config::new(format!("{}-readers", self.name), bootstrap, vec![self.name.clone()]);
        (config.lanes, config.max_records) = (2, records);
        config
    }

    /// Starts a service's intake; batches of `records` at most.
    pub fn read(&self, world: &World, records: usize) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        self.read_as(world, self.config(records))
    }

    /// The same, configured otherwise.
    pub fn read_as(&self, world: &World, config: intake::Config) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        read(Intake::new(world.engine(&Poke::default()), config))
    }
}

/// Runs it until it is told to stop. No watchdog may have had to act: what it mends is a fault.
pub fn read(intake: Intake) -> (tokio::task::JoinHandle<()>, CancellationToken) {
    let (stop, troubles) = (CancellationToken::new(), intake.troubles());
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        intake.run(stopped).await.unwrap();
        assert_eq!(troubles.watchdogs(), 0, "a Kafka client went quiet");
    });
    (task, stop)
}

/// Guards: a batch asks what is parked once its rows are locked; what fails holds up the rest of its batch; a release runs
/// oldest first, locks what it releases, and stops at the first that fails. Two replicas release, and the intake is stopped
/// and started with batches of other sizes: each key's inputs take effect in their order, once, and nobody waits for others.
#[tokio::test(flavor = "multi_thread")]
async fn each_key_keeps_its_order_and_holds_up_no_other() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let mut state = 38_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    let inputs = stories(&mut random);
    let mut expected: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (key, what) in &inputs {
        expected.entry(format!("k{key}")).or_default().push(what);
    }
    let stop = CancellationToken::new();
    let releases: Vec<_> = (0..2).map(|_| tokio::spawn(release::run(world.engine(&Poke::default()), stop.clone()))).collect();

    for (part, records) in inputs.chunks(INPUTS / 3).zip([1, 7, 50]) {
        let (intake, stop) = topic.read(&world, records);
        topic.send(part).await;
        // Some of it was read; then the next one goes on.
        let some: HashSet<&str> = part.iter().take(INPUTS / 6).map(|(_, what)| what.as_str()).collect();
        until("some inputs to have come", async || {
            free(&world, random(KEYS - 1) + 1).await;
            let all = everything(&world).await;
            some.iter().all(|what| all.contains(*what))
        })
        .await;
        stop.cancel();
        intake.await.unwrap();
    }
    let (intake, stop_intake) = topic.read(&world, 500);
    until("the other keys to be done", async || {
        for key in 1..KEYS {
            free(&world, key).await;
        }
        let mut done = true;
        for (key, whats) in expected.iter().skip(1) {
            done &= told(&world, key).await.len() >= whats.len();
        }
        done
    })
    .await;
    let waiting = world.count("select count(*) from farandole.parked").await;
    assert_eq!(waiting, world.count("select count(*) from farandole.parked where aggregate = 'k0'").await);
    assert!(waiting > 5, "{waiting}: the first key was to wait all the while");
    until("the first to be done", async || {
        free(&world, 0).await;
        world.count("select count(*) from farandole.parked").await == 0 && told(&world, "k0").await.len() >= expected["k0"].len()
    })
    .await;
    stop_intake.cancel();
    intake.await.unwrap();
    stop.cancel();
    for release in releases {
        release.await.unwrap();
    }
    for (key, whats) in &expected {
        assert_eq!(told(&world, key).await, *whats, "{key}");
    }
}

/// Guards: an input has two names, its aggregate and its record's key, and what is parked is stored with both, asked for by both, and
/// released in order under both. Six articles and seven orders, each event of an order about some article: whatever has a name in
/// common takes effect in the order of its partition, once, while two replicas release and batches have sizes of all sorts. Without the
/// second name, what waits under an article is overtaken by what comes later of its order.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_holds_up_both_its_names() {
    let (world, topic) = (World::new().await, Topic::new(1).await);
    let mut state = 51_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    let inputs: Vec<(String, String, String)> = (0..INPUTS)
        .map(|n| {
            let what = if random(15) == 0 { format!("balk {n}") } else { format!("n{n}") };
            (format!("order-{}", random(7)), format!("k{}", random(6)), what)
        })
        .collect();
    let stop = CancellationToken::new();
    let releases: Vec<_> = (0..2).map(|_| tokio::spawn(release::run(world.engine(&Poke::default()), stop.clone()))).collect();
    let mut most = 0;
    for (part, records) in inputs.chunks(INPUTS / 3).zip([1, 7, 50]) {
        let (intake, stop) = topic.read(&world, records);
        topic.send_as(part.iter().cloned().map(|(order, article, what)| (0, order, article, what))).await;
        let last = part.last().unwrap().2.clone();
        until("the inputs to have come", async || {
            free(&world, random(6)).await;
            most = most.max(world.count("select count(*) from farandole.parked").await);
            everything(&world).await.contains(&last)
        })
        .await;
        stop.cancel();
        intake.await.unwrap();
    }
    until("all to be done", async || {
        for article in 0..6 {
            free(&world, article).await;
        }
        world.count("select count(*) from farandole.parked").await == 0
    })
    .await;
    stop.cancel();
    for release in releases {
        release.await.unwrap();
    }
    assert!(most > 10, "{most}: some were to wait");
    // In the order in which they took effect.
    let done: Vec<Vec<u8>> = sqlx::query_scalar("select payload from farandole.outbox where topic = 'chronicle' order by seq")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    let codec = world.engine(&Poke::default()).codec().clone();
    let whats = done.iter().map(|payload| match Event::decode(0, &codec, payload).unwrap() {
        Event::Happened(Happened { what, .. }) => what,
    });
    let places: HashMap<String, usize> = whats.zip(0..).collect();
    assert_eq!((places.len(), done.len()), (INPUTS, INPUTS), "each once");
    let names = inputs.iter().flat_map(|(order, article, _)| [order, article]).collect::<HashSet<_>>();
    for name in names {
        let mine = inputs.iter().filter(|(order, article, _)| order == name || article == name).map(|(_, _, what)| what);
        let order: Vec<usize> = mine.map(|what| places[what]).collect();
        assert!(order.is_sorted(), "{name}: {order:?}");
    }
}

/// What took effect on `key`, in order.
async fn told(world: &World, key: &str) -> Vec<String> {
    let story = world.story(key).await;
    story.split(", ").filter(|what| !what.is_empty() && *what != "free").map(str::to_owned).collect()
}

/// What took effect or waits.
async fn everything(world: &World) -> HashSet<String> {
    let mut all = HashSet::new();
    for key in 0..KEYS {
        all.extend(told(world, &format!("k{key}")).await);
    }
    let parked: Vec<String> = sqlx::query_scalar(
        "select h ->> 'value' from farandole.parked, jsonb_array_elements(headers) h where h ->> 'name' = 'ce_id'",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    all.extend(parked);
    all
}

/// If something of `key` is parked, then its trouble is over, and it is due.
async fn free(world: &World, key: usize) {
    let key = format!("k{key}");
    let parked = operate::retry(&world.pool, Chronicle::NAME, &key).await.unwrap();
    let story = world.story(&key).await;
    if parked && story.matches("free").count() <= story.matches("balk").count() {
        let free = "insert into stories values ($1, 'free') on conflict (key) do update set story = stories.story || ', free'";
        sqlx::query(free).bind(&key).execute(&world.pool).await.unwrap();
    }
}

pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !so().await {
        assert!(Instant::now() < limit, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
