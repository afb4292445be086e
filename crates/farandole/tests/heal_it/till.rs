//! A service that counts what is sold, and is sensitive: what it hears twice it counts twice.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use farandole::agenda::{Call, EffectError, EffectHandler};
use farandole::{Answer, Api, Body, Decision, Input, Keys, Never, Participant, Problem, Refusal, Service, Task, Tasks};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::SqlSafeStr as _;
use uuid::Uuid;

macro_rules! record {
    ($name:ident, $full:literal, $topic:literal) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            pub key: String,
            pub article: String,
            pub n: i64,
        }
        impl $name {
            pub const NAME: &'static str = concat!("test.", $full);
            pub const TOPIC: &'static str = $topic;
            pub const SCHEMA: &'static str = concat!(
                r#"{"type":"record","namespace":"test","name":""#,
                $full,
                r#"","fields":[{"name":"key","type":"string"},{"name":"article","type":"string"},{"name":"n","type":"long"}]}"#
            );
        }
    };
}
pub mod wild;

record!(Sold, "Sold", "sales");
record!(Counted, "Counted", "till");
record!(Insured, "Insured", "till");

farandole::messages! { pub enum Heard { Sold } ignores {} }
farandole::messages! { pub enum Event { Counted, Insured } }
farandole::messages! { pub enum OldEvent { Insured } }
/// What is insured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Insure {
    pub key: String,
    pub article: String,
    pub n: i64,
}
farandole::effects! { pub enum Effect -> () { Insure } }
farandole::tables! {
    pub struct Tables {
        tills: Till in "tills" { key: String, total: i64, insured: i64 },
        articles: Article in "articles" { article: String, sold: i64 },
    }
}

/// Everything of so many pieces is insured by a call to the outside world.
pub const DEAR: i64 = 13;

#[derive(Debug)]
pub struct Tills;

impl Participant for Tills {
    const NAME: &'static str = "till";
    type Id = String;
    type Event = Event;
    type Heard = Heard;
    type Command = Sold;
    type Deadline = Never;
    type Effect = Effect;
    type Tables = Tables;

    fn aggregate(&self, Heard::Sold(s): &Heard) -> Option<String> {
        Some(s.key.clone())
    }
    fn touches(&self, key: &String, input: &Input<Self>) -> Keys {
        let articles = match &input.body {
            Body::Heard(Heard::Sold(s)) | Body::Command(s) => vec![s.article.clone(), "all".to_owned()],
            Body::Deadline(_) | Body::Outcome { .. } => vec![],
        };
        Keys::of::<Till>([key]).and::<Article>(articles)
    }
    fn decide(&self, _: &Tables, _: &String, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        Ok(match &input.body {
            // Two events of one input.
            Body::Heard(Heard::Sold(s)) | Body::Command(s) => {
                Decision::events([&s.article, &"all".to_owned()].map(|article| Counted {
                    key: s.key.clone(),
                    article: article.clone(),
                    n: s.n,
                }))
            }
            Body::Outcome { effect: Effect::Insure(s), .. } => {
                Decision::event(Insured { key: s.key.clone(), article: s.article.clone(), n: s.n })
            }
            Body::Deadline(none) => match *none {},
        })
    }
    fn evolve(&self, tables: &mut Tables, event: &Event) {
        match event {
            Event::Counted(e) => {
                let (total, insured) = tables.tills.get(&e.key).map_or((0, 0), |t| (t.total, t.insured));
                tables.tills.put(Till { key: e.key.clone(), total: total + e.n, insured });
                let sold = tables.articles.get(&e.article).map_or(0, |a| a.sold);
                tables.articles.put(Article { article: e.article.clone(), sold: sold + e.n });
            }
            // Insured is what was counted before: a fold that hasn't loaded the row finds out the hard way.
            Event::Insured(e) => tables.tills.get_mut(&e.key).expect("it was counted").insured += e.n,
        }
    }
    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::Counted(e) if e.n == DEAR && e.article != "all" => {
                vec![Task::effect(Insure { key: e.key.clone(), article: e.article.clone(), n: e.n })]
            }
            Event::Counted(_) | Event::Insured(_) => Vec::new(),
        }
    }
    /// What is sold twice is insured twice.
    fn idempotency(&self, _: &Effect) -> farandole::IdempotencyKey {
        farandole::IdempotencyKey::EachEvent
    }
    fn answer(&self, events: &[Event]) -> Answer {
        Answer::created(json!({ "events": events.len() }))
    }
}

/// The insurer: remembers who called, and answers unless it is told not to.
#[derive(Clone, Default)]
pub struct Insurer {
    pub calls: Arc<Mutex<Vec<Call>>>,
    pub mute: Arc<Mutex<bool>>,
}

impl EffectHandler<Tills> for Insurer {
    fn target(&self, _: &Effect) -> &'static str {
        "insurer"
    }
    async fn run(&self, call: &Call, _: &Effect) -> Result<(), EffectError> {
        self.calls.lock().unwrap().push(call.clone());
        if *self.mute.lock().unwrap() { Err(EffectError::Unknown { reason: "no answer".to_owned() }) } else { Ok(()) }
    }
}

impl Insurer {
    pub fn keys(&self) -> Vec<Uuid> {
        self.calls.lock().unwrap().iter().map(|c| c.idempotency_key).collect()
    }
}

async fn sell(
    State(api): State<Api<Tills>>,
    Path((key, article, n)): Path<(String, String, i64)>,
    headers: HeaderMap,
) -> Result<Answer, Problem> {
    let idempotency = farandole::http::idempotency(&headers, "test".to_owned(), &json!([key, article, n]))?;
    api.commands.submit(key.clone(), Sold { key, article, n }, idempotency, None).await
}

pub fn service(insurer: Insurer) -> Service<Tills, Insurer> {
    Service::new(Tills, migrator(TABLES))
        .effects(insurer)
        .routes(|api| Router::new().route("/sell/{key}/{article}/{n}", post(sell)).with_state(api))
}

pub fn changed(insurer: Insurer) -> Service<Changed, Insurer> {
    Service::new(Changed, migrator(TABLES)).effects(insurer)
}

const TABLES: &str = "create table tills (key text primary key, total bigint not null, insured bigint not null);
    create table articles (article text primary key, sold bigint not null);";

fn migrator(tables: &'static str) -> sqlx::migrate::Migrator {
    let migration =
        sqlx::migrate::Migration::new(1, "tables".into(), sqlx::migrate::MigrationType::Simple, tables.into_sql_str(), false);
    sqlx::migrate::Migrator::with_migrations(vec![migration])
}

/// A build that counts tea twice, and insures nothing.
#[derive(Debug)]
pub struct Changed;

impl Participant for Changed {
    const NAME: &'static str = "till";
    type Id = String;
    type Event = Event;
    type Heard = Heard;
    type Command = Sold;
    type Deadline = Never;
    type Effect = Effect;
    type Tables = Tables;

    fn aggregate(&self, heard: &Heard) -> Option<String> {
        Tills.aggregate(heard)
    }
    fn decide(&self, _: &Tables, _: &String, _: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        Ok(Decision::nothing())
    }
    fn evolve(&self, tables: &mut Tables, event: &Event) {
        Tills.evolve(tables, event);
        if let Event::Counted(e) = event
            && e.article == "tea"
            && let Some(tea) = tables.articles.get_mut(&e.article)
        {
            tea.sold += e.n;
        }
    }
}

impl EffectHandler<Changed> for Insurer {
    fn target(&self, _: &Effect) -> &'static str {
        "insurer"
    }
    async fn run(&self, _: &Call, _: &Effect) -> Result<(), EffectError> {
        Ok(())
    }
}

/// An older build, which knows less.
#[derive(Debug)]
pub struct Old;

impl Participant for Old {
    const NAME: &'static str = "till";
    type Id = String;
    type Event = OldEvent;
    type Heard = Never;
    type Command = Never;
    type Deadline = Never;
    type Effect = Never;
    type Tables = Tables;

    fn decide(&self, _: &Tables, _: &String, _: &Input<Self>) -> Result<Decision<OldEvent>, Refusal> {
        Ok(Decision::nothing())
    }
    fn evolve(&self, _: &mut Tables, _: &OldEvent) {}
}
