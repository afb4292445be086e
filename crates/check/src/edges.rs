//! What an attacker found: states that looked alike, keys that were used twice, code that panics where nobody looked.

use std::fmt;
use std::time::Duration;

use farandole::{Body, Decision, IdempotencyKey, Input, Keys, Never, Participant, Problem, Refusal, Task, Tasks};
use serde::{Deserialize, Serialize};

use crate::{Ask, Bounds, Fault, Report, World};

/// A text that no log shows.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

macro_rules! records { ($topic:literal: $($name:ident { $($field:ident: $ty:ty),* })*) => { $(
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct $name { $(pub $field: $ty),* }
    impl $name {
        pub(super) const NAME: &str = concat!($topic, ".", stringify!($name));
        pub(super) const SCHEMA: &str = "";
        pub(super) const TOPIC: &str = $topic;
    }
)* } }

mod lab;
mod replay;
mod reports;
mod states;
mod stories;
mod time;

records! { "caller": Said { desk: String } }
records! { "desk": Asked { desk: String, n: u8 } Told { desk: String, n: u8, what: Secret } Opened { desk: String } Heard { desk: String } }

mod caller {
    use super::Said;
    farandole::messages! { pub(crate) enum Event { Said } }
    farandole::tables! { pub(crate) struct Tables { said: Row in "said" { desk: String, times: i64 } } }
}

mod desk {
    use super::{Asked, Deserialize, Heard as Noted, Opened, Said, Secret, Serialize, Told};
    farandole::messages! { pub(crate) enum Event { Asked, Told, Opened, Noted } ends { Asked, Told, Opened, Noted } }
    farandole::messages! { pub(crate) enum Heard { Said } }
    farandole::effects! { pub(crate) enum Effect -> Secret { Question } }
    farandole::tables! { pub(crate) struct Tables { desks: Desk in "desks" { desk: String, open: bool, heard: i64, told: String } } }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Question {
        pub n: u8,
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Say;

#[derive(Debug)]
struct Caller;

impl Participant for Caller {
    const NAME: &'static str = "caller";
    type Id = String;
    type Event = caller::Event;
    type Heard = Never;
    type Command = Say;
    type Deadline = Never;
    type Effect = Never;
    type Tables = caller::Tables;

    fn decide(&self, _: &caller::Tables, id: &String, _: &Input<Self>) -> Result<Decision<caller::Event>, Refusal> {
        Ok(Decision::event(Said { desk: id.clone() }))
    }
    fn evolve(&self, tables: &mut caller::Tables, event: &caller::Event) {
        let caller::Event::Said(Said { desk }) = event;
        let times = tables.said.get(desk).map_or(0, |row| row.times);
        tables.said.put(caller::Row { desk: desk.clone(), times: times + 1 });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Command {
    Open,
    Ask,
}

/// Where it panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Panics {
    Nowhere,
    Aggregate,
    Idempotency,
}

#[derive(Debug)]
struct Desk {
    panics: Panics,
    /// What it is told leads to a second question, under the first one's key.
    asks_again: bool,
}

/// The desk whose opening opens all.
const DOOR: &str = "door";

const DESK: Desk = Desk { panics: Panics::Nowhere, asks_again: false };

impl Participant for Desk {
    const NAME: &'static str = "desk";
    type Id = String;
    type Event = desk::Event;
    type Heard = desk::Heard;
    type Command = Command;
    type Deadline = Never;
    type Effect = desk::Effect;
    type Tables = desk::Tables;

    fn aggregate(&self, heard: &desk::Heard) -> Option<String> {
        assert!(self.panics != Panics::Aggregate, "no aggregate");
        let desk::Heard::Said(said) = heard;
        Some(said.desk.clone())
    }
    fn touches(&self, id: &String, _: &Input<Self>) -> Keys {
        Keys::of::<desk::Desk>([id, &DOOR.to_owned()])
    }
    fn decide(&self, tables: &desk::Tables, id: &String, input: &Input<Self>) -> Result<Decision<desk::Event>, Refusal> {
        let desk = id.clone();
        let is_open = tables.desks.get(&DOOR.to_owned()).is_some_and(|row| row.open);
        Ok(match &input.body {
            Body::Command(Command::Open) => Decision::event(Opened { desk }),
            Body::Command(Command::Ask) => Decision::event(Asked { desk, n: 1 }),
            Body::Heard(_) if !is_open => return Err(Problem::conflict("closed", "the desk is closed").into()),
            Body::Heard(_) => Decision::event(Heard { desk }),
            Body::Deadline(never) => match *never {},
            Body::Outcome { effect: desk::Effect::Question(asked), outcome } => {
                let told = Told { desk: desk.clone(), n: asked.n, what: outcome.clone() };
                if self.asks_again && asked.n == 1 {
                    Decision::events([desk::Event::from(told), Asked { desk, n: 2 }.into()])
                } else {
                    Decision::event(told)
                }
            }
        })
    }
    fn evolve(&self, tables: &mut desk::Tables, event: &desk::Event) {
        let (desk::Event::Asked(Asked { desk, .. })
        | desk::Event::Told(Told { desk, .. })
        | desk::Event::Opened(Opened { desk })
        | desk::Event::Noted(Heard { desk })) = event;
        let none = desk::Desk { desk: desk.clone(), open: false, heard: 0, told: String::new() };
        let mut row = tables.desks.get(desk).cloned().unwrap_or(none);
        match event {
            desk::Event::Opened(_) => row.open = true,
            desk::Event::Noted(_) => row.heard += 1,
            desk::Event::Told(Told { n, what, .. }) => row.told = format!("{n} {}", what.0),
            desk::Event::Asked(_) => {}
        }
        tables.desks.put(row);
    }
    fn follow_up(&self, event: &desk::Event) -> Tasks<Self> {
        match event {
            desk::Event::Asked(Asked { n, .. }) => vec![Task::effect(desk::Question { n: *n })],
            _ => Vec::new(),
        }
    }
    fn idempotency(&self, _: &desk::Effect) -> IdempotencyKey {
        assert!(self.panics != Panics::Idempotency, "no key");
        IdempotencyKey::Of("one".to_owned())
    }
}

fn quick() -> Bounds {
    Bounds { threads: 1, ..Bounds::ci() }
}

fn secrets(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| Secret((*text).to_owned())).collect()
}

fn asks(desk: Desk) -> World {
    World::new("a question").participant(desk).command::<Desk>(Ask::once("ask", "d1".to_owned(), || Command::Ask))
}

fn told(report: &Report) -> &Fault {
    let violation = report.violation.as_ref().unwrap();
    assert!(!violation.chapters.is_empty(), "no story: {violation}");
    violation.fault.as_ref().unwrap()
}

/// Guards: states are told apart by values, not by their words.
#[test]
fn what_is_masked_in_words_still_differs() {
    for answer in ["yes", "no"] {
        let world = asks(DESK).outside::<Desk>(|_| secrets(&["yes", "no"])).losses(0, 0);
        let world = world.sometimes(answer, move |s| s.rows::<desk::Desk>().any(|row| row.told.ends_with(answer)));
        world.explore(quick()).assert_holds();
    }
}

/// Guards: who asks for something else under a key that is known gets the first one's answer.
#[test]
fn a_key_that_is_used_for_another_effect_gets_what_was_done_under_it() {
    let world = asks(Desk { asks_again: true, ..DESK });
    let world = world.outside::<Desk>(|effect| match effect {
        desk::Effect::Question(desk::Question { n: 1 }) => secrets(&["yes", "no"]),
        desk::Effect::Question(_) => secrets(&["never"]),
    });
    let world = world
        .at_end("the first answer is the second's", |s| s.rows::<desk::Desk>().all(|row| ["2 yes", "2 no"].contains(&&*row.told)))
        .sometimes("no, twice", |s| s.rows::<desk::Desk>().any(|row| row.told == "2 no"));
    let report = world.explore(quick());
    report.assert_holds();
}

/// Guards: a panic anywhere is a fault with a story.
#[test]
fn a_panic_anywhere_is_told_with_its_story() {
    let in_key = asks(Desk { panics: Panics::Idempotency, ..DESK }).outside::<Desk>(|_| secrets(&["yes"])).explore(quick());
    assert!(matches!(told(&in_key), Fault::Panicked { words } if words == "no key"), "{in_key}");
    let in_answers = asks(DESK).outside::<Desk>(|_| panic!("no answers")).explore(quick());
    assert!(matches!(told(&in_answers), Fault::Panicked { words } if words == "no answers"), "{in_answers}");
    let world = World::new("aggregates").participant(Caller).participant(Desk { panics: Panics::Aggregate, ..DESK });
    let world = world.outside::<Desk>(|_| secrets(&[])).command::<Caller>(Ask::once("say", "d1".to_owned(), || Say));
    let in_aggregate = world.explore(quick());
    assert!(matches!(told(&in_aggregate), Fault::Panicked { words } if words == "no aggregate"), "{in_aggregate}");
    let world = asks(DESK).outside::<Desk>(|_| secrets(&["yes"]));
    let in_invariant =
        world.always("told", |s| s.rows::<desk::Desk>().all(|row| row.told.len() > 100 || panic!("no idea"))).explore(quick());
    let violation = in_invariant.violation.unwrap();
    assert!(violation.violated == "told" && violation.why.contains("no idea") && violation.chapters.len() == 1, "{violation}");
}

/// Guards: answers that change are no state in which nothing more happens.
#[test]
#[should_panic(expected = "depends on something else than what it is given")]
fn an_outside_world_that_changes_its_mind_is_named() {
    let calls = std::sync::atomic::AtomicU32::new(0);
    let world = asks(DESK).outside::<Desk>(move |_| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if call == 0 { secrets(&["yes", "no"]) } else { Vec::new() }
    });
    world.explore(quick());
}

/// Guards: trying a parked input again doesn't take the place of one that is delivered again.
#[test]
fn a_release_moves_no_position() {
    let world = World::new("a closed desk").participant(Caller).participant(DESK).outside::<Desk>(|_| secrets(&[]));
    let world = world.command::<Caller>(Ask::once("say", "d1".to_owned(), || Say));
    let world = world.command::<Desk>(Ask::once("open", DOOR.to_owned(), || Command::Open));
    let story = world.story().given([
        "a caller asks caller: say, about d1",
        "desk hears Said about d1 from caller",
        "a caller asks desk: open, about door",
        "desk's position is lost: what it heard about d1 from caller comes again from record 1 on",
        "desk tries what it has parked again: caller/d1/0",
        "desk hears Said about d1 from caller",
    ]);
    assert_eq!(story.violated(), None);
}

/// Guards: whichever is said first, what is asked anew is decided anew and what is repeated is answered from memory.
#[test]
fn times_and_repeats_may_be_said_in_either_order() {
    let anew = Ask::<Caller>::once("say", "d1".to_owned(), || Say);
    let other = Ask::<Caller>::once("say", "d1".to_owned(), || Say);
    for ask in [anew.times(2).repeated(1), other.repeated(1).times(2)] {
        let world = World::new("twice, and once more").participant(Caller).command::<Caller>(ask).ends_with(Said::NAME);
        let world = world
            .always("twice", |s| s.rows::<caller::Row>().all(|row| row.times <= 2))
            .sometimes("both", |s| s.rows::<caller::Row>().any(|row| row.times == 2));
        world.explore(quick()).assert_holds();
    }
}

/// Guards: bounds that no clock reaches, and a world that says nothing.
#[test]
fn a_world_in_which_nothing_happens_does_not_hold() {
    let report = World::new("empty").participant(Caller).explore(Bounds { time: Duration::MAX, ..quick() });
    assert!(!report.holds() && report.vacuous[0].contains("nothing can happen"), "{report}");
}
