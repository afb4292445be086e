//! Runs that are damaged.

use farandole::{Body, Decision};
use serde_json::json;

use super::lab::{Lab, One, Row, Say, did, one, world};
use crate::{Recording, World};

/// An event of a run, the nth.
fn event(n: i64, kind: &str, (key, place, cause): (&str, &str, &str), value: &serde_json::Value) -> serde_json::Value {
    json!({
        "id": format!("00000000-0000-7000-8000-{n:012}"), "kind": kind, "key": key, "place": place, "number": [1, n], "cause": cause,
        "correlation": "00000000-0000-7000-8000-000000000009", "of": [1, 1], "at": 1000 + n, "value": value,
    })
}

/// What was said, and what the lab made of it: under which key, and by which cause.
fn run(key: &str, cause: &str) -> Recording {
    let said = event(1, "one.Said", ("k", "one/0/0", "command/1"), &json!({"key": "k", "about": "a"}));
    let done = event(2, "lab.Did", (key, "lab/0/0", cause), &json!({"key": "a", "what": "x"}));
    serde_json::from_value(json!({"events": {"one": [said], "lab": [done]}, "parked": {}})).unwrap()
}

fn lab() -> World {
    let lab = Lab {
        decide: |_, id, input| {
            Ok(if let Body::Heard(_) = input.body { Decision::event(did(id, "x")) } else { Decision::nothing() })
        },
        ..Lab::default()
    };
    world(lab).participant(One).asked_by::<One>(|events| match events {
        [one::Event::Said(said)] => Some(Say(said.about.clone())),
        _ => None,
    })
}

/// Guards: what is published under another key is no event of that aggregate.
#[test]
fn an_event_under_another_key_is_refused() {
    let allowed = lab().replay(&run("a", "one/0/0"));
    assert!(allowed.holds(), "{:?} {:?} {:?}", allowed.refused, allowed.pending, allowed.vacuous);
    let refused = lab().replay(&run("b", "one/0/0")).refused;
    assert!(refused[0].ends_with(r#"deciding again is about "a"; published was Did about "b""#), "{refused:?}");
}

/// Guards: a service's numbers are in order.
#[test]
fn numbers_out_of_order_are_refused() {
    let mut run = run("a", "one/0/0");
    let mut earlier = run.events["lab"][0].clone();
    (earlier.number, earlier.place, earlier.id) = ((1, 1), "lab/0/1".to_owned(), uuid::Uuid::from_u128(7));
    run.events.get_mut("lab").unwrap().push(earlier);
    let refused = lab().replay(&run).refused;
    assert!(refused[0].contains("its number is lower than that of the event before"), "{refused:?}");
}

/// Two inputs with two events each, of one key or two; their numbers by turns, as concurrent transactions take them.
fn by_turns(about: [&str; 2]) -> crate::Replayed {
    let lab = Lab {
        decide: |_, id, input| {
            Ok(match input.body {
                Body::Heard(_) => Decision::events([did(id, "x"), did(id, "y")]),
                _ => Decision::nothing(),
            })
        },
        ..Lab::default()
    };
    let said = |n: usize| {
        let (place, cause) = (format!("one/0/{n}"), format!("command/{n}"));
        event(n as i64 + 1, "one.Said", ("k", &place, &cause), &json!({"key": "k", "about": about[n]}))
    };
    let did = |n: usize, i: usize, what| {
        let (place, cause) = (format!("lab/{n}/{i}"), format!("one/0/{n}"));
        let number = (i * 2 + n) as i64;
        let mut did = event(10 + number, "lab.Did", (about[n], &place, &cause), &json!({"key": about[n], "what": what}));
        did["of"] = json!([i + 1, 2]);
        did
    };
    let dids = [did(0, 0, "x"), did(1, 0, "x"), did(0, 1, "y"), did(1, 1, "y")];
    let run = json!({"events": {"one": [said(0), said(1)], "lab": dids}, "parked": {}});
    let lab = world(lab).participant(One).asked_by::<One>(|events| match events {
        [one::Event::Said(said)] => Some(Say(said.about.clone())),
        _ => None,
    });
    lab.replay(&serde_json::from_value(run).unwrap())
}

/// Guards: of one key the events of an input stand together, and another key's may lie in between. Asked to stand together at all, a run
/// is refused whenever two partitions' transactions were written at once.
#[test]
fn events_of_two_keys_may_come_by_turns() {
    let allowed = by_turns(["a", "b"]);
    assert!(allowed.holds() && allowed.decisions == 4, "{:?} {:?} {:?}", allowed.refused, allowed.pending, allowed.vacuous);
    let refused = by_turns(["a", "a"]).refused;
    assert!(refused.iter().any(|why| why.ends_with("the events of its input don't stand together")), "{refused:?}");
}

/// Guards: what a run says of itself is no reason to panic.
#[test]
fn a_cause_that_cannot_be_is_refused() {
    for cause in ["lab/0/0", "lab/0/9", "one/0/9", "deadline/late/x", "outcome/charge/00000000-0000-7000-8000-000000000002", ""] {
        assert!(!lab().replay(&run("a", cause)).refused.is_empty(), "{cause}");
    }
    let mut run = run("a", "lab/0/1");
    let mut later = run.events["lab"][0].clone();
    (later.number, later.place, later.cause) = ((1, 3), "lab/0/1".to_owned(), "one/0/0".to_owned());
    (later.at, later.id, later.of) = (i64::MIN, uuid::Uuid::from_u128(7), (1, i16::MIN));
    later.value = json!({"nothing": "of it"});
    run.events.get_mut("lab").unwrap().push(later);
    assert!(!lab().replay(&run).refused.is_empty());
}

/// Guards: code that panics in a replay is told.
#[test]
fn what_panics_in_a_replay_is_told() {
    let world = lab().always("boom", |s| s.rows::<Row>().count() == 0 || panic!("no idea"));
    assert_eq!(world.replay(&run("a", "one/0/0")).violated(), ["boom: it panicked: no idea"]);
    let panics = Lab { decide: |_, _, _| panic!("no decision"), ..Lab::default() };
    let refused = world_of(panics).replay(&run("a", "one/0/0")).refused;
    assert!(refused.iter().any(|why| why.contains("it panicked: no decision")), "{refused:?}");
}

fn world_of(lab: Lab) -> World {
    world(lab).participant(One).asked_by::<One>(|_| panic!("no command"))
}
