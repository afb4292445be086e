//! What a report says, and what it doesn't.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use farandole::{Body, Decision, Input, Keys, Never, Participant, Problem, Refusal};
use serde::{Deserialize, Serialize};

use super::lab::{Event, Lab, One, Row, Tables, at, did, go, noted, say, state, world};
use super::quick;
use crate::{Bounds, Covered, Fault, World};

/// Guards: looking at what is parked, or at the time, is looking.
#[test]
fn who_looks_at_what_is_parked_looks() {
    let lab = Lab { decide: |_, _, _| Err(Problem::conflict("no", "not now").into()), ..Lab::default() };
    let world = world(lab).participant(One).command::<One>(say("k", "a")).may_stay_parked();
    let world = world.always("a reason", |s| s.parked().all(|(_, why)| !why.is_empty())).always("a time", |s| s.at() >= 0);
    world.explore(quick()).assert_holds();
}

/// Guards: a report names the bound that ended it, and bounds that allow nothing hold nothing.
#[test]
fn a_report_names_the_bound_that_ended_it() {
    let report = |bounds| world(Lab::default()).command::<Lab>(go("a", "go").times(9)).explore(bounds);
    let states = report(Bounds { states: 3, ..quick() });
    assert!(states.to_string().starts_with("a lab: 3 states") && states.to_string().contains("not exhausted: 3 states at most"));
    assert!(states.assert_holds_so_far().cut.is_some());
    let words = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| _ = states.assert_holds())).unwrap_err();
    assert!(words.downcast_ref::<String>().unwrap().contains("assert_holds_so_far"));
    for bounds in [Bounds { states: 0, ..quick() }, Bounds { time: Duration::ZERO, ..quick() }] {
        assert_eq!(report(bounds).vacuous, ["the bounds leave nothing to explore"]);
    }
    report(Bounds { threads: 0, ..quick() }).assert_holds();
}

/// Guards: a topic that nobody publishes is named, and is no fault.
#[test]
fn a_publisher_that_is_missing_is_named() {
    let report = world(Lab::default()).participant(One).command::<Lab>(go("a", "go")).explore(quick());
    assert_eq!(report.assert_holds().unpublished, ["nobody publishes two, and lab subscribes to it"]);
}

/// Guards: an order of events that no longer shows at the end is found where it shows.
#[test]
fn events_are_folded_again_before_the_end() {
    let evolve = |tables: &mut Tables, event: &Event| match event {
        Event::Did(did) => tables.rows.put(Row { key: "last".to_owned(), state: did.key.clone(), n: 0 }),
        Event::Noted(_) => tables.rows.delete(&"last".to_owned()),
    };
    let decide = |_: &Tables, id: &str, input: &Input<Lab>| match &input.body {
        Body::Command(go) => Ok(Decision::event(did(id, &go.0))),
        _ => Ok(Decision::event(noted(id, "clean"))),
    };
    let touches = |_: &str| Keys::of::<Row>(["last".to_owned()]);
    let lab = Lab { decide, evolve, touches, follow: |event| at(event, 10), ..Lab::default() };
    let report = world(lab).command::<Lab>(go("a", "go")).command::<Lab>(go("b", "go")).losses(0, 0).explore(quick());
    assert!(matches!(report.violation.as_ref().unwrap().fault, Some(Fault::Order { .. })), "{report}");
}

/// Guards: what was decided is folded with the rows that deciding had, and not tried without them.
#[test]
fn folding_knows_which_rows_an_event_needs() {
    static MISSED: AtomicUsize = AtomicUsize::new(0);
    let evolve = |tables: &mut Tables, event: &Event| match event {
        Event::Did(did) => tables.rows.put(Row { key: did.key.clone(), state: "done".to_owned(), n: 0 }),
        Event::Noted(noted) if state(tables, &noted.key) == "done" => {}
        Event::Noted(_) => drop(MISSED.fetch_add(1, Relaxed)),
    };
    let decide = |_: &Tables, id: &str, _: &Input<Lab>| Ok(Decision::events([did(id, "x"), noted(id, "x")]));
    world(Lab { decide, evolve, ..Lab::default() }).command::<Lab>(go("a", "go").times(2)).explore(quick()).assert_holds();
    assert_eq!(MISSED.load(Relaxed), 0);
}

mod misspelt {
    use super::{Deserialize, Serialize};
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Said {
        pub key: String,
    }
    impl Said {
        pub(crate) const NAME: &str = "one.Said";
        pub(crate) const SCHEMA: &str = "";
        pub(crate) const TOPIC: &str = "won";
    }
    farandole::messages! { pub(crate) enum Heard { Said } }
}

records! { "reader": Read { key: String } }

mod reader {
    use super::Read;
    farandole::messages! { pub(crate) enum Event { Read } ends { Read } }
    farandole::tables! { pub(crate) struct Tables { rows: Row in "reader" { key: String, n: i64 } } }
}

#[derive(Debug)]
struct Reader;

impl Participant for Reader {
    const NAME: &'static str = "reader";
    type Id = String;
    type Event = reader::Event;
    type Heard = misspelt::Heard;
    type Command = Never;
    type Deadline = Never;
    type Effect = Never;
    type Tables = reader::Tables;

    fn decide(&self, _: &reader::Tables, id: &String, _: &Input<Self>) -> Result<Decision<reader::Event>, Refusal> {
        Ok(Decision::event(Read { key: id.clone() }))
    }
    fn evolve(&self, tables: &mut reader::Tables, reader::Event::Read(read): &reader::Event) {
        tables.rows.put(reader::Row { key: read.key.clone(), n: 1 });
    }
}

/// Guards: the engine subscribes to a type's topic, and so does the checker.
#[test]
#[should_panic(expected = "reader subscribes to topic \"won\" for it: the `TOPIC` of its type must be \"one\"")]
fn a_topic_that_is_not_its_publishers_name_is_told() {
    World::new("misspelt").participant(One).participant(Reader).command::<One>(say("k", "a")).explore(quick());
}

/// Guards: a comparison with nothing finds nothing wrong, so there is none.
#[test]
#[should_panic(expected = "no world has reached a case of lab: say by `.cases")]
fn a_table_is_compared_with_something() {
    let report = world(Lab::default()).command::<Lab>(go("a", "go")).explore(quick());
    let _ = Covered::of::<Lab>("| input | none |\n|---|---|\n| Go | Did |\n", &[&report]);
}
