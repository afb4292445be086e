//! A small participant, its effects, and agendas over a database of the test's own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farandole::agenda::{Agenda, Call, Config, EffectError, EffectHandler, Poke};
use farandole::engine::{Engine, NoSource, Origin, Verdict, Work};
use farandole::{
    Answer, Body, Codec, Decision, IdempotencyKey, Input, Message, Participant, Refusal, Task, Tasks, Timestamp, task,
};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Something happened: `pay`, `pay-two`, `pay-twice`, `pay-slashed`, `unpay`, `wait <micros>`, `unwait [of]`, `stick`, `free`, `rang`, `paid <answer>`, `balk`, `many <events> <bytes>`. Nothing but
/// commands gets by a `stick` before a `free`, and a `balk` that is heard needs a `free` of its own before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    pub key: String,
    #[serde(deserialize_with = "unless_it_explodes")]
    pub what: String,
}

/// Code of a type's own, which panics at `explode`.
fn unless_it_explodes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let what = String::deserialize(deserializer)?;
    assert!(what != "explode", "it exploded");
    Ok(what)
}

impl Happened {
    pub const NAME: &'static str = "test.Happened";
    pub const TOPIC: &'static str = "test";
    pub const SCHEMA: &'static str = r#"{"type":"record","name":"Happened","namespace":"test","fields":[
        {"name":"key","type":"string"},{"name":"what","type":"string"}]}"#;
}

farandole::messages! { pub enum Event { Happened } ignores {} }
farandole::deadlines! { pub enum Deadline { Alarm } }

farandole::tables! {
    pub struct Tables { stories: Story in "stories" { key: String, story: String } }
}

/// Effects by hand, as one names them that `effects!` can't: with a slash.
#[derive(Debug, Clone, PartialEq)]
pub struct Pay {
    pub of: String,
    name: &'static str,
}

impl task::Effect for Pay {
    type Outcome = String;
    const NAMES: &'static [&'static str] = &["pay", "fee", "pay/x"];
    fn name(&self) -> &'static str {
        self.name
    }
    fn to_json(&self) -> serde_json::Result<serde_json::Value> {
        Ok(serde_json::json!({ "of": self.of }))
    }
    fn from_json(name: &str, value: serde_json::Value) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Stored {
            of: String,
        }
        let name = ["pay", "fee", "pay/x"].into_iter().find(|known| *known == name).ok_or_else(|| task::no_such_kind(name))?;
        serde_json::from_value::<Stored>(value).map(|Stored { of }| Self { of, name })
    }
}

impl task::EffectKind<Self> for Pay {
    const NAME: &'static str = "pay";
}

/// Writes down what happens to each key.
#[derive(Debug)]
pub struct Chronicle;

impl Participant for Chronicle {
    const NAME: &'static str = "chronicle";
    type Id = String;
    type Event = Event;
    type Heard = Event;
    type Command = Happened;
    type Deadline = Deadline;
    type Effect = Pay;
    type Tables = Tables;

    fn aggregate(&self, Event::Happened(h): &Event) -> Option<String> {
        Some(h.key.clone())
    }
    fn decide(&self, tables: &Tables, key: &String, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let what = match &input.body {
            Body::Heard(Event::Happened(h)) | Body::Command(h) => h.what.clone(),
            Body::Deadline(Deadline::Alarm) => "rang".to_owned(),
            Body::Outcome { outcome, .. } => format!("paid {outcome}"),
        };
        let story = tables.stories.get(key).map(|s| s.story.as_str()).unwrap_or_default();
        if story.matches("stick").count() > story.matches("free").count() && !matches!(input.body, Body::Command(_)) {
            return Err(Refusal::Park("stuck".to_owned()));
        }
        if what.starts_with("balk") && story.matches("free").count() <= story.matches("balk").count() {
            return Err(Refusal::Park("balks".to_owned()));
        }
        // `many <events> <bytes>`.
        if let Some((events, bytes)) = what.strip_prefix("many ").and_then(|rest| rest.split_once(' ')) {
            let (events, bytes): (usize, usize) = (events.parse().expect("a number"), bytes.parse().expect("a number"));
            let one = || Event::from(Happened { key: key.clone(), what: "x".repeat(bytes) });
            return Ok(Decision::events(std::iter::repeat_with(one).take(events)));
        }
        Ok(Decision::event(Happened { key: key.clone(), what }))
    }
    fn evolve(&self, tables: &mut Tables, event: &Event) {
        let Event::Happened(Happened { key, what }) = event;
        let story = match tables.stories.get(key) {
            Some(old) => format!("{}, {what}", old.story),
            None => what.clone(),
        };
        tables.stories.put(Story { key: key.clone(), story });
    }
    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        let Event::Happened(Happened { key, what }) = event;
        let effect = |name| Task::effect(Pay { of: what.clone(), name });
        match what.split_once(' ').unwrap_or((what, "")) {
            ("pay", of) => vec![Task::effect(Pay { of: of.to_owned(), name: "pay" })],
            // Effects that only their names or keys tell apart, and two that nothing does.
            ("pay-two", _) => vec![effect("pay"), effect("fee")],
            ("pay-slashed", _) => vec![effect("pay").of(format!("x/{key}")), effect("pay/x")],
            ("pay-twice", _) => vec![effect("pay"), effect("pay")],
            ("unpay", _) => vec![Task::close_effect::<Pay>()],
            ("wait", due) => vec![Task::deadline(Deadline::Alarm, Timestamp::from_micros(due.parse().expect("micros")))],
            ("unwait", "") => vec![Task::close(Deadline::Alarm)],
            ("unwait", of) => vec![Task::close(Deadline::Alarm).of(of)],
            _ => vec![],
        }
    }
    fn idempotency(&self, effect: &Pay) -> IdempotencyKey {
        match &effect.of {
            of if of.starts_with("invoice") => IdempotencyKey::Of(of.clone()),
            of if of.starts_with("rent") => IdempotencyKey::Stable,
            _ => IdempotencyKey::EachEvent,
        }
    }
    fn answer(&self, _events: &[Event]) -> Answer {
        Answer::accepted(serde_json::Value::Null)
    }
}

type Behave = dyn Fn(Call) -> BoxFuture<'static, Result<String, EffectError>> + Send + Sync;

/// Effects that remember their calls and behave as the test says.
#[derive(Clone)]
pub struct Bank {
    pub calls: Arc<Mutex<Vec<Call>>>,
    pub running: Arc<AtomicU32>,
    pub most: Arc<AtomicU32>,
    /// How often it was asked whom a fickle effect calls.
    fickle: Arc<AtomicU32>,
    behave: Arc<Behave>,
}

impl Bank {
    pub fn new<F: Future<Output = Result<String, EffectError>> + Send + 'static>(
        behave: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self {
        let behave: Arc<Behave> = Arc::new(move |call| Box::pin(behave(call)));
        Self { calls: Arc::default(), running: Arc::default(), most: Arc::default(), fickle: Arc::default(), behave }
    }
    /// Answers `ok` at once.
    pub fn quick() -> Self {
        Self::new(|_| async { Ok("ok".to_owned()) })
    }
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

impl EffectHandler<Chronicle> for Bank {
    fn target(&self, effect: &Pay) -> &'static str {
        assert!(effect.of != "nobody", "who is that?");
        assert!(effect.of != "fickle" || self.fickle.fetch_add(1, Ordering::SeqCst) != 1, "who is that now?");
        "bank"
    }
    async fn run(&self, call: &Call, _effect: &Pay) -> Result<String, EffectError> {
        self.calls.lock().unwrap().push(call.clone());
        self.most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let ended = (self.behave)(call.clone()).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        ended
    }
}

/// A database with the kit's tables and the participant's.
pub struct World {
    pub pool: PgPool,
}

/// An agenda that runs.
pub struct Running {
    task: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
    /// As a crash does: nothing is finished, nothing given back.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl World {
    pub async fn new() -> Self {
        let sandbox = stage::Stage::shared().sandbox().await.unwrap();
        let database = sandbox.database("agenda").await.unwrap();
        let pool = PgPoolOptions::new().max_connections(12).connect(&database.url).await.unwrap();
        farandole::migrate(&pool).await.unwrap();
        let stories = "create table stories (key text collate \"C\" primary key, story text not null)";
        sqlx::raw_sql(stories).execute(&pool).await.unwrap();
        Self { pool }
    }

    pub fn engine(&self, poke: &Poke) -> Arc<Engine<Chronicle>> {
        Arc::new(self.new_engine(poke))
    }

    pub fn new_engine(&self, poke: &Poke) -> Engine<Chronicle> {
        let codec = Codec::offline(&[Event::TYPES, farandole::parking::journal::TYPES].concat());
        let poke = poke.clone();
        let wake = Box::new(move |opened| poke.wake(opened));
        Engine::new(Arc::new(Chronicle), codec, self.pool.clone(), "chronicle".to_owned(), Box::new(|| {}), wake)
    }

    /// Starts an agenda with an engine of its own, as a process has.
    pub fn start(&self, bank: &Bank, config: Config) -> Running {
        let poke = Poke::default();
        let shutdown = CancellationToken::new();
        let agenda = Agenda::new(self.engine(&poke), bank.clone(), self.pool.clone(), config, poke);
        Running { task: tokio::spawn(agenda.run(shutdown.clone())), shutdown }
    }

    /// Lets these things happen, in one batch.
    pub async fn tell<K: ToString>(&self, things: impl IntoIterator<Item = (K, &str)>) {
        let mut works: Vec<Work<Chronicle>> = things
            .into_iter()
            .map(|(key, what)| Happened { key: key.to_string(), what: what.to_owned() })
            .map(|happened| {
                Work::new(
                    happened.key.clone(),
                    Body::Command(happened),
                    Origin { cause: "command/test".to_owned(), ..Origin::default() },
                )
            })
            .collect();
        let verdicts = self.engine(&Poke::default()).run(&mut works, &mut NoSource).await.unwrap();
        assert!(verdicts.iter().all(|v| matches!(v, Verdict::Done(_))), "{verdicts:?}");
    }

    pub async fn story(&self, key: &str) -> String {
        let story = sqlx::query_scalar("select story from stories where key = $1").bind(key);
        story.fetch_optional(&self.pool).await.unwrap().unwrap_or_default()
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub async fn count_or_none(&self, sql: &'static str) -> Option<i64> {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// No task is left, nor any claim.
    pub async fn is_clear(&self) -> bool {
        self.count("select (select count(*) from farandole.tasks) + (select count(*) from farandole.steps)").await == 0
    }

    pub async fn now(&self) -> i64 {
        self.count("select (extract(epoch from clock_timestamp()) * 1000000)::bigint").await
    }

    /// The keys under which the open effects are asked for.
    pub async fn keys(&self) -> Vec<Uuid> {
        sqlx::query_scalar("select idempotency_key from farandole.tasks order by key").fetch_all(&self.pool).await.unwrap()
    }
}

/// Waits, at most 20 s, until `so` holds.
pub async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 20 s: {what}");
}

/// Short leases and waits.
pub fn hurried() -> Config {
    let mut config = Config {
        lease: Duration::from_millis(800),
        timeout: Duration::from_millis(500),
        idle: Duration::from_millis(100),
        ..Config::default()
    };
    config.backoff.base = Duration::from_millis(10);
    config.undecided.base = Duration::from_millis(50);
    config
}
