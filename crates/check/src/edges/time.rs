//! Moments, and what goes on without end.

use std::time::Duration;

use farandole::{Body, Decision, Input, Never, Participant, Problem, Refusal, Task};
use serde::{Deserialize, Serialize};

use super::lab::{Charge, Decided, Event, Go, Lab, One, Out, Row, Tables, at, did, go, noted, say, state, world};
use super::quick;
use crate::{Ask, World};

const DUE: i64 = 600_000_000;

/// Guards: what comes after a deadline that hasn't fired is tried; where nothing looks at the time, it is no state of its own.
#[test]
fn time_stands_just_after_a_deadline_where_that_matters() {
    fn decide(tables: &Tables, id: &str, input: &Input<Lab>) -> Decided {
        Ok(match (&input.body, state(tables, id)) {
            (Body::Command(_), "") => Decision::event(did(id, "held")),
            (Body::Heard(_), "held") if input.at.micros() > DUE => Decision::event(noted(id, "too late")),
            (Body::Heard(_), "held") => Decision::event(noted(id, &format!("paid at {}", input.at.micros()))),
            (Body::Deadline(_), "held") => Decision::event(noted(id, "free")),
            _ => Decision::nothing(),
        })
    }
    let lab = |decide| Lab { decide, follow: |event| at(event, DUE), ..Lab::default() };
    let asked = |lab| world(lab).participant(One).command::<One>(say("k", "a")).command::<Lab>(go("a", "hold"));
    let report = asked(lab(decide)).always("in time", |s| s.rows::<Row>().all(|row| row.state != "too late")).explore(quick());
    let steps = report.violation.unwrap().chapters;
    assert!(steps.iter().any(|chapter| chapter.step == "time goes on to 600.000001 s"), "{steps:?}");
    let report = asked(lab(|tables, id, input| match input.body {
        Body::Heard(_) if state(tables, id) == "held" => Ok(Decision::event(noted(id, &input.at.micros().to_string()))),
        _ => decide(tables, id, input),
    }));
    report.always("never between", |s| [0, DUE].contains(&s.at())).explore(quick()).assert_holds();
}

/// Guards: a world names the moments that no deadline marks, and nothing waits for them.
#[test]
fn time_stands_at_the_moments_that_a_world_names() {
    fn decide(tables: &Tables, id: &str, input: &Input<Lab>) -> Decided {
        Ok(match (&input.body, state(tables, id)) {
            (Body::Command(Go(what)), "") if what == "offer" => Decision::event(did(id, "offered")),
            (Body::Command(Go(what)), "offered") if what == "accept" && input.at.micros() > DUE => {
                Decision::event(did(id, "late"))
            }
            (Body::Command(_), _) => return Err(Problem::conflict("no", "not now").into()),
            _ => Decision::nothing(),
        })
    }
    let offer = || world(Lab { decide, ..Lab::default() }).command::<Lab>(go("a", "offer")).command::<Lab>(go("a", "accept"));
    let offer = || offer().sometimes("late", |s| s.rows::<Row>().any(|row| row.state == "late"));
    assert!(!offer().explore(quick()).holds());
    let named = || offer().moments([Duration::from_secs(600), Duration::from_secs(601)]);
    named().explore(quick()).assert_holds();
    let at_end = named().at_end("nothing is offered", |s| s.rows::<Row>().all(|row| row.state != "offered")).explore(quick());
    assert_eq!(at_end.violation.unwrap().chapters.len(), 1);
}

/// Guards: what is due at the end of time never is.
#[test]
fn a_deadline_at_the_end_of_time_never_fires() {
    let decide = |_: &Tables, id: &str, input: &Input<Lab>| {
        Ok(Decision::event(did(id, if let Body::Deadline(_) = input.body { "late" } else { "done" })))
    };
    let world = world(Lab { decide, follow: |event| at(event, i64::MAX), ..Lab::default() }).command::<Lab>(go("a", "go"));
    world.at_end("never", |s| s.rows::<Row>().all(|row| row.state == "done")).explore(quick()).assert_holds();
}

/// What each input leads to.
fn heard(decide: fn(&Tables, &str, &Input<Lab>) -> Decided) -> World {
    world(Lab { decide, ..Lab::default() }).participant(One)
}

/// Guards: what comes again and again is so only if it leads to itself.
#[test]
fn what_nothing_leads_to_again_is_not_endless() {
    let four = |_: &Tables, id: &str, _: &Input<Lab>| Ok(Decision::events((0..4).map(|n| did(id, &n.to_string()))));
    heard(four).command::<One>(say("k", "a")).losses(0, 0).explore(quick()).assert_holds();
    let one = |_: &Tables, id: &str, _: &Input<Lab>| Ok(Decision::event(did(id, "x")));
    heard(one).command::<One>(say("k", "a").times(4)).losses(3, 0).explore(quick()).assert_holds();
}

/// Guards: retries that end hold with a higher bound, and the way round is named.
#[test]
fn retries_without_end_are_named_and_those_that_end_may_be_allowed() {
    fn decide(tables: &Tables, id: &str, input: &Input<Lab>) -> Decided {
        let n = tables.rows.get(&id.to_owned()).map_or(0, |row| row.n);
        Ok(match &input.body {
            Body::Command(_) => Decision::event(did(id, "1")),
            Body::Outcome { .. } if n < 6 => Decision::events([noted(id, "no"), did(id, "again")]),
            _ => Decision::nothing(),
        })
    }
    let follow = |event: &Event| match event {
        Event::Did(_) => vec![Task::effect(Charge("it".to_owned()))],
        Event::Noted(_) => Vec::new(),
    };
    let world = || {
        let lab = Lab { decide, follow, ..Lab::default() };
        World::new("retries").participant(lab).outside::<Lab>(|_| vec![Out("no".to_owned())]).command::<Lab>(go("a", "go"))
    };
    let violation = world().endless(24, 3).losses(0, 0).explore(quick()).violation.unwrap();
    assert_eq!(violation.violated, "a cycle without progress");
    assert!(violation.why.contains("lab.Did led to itself 3 times") && violation.why.contains(".endless("), "{violation}");
    world().losses(0, 0).endless(24, 6).explore(quick()).assert_holds();
}

records! { "echo": Called { key: String } }

mod echo {
    use super::Called;
    farandole::messages! { pub(crate) enum Event { Called } }
    farandole::tables! { pub(crate) struct Tables { rows: Row in "echo" { key: String, n: i64 } } }
    pub(crate) mod heard {
        use super::super::Called;
        farandole::messages! { pub(crate) enum Heard { Called } }
    }
}

/// Hears itself, each time about something new.
#[derive(Debug)]
struct Echo;

impl Participant for Echo {
    const NAME: &'static str = "echo";
    type Id = String;
    type Event = echo::Event;
    type Heard = echo::heard::Heard;
    type Command = Go;
    type Deadline = Never;
    type Effect = Never;
    type Tables = echo::Tables;

    fn aggregate(&self, echo::heard::Heard::Called(called): &echo::heard::Heard) -> Option<String> {
        Some(format!("{}'", called.key))
    }
    fn decide(&self, _: &echo::Tables, id: &String, _: &Input<Self>) -> Result<Decision<echo::Event>, Refusal> {
        Ok(Decision::event(Called { key: id.clone() }))
    }
    fn evolve(&self, tables: &mut echo::Tables, echo::Event::Called(called): &echo::Event) {
        tables.rows.put(echo::Row { key: called.key.clone(), n: 1 });
    }
}

/// Guards: what goes round through ever new aggregates goes round.
#[test]
fn a_way_round_over_new_aggregates_is_endless() {
    let call = Ask::<Echo>::once("call", "a".to_owned(), || Go("call".to_owned()));
    let report = World::new("an echo").participant(Echo).command::<Echo>(call).losses(0, 0).explore(quick());
    assert_eq!(report.violation.unwrap().why.split(", ").nth(1), Some("echo.Called led to itself 4 times"));
}
