//! States that differ, and inputs that come again.

use farandole::{Body, Decision, IdempotencyKey, Input, Keys, Problem, Task};

use super::lab::{Charge, Decided, Event, Go, Heard, Lab, One, Row, Tables, Two, did, go, noted, say, state, world};
use super::quick;
use crate::World;

/// What is said is parked until a door is opened, and then done.
fn behind_a_door() -> World {
    fn decide(tables: &Tables, id: &str, input: &Input<Lab>) -> Decided {
        Ok(match &input.body {
            Body::Command(_) => Decision::event(noted("door", "open")),
            Body::Heard(_) if state(tables, "door").is_empty() => return Err(Problem::conflict("closed", "closed").into()),
            Body::Heard(Heard::Said(said)) => Decision::event(did(id, &said.key)),
            Body::Heard(Heard::Told(told)) => Decision::event(did(id, &told.key)),
            _ => Decision::nothing(),
        })
    }
    let lab = Lab { decide, touches: |id| Keys::of::<Row>(["door", id].map(ToOwned::to_owned)), ..Lab::default() };
    world(lab).participant(One).participant(Two).command::<Lab>(go("door", "open")).losses(0, 0).may_stay_parked()
}

/// Guards: what waits behind what is part of the state.
#[test]
fn which_was_parked_first_tells_states_apart() {
    // Both wait behind the first, in either order.
    for second in ["2", "3"] {
        let world = behind_a_door().command::<One>(say("1", "p")).command::<One>(say("2", "p")).command::<Two>(say("3", "p"));
        let world = world.always("not so", move |s| {
            let did = |event: &Event| if let Event::Did(did) = event { Some(did.what.clone()) } else { None };
            let done: Vec<String> = s.events::<Lab>().filter_map(did).collect();
            !(done == ["1", second] && s.parked().count() == 1)
        });
        assert!(world.explore(quick()).violation.is_some(), "{second} is never done while the other one waits");
    }
}

/// Guards: an operator may drop what is parked, if a world says so.
#[test]
fn an_operator_may_drop_what_is_parked() {
    let world = || {
        let said = behind_a_door().command::<One>(say("k", "p"));
        said.at_end("what is said is done or parked", |s| {
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
