//! A till that does anything: which events an input makes, and what these do to which rows, is drawn from the input's number.
//!
//! What the kit asks of participants holds all the same: rows of others change by amounts alone, whatever order they come in, and whoever
//! is asked or told something says so by an event.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use farandole::agenda::{Call, EffectError, EffectHandler};
use farandole::{Answer, Api, Body, Decision, IdempotencyKey, Input, Keys, Participant, Problem, Refusal, Service, Task, Tasks};
use farandole::{Message as _, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Insurer, migrator};
use crate::world::Random;

record!(Sown, "Sown", "seeds");
record!(Grown, "Grown", "till");
record!(Moved, "Moved", "till");
record!(Timed, "Timed", "till");
record!(Asked, "Asked", "till");
record!(Rung, "Rung", "till");
record!(Told, "Told", "till");

farandole::messages! { pub enum Heard { Sown } ignores {} }
farandole::messages! { pub enum Event { Grown, Moved, Timed, Asked, Rung, Told } }
farandole::deadlines! { pub enum Deadline { Ring } }
/// What is asked of the outside world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    pub key: String,
    pub n: i64,
}
farandole::effects! { pub enum Effect -> () { Ask } }
farandole::tables! {
    pub struct Tables {
        plots: Plot in "plots" { key: String, n: i64, note: Option<String> },
        beds: Bed in "beds" { [key: String, place: i64], n: i64 },
        stock: Stock in "stock" { article: String, n: i64 },
    }
}

const TABLES: &str = "create table plots (key text primary key, n bigint not null, note text);
    create table beds (key text, place bigint, n bigint not null, primary key (place, key));
    create table stock (article text primary key, n bigint not null);";

const ARTICLES: [&str; 4] = ["ash", "elm/fir", "oak\\", "yew"];
/// While no row of stock is named so, some inputs wait.
pub const GATE: &str = "gate";
/// Opens it, as the number of a command.
pub const OPEN: i64 = -1;
/// From here on a number is one for so many events more.
pub const MANY: i64 = 1 << 20;
/// From here on a number is one for a note of so many letters more.
pub const NOTED: i64 = 1 << 40;
const BEDS: i64 = 4;

/// Which kinds of events it favours is drawn from `salt`.
#[derive(Debug, Clone, Copy)]
pub struct Wild {
    pub salt: u64,
}

fn made<E: From<(String, String, i64)>>(key: &str, article: &str, n: i64) -> E {
    (key.to_owned(), article.to_owned(), n).into()
}

macro_rules! from_parts {
    ($($name:ident),*) => { $(
        impl From<(String, String, i64)> for $name {
            fn from((key, article, n): (String, String, i64)) -> Self {
                Self { key, article, n }
            }
        }
    )* };
}
from_parts!(Sown, Grown, Moved, Timed, Asked, Rung, Told);

impl Wild {
    fn drawn(self, tables: &Tables, sown: &Sown, least: u64, at: Timestamp) -> Vec<Event> {
        let key = sown.key.as_str();
        if sown.n == OPEN {
            return vec![made::<Moved>(key, GATE, 1).into()];
        }
        if sown.n >= NOTED {
            return vec![made::<Grown>(key, &"x".repeat((sown.n - NOTED) as usize), 0).into()];
        }
        if sown.n >= MANY {
            return (0..sown.n - MANY).map(|n| made::<Grown>(key, ARTICLES[0], n % 64).into()).collect();
        }
        let mut random = Random::new(self.salt ^ sown.n.unsigned_abs().wrapping_mul(0x9E37_79B9));
        let weights: Vec<u64> = (0..4).map(|kind| 1 + (self.salt >> (3 * kind)) % 8).collect();
        let count = least + random.below(5);
        let draw = |_| {
            let mut at_weight = random.below(weights.iter().sum());
            let mut kind = 0;
            while at_weight >= weights[kind] {
                at_weight -= weights[kind];
                kind += 1;
            }
            let (article, n) = (ARTICLES[random.below(4) as usize], random.below(64) as i64);
            match kind {
                // What was there decides, too.
                0 => made::<Grown>(key, article, if tables.plots.get(&sown.key).is_some() { n } else { n / 4 }).into(),
                1 => made::<Moved>(key, article, [-2, -1, 1, 2][random.below(4) as usize]).into(),
                2 => {
                    let wait = [Duration::from_millis(random.below(300)), Duration::from_secs(86_400)][random.below(2) as usize];
                    made::<Timed>(key, article, if n < 24 { -1 } else { at.plus(wait).micros() }).into()
                }
                _ => made::<Asked>(key, article, if n < 16 { -1 } else { n }).into(),
            }
        };
        (0..count).map(draw).collect()
    }
}

impl Participant for Wild {
    const NAME: &'static str = "till";
    type Id = String;
    type Event = Event;
    type Heard = Heard;
    type Command = Sown;
    type Deadline = Deadline;
    type Effect = Effect;
    type Tables = Tables;

    fn aggregate(&self, Heard::Sown(sown): &Heard) -> Option<String> {
        Some(sown.key.clone())
    }
    fn touches(&self, key: &String, _: &Input<Self>) -> Keys {
        let articles = ARTICLES.iter().chain([&GATE]).map(|article| (*article).to_owned());
        Keys::of::<Plot>([key]).and::<Bed>((0..=BEDS).map(|place| (key.clone(), place))).and::<Stock>(articles)
    }
    fn decide(&self, tables: &Tables, key: &String, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        match &input.body {
            Body::Heard(Heard::Sown(sown)) if sown.n % 89 == 88 => Err(Refusal::Park(format!("{} is of no use", sown.n))),
            Body::Heard(Heard::Sown(sown)) if sown.n % 41 == 40 && tables.stock.get(&GATE.to_owned()).is_none() => {
                Err(Refusal::Retry("the gate is closed".to_owned()))
            }
            Body::Heard(Heard::Sown(sown)) => Ok(Decision::events(self.drawn(tables, sown, 0, input.at))),
            Body::Command(sown) => Ok(Decision::events(self.drawn(tables, sown, 1, input.at))),
            Body::Deadline(Deadline::Ring) => Ok(Decision::event(made::<Rung>(key, "", 3))),
            Body::Outcome { effect: Effect::Ask(ask), .. } => Ok(Decision::event(made::<Told>(key, "", ask.n))),
        }
    }
    fn evolve(&self, tables: &mut Tables, event: &Event) {
        match event {
            Event::Grown(e) => grow(tables, e),
            // A sum that comes to nothing is no row: whatever the order was, in the end.
            Event::Moved(e) => {
                let sum = tables.stock.get(&e.article).map_or(0, |stock| stock.n) + e.n;
                match sum {
                    0 => tables.stock.delete(&e.article),
                    n => tables.stock.put(Stock { article: e.article.clone(), n }),
                }
            }
            Event::Timed(_) => {}
            Event::Asked(e) => {
                if let Some(bed) = tables.beds.get_mut(&(e.key.clone(), BEDS)) {
                    bed.n -= 1;
                }
            }
            Event::Rung(Rung { key, n, .. }) | Event::Told(Told { key, n, .. }) => {
                let before = tables.beds.get(&(key.clone(), BEDS)).map_or(0, |bed| bed.n);
                tables.beds.put(Bed { key: key.clone(), place: BEDS, n: before + n });
            }
        }
    }
    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::Timed(e) if e.n < 0 => vec![Task::close(Deadline::Ring)],
            Event::Timed(e) => vec![Task::deadline(Deadline::Ring, Timestamp::from_micros(e.n))],
            Event::Asked(e) if e.n < 0 => vec![Task::close_effect::<Ask>()],
            Event::Asked(e) => vec![Task::effect(Ask { key: e.key.clone(), n: e.n })],
            Event::Grown(_) | Event::Moved(_) | Event::Rung(_) | Event::Told(_) => Vec::new(),
        }
    }
    fn idempotency(&self, Effect::Ask(ask): &Effect) -> IdempotencyKey {
        if ask.n % 2 == 0 { IdempotencyKey::EachEvent } else { IdempotencyKey::Stable }
    }
    fn answer(&self, events: &[Event]) -> Answer {
        Answer::created(json!({ "events": events.iter().map(Event::name).collect::<Vec<_>>() }))
    }
}

/// Puts, changes and deletes rows of the event's own aggregate.
fn grow(tables: &mut Tables, Grown { key, article, n }: &Grown) {
    let bed = (key.clone(), n / 8 % BEDS);
    match n % 8 {
        0 | 1 => {
            let note = (n % 3 != 1).then(|| article.clone());
            tables.plots.put(Plot { key: key.clone(), n: *n, note });
        }
        2 => {
            if let Some(plot) = tables.plots.get_mut(key) {
                plot.n = plot.n * 3 + n;
            }
        }
        3 => tables.plots.delete(key),
        4 => {
            let before = tables.beds.get(&bed).map_or(1, |bed| bed.n);
            tables.beds.put(Bed { key: bed.0, place: bed.1, n: before * 5 % 1_009 + n });
        }
        5 => {
            if let Some(bed) = tables.beds.get_mut(&bed) {
                bed.n += n;
            }
        }
        6 => tables.beds.delete(&bed),
        // All of them go, and one comes.
        _ => {
            tables.plots.delete(key);
            (0..BEDS).for_each(|place| tables.beds.delete(&(key.clone(), place)));
            tables.plots.put(Plot { key: key.clone(), n: -n, note: None });
        }
    }
}

impl EffectHandler<Wild> for Insurer {
    fn target(&self, _: &Effect) -> &'static str {
        "insurer"
    }
    async fn run(&self, call: &Call, Effect::Ask(ask): &Effect) -> Result<(), EffectError> {
        self.calls.lock().unwrap().push(call.clone());
        if *self.mute.lock().unwrap() && ask.n % 3 == 0 {
            return Err(EffectError::Unknown { reason: "no answer".to_owned() });
        }
        Ok(())
    }
}

async fn sow(State(api): State<Api<Wild>>, Path((key, n)): Path<(String, i64)>, headers: HeaderMap) -> Result<Answer, Problem> {
    let idempotency = farandole::http::idempotency(&headers, "test".to_owned(), &json!([key, n]))?;
    api.commands.submit(key.clone(), made(&key, "", n), idempotency, None).await
}

pub fn service(wild: Wild, insurer: Insurer) -> Service<Wild, Insurer> {
    let routes = |api| Router::new().route("/sow/{key}/{n}", post(sow)).with_state(api);
    Service::new(wild, migrator(TABLES)).effects(insurer).routes(routes)
}
