//! A service that counts what is sold, and is sensitive: what it hears twice it counts twice.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use farandole::agenda::{Call, EffectError, Effects};
use farandole::{Answer, Api, Body, Decision, Input, Keys, NoEffect, Participant, Problem, Refusal, Service, Task};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::SqlSafeStr as _;
use uuid::Uuid;

macro_rules! record {
    ($name:ident, $full:literal) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            pub key: String,
            pub article: String,
            pub n: i64,
        }
        impl $name {
            pub const NAME: &'static str = concat!("test.", $full);
            pub const SCHEMA: &'static str = concat!(
                r#"{"type":"record","namespace":"test","name":""#,
                $full,
                r#"","fields":[{"name":"key","type":"string"},{"name":"article","type":"string"},{"name":"n","type":"long"}]}"#
            );
        }
    };
}
record!(Sold, "Sold");
record!(Counted, "Counted");
record!(Insured, "Insured");

farandole::messages! { pub enum Heard { Sold(Sold) } }
farandole::messages! { pub enum Event { Counted(Counted), Insured(Insured) } }
farandole::messages! { pub enum OldEvent { Insured(Insured) } }
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
    const HEARS: &'static [&'static str] = &["sales"];
    const SKIPS: &'static [&'static str] = &[];
    type Event = Event;
    type Heard = Heard;
    type Command = Sold;
    type Effect = Sold;
    type Outcome = ();
    type Tables = Tables;

    fn aggregate(&self, input: &Input<Self>) -> String {
        match &input.body {
            Body::Heard(Heard::Sold(s)) | Body::Command(s) => s.key.clone(),
            Body::Deadline { key, .. } | Body::Outcome { key, .. } => key.clone(),
        }
    }
    fn touches(&self, input: &Input<Self>) -> Keys {
        let articles = match &input.body {
            Body::Heard(Heard::Sold(s)) | Body::Command(s) => vec![s.article.clone(), "all".to_owned()],
            Body::Deadline { .. } | Body::Outcome { .. } => vec![],
        };
        Keys::of::<Till, _>([self.aggregate(input)]).and::<Article, _>(articles)
    }
    fn decide(&self, _: &Tables, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        Ok(match &input.body {
            // Two events of one input.
            Body::Heard(Heard::Sold(s)) | Body::Command(s) => Decision::events(
                [&s.article, &"all".to_owned()]
                    .map(|article| Counted { key: s.key.clone(), article: article.clone(), n: s.n }.into()),
            ),
            Body::Outcome { effect: s, .. } => {
                Decision::events([Insured { key: s.key.clone(), article: s.article.clone(), n: s.n }.into()])
            }
            Body::Deadline { .. } => Decision::nothing(),
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
    fn follow_up(&self, event: &Event) -> Vec<Task<Sold>> {
        match event {
            Event::Counted(e) if e.n == DEAR && e.article != "all" => {
                let effect = Sold { key: e.key.clone(), article: e.article.clone(), n: e.n };
                vec![Task::Effect { name: "insure", key: e.key.clone(), effect }]
            }
            Event::Counted(_) | Event::Insured(_) => Vec::new(),
        }
    }
    fn answer(&self, events: &[Event]) -> Answer {
        Answer::new(201, json!({ "events": events.len() }))
    }
}

/// The insurer: remembers who called, and answers unless it is told not to.
#[derive(Clone, Default)]
pub struct Insurer {
    pub calls: Arc<Mutex<Vec<Call>>>,
    pub mute: Arc<Mutex<bool>>,
}

impl Effects<Tills> for Insurer {
    fn target(&self, _: &Sold) -> &'static str {
        "insurer"
    }
    async fn run(&self, call: &Call, _: &Sold) -> Result<(), EffectError> {
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
    api.commands.submit(Sold { key, article, n }, idempotency, None).await
}

pub fn service(insurer: Insurer) -> Service<Tills, Insurer> {
    let tables = "create table tills (key text primary key, total bigint not null, insured bigint not null);
                  create table articles (article text primary key, sold bigint not null);";
    let migration =
        sqlx::migrate::Migration::new(1, "tables".into(), sqlx::migrate::MigrationType::Simple, tables.into_sql_str(), false);
    let migrator = sqlx::migrate::Migrator::with_migrations(vec![migration]);
    Service::new(Tills, migrator).effects(insurer).routes(|| Router::new().route("/sell/{key}/{article}/{n}", post(sell)))
}

/// An older build, which knows less.
#[derive(Debug)]
pub struct Old;

impl Participant for Old {
    const NAME: &'static str = "till";
    const HEARS: &'static [&'static str] = &[];
    const SKIPS: &'static [&'static str] = &[];
    type Event = OldEvent;
    type Heard = Heard;
    type Command = NoEffect;
    type Effect = NoEffect;
    type Outcome = NoEffect;
    type Tables = Tables;

    fn aggregate(&self, _: &Input<Self>) -> String {
        String::new()
    }
    fn touches(&self, _: &Input<Self>) -> Keys {
        Keys::default()
    }
    fn decide(&self, _: &Tables, _: &Input<Self>) -> Result<Decision<OldEvent>, Refusal> {
        Ok(Decision::nothing())
    }
    fn evolve(&self, _: &mut Tables, _: &OldEvent) {}
    fn follow_up(&self, _: &OldEvent) -> Vec<Task<NoEffect>> {
        Vec::new()
    }
    fn answer(&self, _: &[OldEvent]) -> Answer {
        Answer::new(204, json!(null))
    }
}
