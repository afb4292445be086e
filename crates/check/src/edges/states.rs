//! States that differ, and inputs that come again.

use farandole::{Body, Decision, IdempotencyKey, Input, Keys, Problem, Task};

use super::lab::{Charge, Decided, Event, Go, Lab, One, Row, Tables, Two, did, go, noted, say, state, world};
use super::quick;
use crate::World;

/// Two that are parked under one key, about two aggregates, until a door is opened.
fn parked(done: &'static str, waits: &'static str) -> World {
    fn decide(tables: &Tables, id: &str, input: &Input<Lab>) -> Decided {
        let open = !state(tables, "door").is_empty();
        Ok(match &input.body {
            Body::Command(_) => Decision::event(did("door", "open")),
            Body::Heard(_) if open => Decision::event(did(id, "done")),
            Body::Heard(_) => return Err(Problem::conflict("closed", "closed").into()),
            _ => Decision::nothing(),
        })
    }
    let lab = Lab { decide, touches: |id| Keys::of::<Row>(["door", id].map(ToOwned::to_owned)), ..Lab::default() };
    let world = world(lab).participant(One).participant(Two).command::<One>(say("k", "p")).command::<Two>(say("k", "q"));
    world.command::<Lab>(go("door", "open")).losses(0, 0).may_stay_parked().always("not so", move |s| {
        !(s.rows::<Row>().any(|row| row.key == done) && s.parked().any(|(aggregate, _)| aggregate == waits))
    })
}

/// Guards: what waits behind what is part of the state.
#[test]
fn which_was_parked_first_tells_states_apart() {
    for (done, waits) in [("p", "q"), ("q", "p")] {
        let violation = parked(done, waits).explore(quick()).violation;
        assert_eq!(violation.unwrap().violated, "not so", "{done} is never done while {waits} waits");
    }
}

/// Guards: an operator may drop what is parked, if a world says so.
#[test]
fn an_operator_may_drop_what_is_parked() {
    let world = || {
        parked("p", "nothing").without("not so").at_end("what is said is done or parked", |s| {
            let about_p =
                s.rows::<Row>().filter(|row| row.key == "p").count() + s.parked().filter(|(about, _)| *about == "p").count();
            s.events::<One>().count() <= about_p
        })
    };
    world().explore(quick()).assert_holds();
    let steps = world().drops(1).explore(quick()).violation.unwrap().chapters;
    assert!(steps.iter().any(|chapter| chapter.step == "an operator drops what lab has parked: one/k/0"), "{steps:?}");
}

/// Guards: an input that comes again has another id, as in the engine.
#[test]
fn an_input_that_comes_again_has_another_id() {
    let once = |tables: &Tables, id: &str, input: &Input<Lab>| {
        let known = state(tables, id) == input.id.to_string();
        Ok(if known { Decision::nothing() } else { Decision::event(did(id, &input.id.to_string())) })
    };
    let once = Lab { decide: once, ..Lab::default() };
    let world = world(once).participant(One).command::<One>(say("k", "a"));
    let report = world.always("once", |s| s.rows::<Row>().all(|row| row.n <= 1)).explore(quick());
    let violation = report.violation.as_ref().unwrap();
    assert!(violation.chapters[2].step.contains("position is lost"), "{report}");
    let is_v7 =
        |event: &Event| matches!(event, Event::Did(did) if did.what.parse::<uuid::Uuid>().unwrap().get_version_num() == 7);
    let lab = Lab { decide: |_, id, input| Ok(Decision::event(did(id, &input.id.to_string()))), ..Lab::default() };
    let world = super::lab::world(lab).command::<Lab>(go("a", "go").repeated(1));
    world.always("version 7", move |s| s.events::<Lab>().all(is_v7)).explore(quick()).assert_holds();
}

/// Guards: names that can be exchanged still can where an input's id was made of one.
#[test]
fn names_in_ids_are_exchanged() {
    let states = |decide: fn(&Tables, &str, &Input<Lab>) -> Decided| {
        let world = ["anna", "ben"].iter().fold(world(Lab { decide, ..Lab::default() }), |world, name| {
            world.command::<Lab>(go(name, "go").times(2)).command::<Lab>(go(name, "come"))
        });
        world.interchangeable(["anna", "ben"]).explore(quick()).states
    };
    let stored = states(|_, id, input| Ok(Decision::event(did(id, &input.id.to_string()))));
    let words = states(|_, id, input| Ok(Decision::event(did(id, &format!("{:?} {}", input.body, input.at.micros())))));
    assert_eq!(stored, words);
}

/// Guards: positions of all keys of a topic are lost at once, too.
#[test]
fn one_loss_brings_both_keys_again() {
    let lab = Lab {
        decide: |_, id, input| {
            Ok(if let Body::Heard(_) = input.body { Decision::event(did(id, "x")) } else { Decision::nothing() })
        },
        ..Lab::default()
    };
    let world = world(lab).participant(One).command::<One>(say("a", "a")).command::<One>(say("b", "b"));
    let report = world.always("one at most", |s| s.rows::<Row>().filter(|row| row.n > 1).count() < 2).explore(quick());
    let steps = report.violation.unwrap().chapters;
    assert!(steps.iter().any(|chapter| chapter.step == "lab's position is lost: all that it heard from one comes again"));
}

/// Guards: of several effects under one key, each one's answer may come again.
#[test]
fn each_answer_of_a_shared_key_may_come_again() {
    fn decide(tables: &Tables, id: &str, input: &Input<Lab>) -> Decided {
        let other = state(tables, if id == "a" { "b" } else { "a" });
        Ok(match (&input.body, state(tables, id)) {
            (Body::Command(Go(_)), _) => Decision::event(did(id, "asked")),
            (Body::Outcome { .. }, "asked") => Decision::event(noted(id, if other == "first" { "second" } else { "first" })),
            (Body::Outcome { .. }, "first") if other == "second" => Decision::event(noted(id, "again")),
            _ => Decision::nothing(),
        })
    }
    let follow = |event: &Event| match event {
        Event::Did(_) => vec![Task::effect(Charge("it".to_owned()))],
        Event::Noted(_) => Vec::new(),
    };
    let touches = |_: &str| Keys::of::<Row>(["a", "b"].map(ToOwned::to_owned));
    let lab = Lab { decide, follow, touches, key: |_| IdempotencyKey::Of("one".to_owned()), ..Lab::default() };
    let world = world(lab).command::<Lab>(go("a", "go")).command::<Lab>(go("b", "go"));
    let report = world.always("never again", |s| s.rows::<Row>().all(|row| row.state != "again")).explore(quick());
    assert_eq!(report.violation.unwrap().violated, "never again");
}
