//! The sequences of `docs/wire.md`, by which consumers in other languages are checked: through a topic and the intake, and by `farandole verify`.

use std::collections::BTreeMap;
use std::time::Duration;

use farandole::config::{PerTopic, Unknown};
use farandole::engine::Engine;
use farandole::intake::{self, Intake};
use farandole::{Body, Codec, Decision, Input, Message as _, Never, Participant, Record, Refusal};
use farandole_cli::verify::{Seen, Tally, Walk};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stage::Stage;

use crate::parked::{read, until};
use crate::world::World;

macro_rules! json_type {
    ($name:ident { $($field:ident: $ty:ty),* }) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name { $(pub $field: $ty),* }
        impl $name {
            pub const NAME: &'static str = concat!("shop.", stringify!($name));
            pub const SCHEMA: &'static str = "";
            pub const TOPIC: &'static str = "orders";
        }
    };
}
json_type!(OrderPlaced { order_id: String, total: i64 });
json_type!(OrderSeen {});

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    pub key: String,
}
impl Applied {
    pub const NAME: &'static str = "test.Applied";
    pub const SCHEMA: &'static str =
        r#"{"type": "record", "name": "Applied", "namespace": "test", "fields": [{"name": "key", "type": "string"}]}"#;
    pub const TOPIC: &'static str = "consumer";
}

farandole::messages! { pub enum Heard { OrderPlaced } ignores { OrderSeen } }
farandole::messages! { pub enum Event { Applied } }
farandole::tables! { pub struct Tables {} }

/// Publishes one event for each record that it is given, which names the record as its cause.
#[derive(Debug)]
struct Consumer;

impl Participant for Consumer {
    const NAME: &'static str = "consumer";
    type Id = String;
    type Event = Event;
    type Heard = Heard;
    type Command = Never;
    type Deadline = Never;
    type Effect = Never;
    type Tables = Tables;
    fn decide(&self, _: &Tables, key: &String, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        match &input.body {
            Body::Heard(_) => Ok(Decision::event(Applied { key: key.clone() })),
            _ => Ok(Decision::nothing()),
        }
    }
    fn evolve(&self, _: &mut Tables, _: &Event) {}
}

fn bytes(said: &Value) -> Option<Vec<u8>> {
    match said {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        said => {
            let hex = said["hex"].as_str().unwrap();
            Some((0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect())
        }
    }
}

/// One sequence, and the topic that it is in.
struct Sequence {
    said: Value,
    topic: String,
}

impl Sequence {
    fn records(&self) -> &[Value] {
        self.said["records"].as_array().unwrap()
    }

    fn is_whole(&self) -> bool {
        self.said.get("first_offset").is_none()
    }

    /// All sequences are read into one database, where keys, and sources with ids, are the same whatever topic they are in: each gets its own.
    fn own(&self, text: &[u8]) -> Vec<u8> {
        let own = |text: &[u8]| [self.topic.as_bytes(), b"/", text].concat();
        if text.is_empty() { Vec::new() } else { own(text) }
    }

    async fn send(&self, producer: &FutureProducer) {
        for record in self.records() {
            let mut headers = OwnedHeaders::new();
            for header in record["headers"].as_array().unwrap() {
                let (name, value) = (header[0].as_str().unwrap(), bytes(&header[1]));
                let value = if name == "ce_id" { value.map(|id| self.own(&id)) } else { value };
                headers = headers.insert(Header { key: name, value: value.as_deref() });
            }
            let (key, value) = (bytes(&record["key"]).map(|key| self.own(&key)), bytes(&record["value"]));
            let mut message: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic).partition(0).headers(headers);
            (message.key, message.payload) = (key.as_deref(), value.as_deref());
            let at = producer.send(message, Duration::from_secs(10)).await.unwrap();
            assert_eq!(at.offset, record["offset"], "{}", self.said["name"]);
        }
    }

    /// The same as a walk sees it that doesn't stop.
    fn walked(&self) -> Value {
        let mut walk = Walk::new(self.topic.clone(), !self.is_whole());
        for said in self.records() {
            let header = |said: &Value| farandole::record::Header {
                name: said[0].as_str().unwrap().to_owned(),
                value: String::from_utf8(bytes(&said[1]).unwrap_or_default()).unwrap(),
            };
            let headers = said["headers"].as_array().unwrap().iter().map(header).collect();
            let record = Record { headers, ..Record::default() };
            walk.record(said["offset"].as_i64().unwrap(), Seen::of(record.link()));
        }
        let mut all = Tally::default();
        walk.tallies.values().for_each(|tally| all.add(*tally));
        json!({
            "links": all.links, "duplicates": all.duplicates, "gaps": all.gaps, "forks": all.forks, "stale": all.ghosts,
            "foreign": walk.foreign, "damaged": walk.damaged,
        })
    }

    /// What has to be in the database of this sequence's topic by the offset: `apply` or `park`; nothing for the others.
    fn expected(&self) -> BTreeMap<i64, String> {
        let kept = |record: &Value| {
            let outcome = record["outcome"].as_str().filter(|outcome| ["apply", "park"].contains(outcome))?;
            Some((record["offset"].as_i64().unwrap(), outcome.to_owned()))
        };
        self.records().iter().filter_map(kept).collect()
    }

    fn stop(&self) -> Option<i64> {
        let stop = self.records().iter().find(|record| record["outcome"] == "stop");
        stop.map(|record| record["offset"].as_i64().unwrap())
    }
}

async fn sequences() -> Vec<Sequence> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wire/vectors/sequences.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(file["consumer"]["ignores"], json!([OrderSeen::NAME]));
    assert_eq!(file["consumer"]["reacts_to"].as_object().unwrap().keys().collect::<Vec<_>>(), [OrderPlaced::NAME]);
    let prefix = Stage::shared().sandbox().await.unwrap().prefix;
    let all = file["sequences"].as_array().unwrap().clone();
    assert!(all.len() >= 20, "{}", all.len());
    all.into_iter().enumerate().map(|(n, said)| Sequence { said, topic: format!("{prefix}s{n}.orders") }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_do_what_the_document_says() {
    let all = sequences().await;
    for sequence in &all {
        assert_eq!(sequence.walked(), sequence.said["verify"], "{}", sequence.said["name"]);
    }
    let whole: Vec<&Sequence> = all.iter().filter(|sequence| sequence.is_whole()).collect();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", Stage::shared().kafka());
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let topics: Vec<NewTopic<'_>> =
        whole.iter().map(|sequence| NewTopic::new(&sequence.topic, 1, TopicReplication::Fixed(1))).collect();
    admin.create_topics(&topics, &AdminOptions::new()).await.unwrap().into_iter().for_each(|made| drop(made.unwrap()));
    let producer: FutureProducer = client.create().unwrap();
    for sequence in &whole {
        sequence.send(&producer).await;
    }

    let world = World::new().await;
    let codec = Codec::offline(&[Event::TYPES, farandole::parking::journal::TYPES].concat());
    let engine = Engine::new(
        std::sync::Arc::new(Consumer),
        codec,
        world.pool.clone(),
        "consumer".to_owned(),
        Box::new(|| {}),
        Box::new(|_| {}),
    );
    let ignoring = whole.iter().filter(|sequence| sequence.said["unknown"] == "ignore");
    let unknown = ignoring.fold(PerTopic::default(), |unknown, sequence| unknown.with(&sequence.topic, Unknown::Ignore));
    let names = whole.iter().map(|sequence| sequence.topic.clone()).collect();
    let config = intake::Config::new(format!("{}-readers", whole[0].topic), Stage::shared().kafka(), names);
    let intake = Intake::new(std::sync::Arc::new(engine.unknown(unknown)), config);
    let troubles = intake.troubles();
    let (intake, stop) = read(intake);

    for sequence in whole {
        let last = sequence.records().len() as i64;
        let end = sequence.stop().unwrap_or(last);
        let said = || troubles.list().into_iter().find(|trouble| trouble.contains(&format!("{}/0", sequence.topic)));
        until("the sequence to be read", async || match sequence.stop() {
            Some(at) => said().is_some_and(|trouble| trouble.contains(&format!("{}/0@{at} ", sequence.topic))),
            None => next_offset(&world, &sequence.topic).await == end,
        })
        .await;
        assert_eq!(kept(&world, &sequence.topic).await, sequence.expected(), "{}", sequence.said["name"]);
        assert_eq!(said().is_some(), sequence.stop().is_some(), "{}: {:?}", sequence.said["name"], said());
    }
    stop.cancel();
    intake.await.unwrap();
}

async fn next_offset(world: &World, topic: &str) -> i64 {
    let sql = "select (state->>'next_offset')::bigint from farandole.steps
               where scope like 'position/%' and scope like '%/' || $1 || '/0' order by step desc limit 1";
    sqlx::query_scalar(sql).bind(topic).fetch_optional(&world.pool).await.unwrap().unwrap_or(0)
}

/// By the offset, what became of the records of a topic.
async fn kept(world: &World, topic: &str) -> BTreeMap<i64, String> {
    let sql = "select split_part(cause, '/', 3)::bigint, 'apply' from farandole.outbox where type = $2 and cause like $1 || '/%'
               union all select record_offset, 'park' from farandole.parked where topic = $1";
    let rows: Vec<(i64, String)> = sqlx::query_as(sql).bind(topic).bind(Applied::NAME).fetch_all(&world.pool).await.unwrap();
    let count = rows.len();
    let kept: BTreeMap<i64, String> = rows.into_iter().collect();
    assert_eq!(kept.len(), count, "once each: {kept:?}");
    kept
}
