//! What is told: steps that are found again, tests that compile, and diagrams.

use farandole::{Body, Decision, Input, Task};

use super::lab::{Charge, Decided, Event, Lab, Out, Row, Tables, at, did, go, noted, world};
use super::quick;
use crate::{Counterexample, Fault, World};

fn again(world: World, found: &Counterexample) -> Option<String> {
    let steps: Vec<&str> = found.chapters.iter().map(|chapter| chapter.step.as_str()).collect();
    world.story().given(steps).violated()
}

/// Does what callers want, and charges for it.
fn charges() -> Lab {
    fn decide(_: &Tables, id: &str, input: &Input<Lab>) -> Decided {
        Ok(match &input.body {
            Body::Command(go) => Decision::event(did(id, &go.0)),
            Body::Outcome { effect: super::lab::Effect::Charge(Charge(of)), outcome } => {
                Decision::event(noted(id, &format!("{of} {}", outcome.0)))
            }
            _ => Decision::nothing(),
        })
    }
    let follow = |event: &Event| match event {
        Event::Did(did) => vec![Task::effect(Charge(did.what.clone()))],
        Event::Noted(_) => Vec::new(),
    };
    Lab { decide, follow, ..Lab::default() }
}

/// Guards: the story of a masked answer goes the way of that answer.
#[test]
fn of_two_answers_alike_in_words_the_story_finds_the_right_one() {
    for answer in ["secret1", "secret2"] {
        let asked = || World::new("secrets").participant(charges()).command::<Lab>(go("a", "go"));
        let asked = || asked().outside::<Lab>(|_| ["secret1", "secret2"].map(|text| Out(text.to_owned())).into());
        let world = || asked().always("not that", move |s| s.rows::<Row>().all(|row| !row.state.ends_with(answer)));
        let found = world().explore(quick()).violation.unwrap();
        assert_eq!(again(world(), &found).as_deref(), Some("not that"), "{found}");
    }
}

/// Guards: the same of two effects of one name.
#[test]
fn of_two_tasks_alike_in_words_the_story_finds_the_right_one() {
    for first in ["1 ok", "2 ok"] {
        let noted = |event: &Event| if let Event::Noted(noted) = event { Some(noted.what.clone()) } else { None };
        let asked = || world(charges()).command::<Lab>(go("a", "1")).command::<Lab>(go("a", "2")).losses(0, 0);
        let not_first = move |s: &crate::Seen<'_>| {
            let last: Vec<_> = s.events::<Lab>().collect();
            last.len() != 3 || noted(last[2]).as_deref() != Some(first)
        };
        let found = asked().always("not first", not_first).explore(quick()).violation.unwrap();
        assert_eq!(again(asked().always("not first", not_first), &found).as_deref(), Some("not first"), "{found}");
        assert_eq!(found.chapters.iter().any(|chapter| chapter.step.ends_with("(the 2nd of these)")), first == "2 ok");
    }
}

/// Guards: names stand for whole ids, and not for parts of a time.
#[test]
fn a_name_stands_for_an_id_and_not_for_a_number() {
    let decide = |_: &Tables, id: &str, input: &Input<Lab>| match &input.body {
        Body::Command(_) => Ok(Decision::event(did(id, "done"))),
        _ => Ok(Decision::event(noted(id, "late"))),
    };
    let lab = || Lab { decide, follow: |event| at(event, 1_000_000), ..Lab::default() };
    let asked = || world(lab()).command::<Lab>(go("1", "go")).command::<Lab>(go("10", "go")).call("1", "anna").call("0", "zero");
    let asked = || asked().always("in time", |s| s.rows::<Row>().all(|row| row.state != "late"));
    let found = asked().explore(quick()).violation.unwrap();
    assert_eq!(found.chapters[0].step, "a caller asks lab: go, about anna");
    assert_eq!(found.chapters[1].step, "time goes on to 1.000 s");
    assert_eq!(found.chapters[0].rows[0].0, "lab.lab[anna]");
    assert!(again(asked(), &found).is_some());
    assert_eq!(asked().story().when("a caller asks lab: go, about 10").violated(), None);
}

/// Guards: a printed test compiles, whatever the name, and however short the way.
#[test]
fn a_printed_test_compiles() {
    for (name, function) in [("match", "it_holds_match"), ("", "it_holds"), ("1 row", "it_holds_1_row"), ("größer", "gr_er")] {
        let never = |world: World| world.always(name, |s| s.rows::<Row>().count() == 0).explore(quick()).violation.unwrap();
        let one = never(world(Lab::default()).command::<Lab>(go("a", "go"))).test();
        let expected = format!(
            "#[test]\nfn {function}() {{\n    // The world \"a lab\".\n    world()\n        .story()\n        .when(\"a caller asks lab: go, about a\")\n        .then({name:?});\n}}\n"
        );
        assert_eq!(one, expected);
        let none = never(world(Lab::default()).given::<Lab>("a".to_owned(), [did("a", "x")])).test();
        assert!(
            none.ends_with("{\n    // The world \"a lab\".\n    assert_eq!(world().story().violated(), None);\n}\n"),
            "{none}"
        );
    }
}

/// Guards: a fault has a short name, and says what differs.
#[test]
fn a_fault_has_a_short_name_and_says_only_what_differs() {
    static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let decide = |_: &Tables, id: &str, _: &Input<Lab>| {
        let n = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Decision::event(did(id, &format!("{}{n}{}", "x".repeat(1000), "y".repeat(1000)))))
    };
    let found = world(Lab { decide, ..Lab::default() }).command::<Lab>(go("a", "go")).explore(quick()).violation.unwrap();
    assert!(found.test().contains(".then(\"decided twice on the same rows, the same input gave something else\")"), "{found}");
    assert!(matches!(found.fault, Some(Fault::Undetermined { .. })) && found.why.len() < 500, "{found}");
}

/// Guards: what is found once and not again is told as that.
#[test]
fn what_does_not_come_again_is_told_as_that() {
    static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let lab = Lab { touches: |_| farandole::Keys::default(), ..Lab::default() };
    let world = World::new("once").participant(Lab { evolve: |_, _| {}, ..lab }).outside::<Lab>(|_| Vec::new());
    let once = world.command::<Lab>(go("a", "go")).always("not the second time", |s| {
        s.events::<Lab>().count() == 0 || CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0
    });
    let found = once.explore(quick()).violation.unwrap();
    assert_eq!((found.violated.as_str(), found.fault), ("the same way doesn't lead to the same", Some(Fault::Unrepeatable)));
}

/// Guards: a failing pasted test says what doesn't hold, and whether it is what it was about.
#[test]
fn a_failing_story_says_what_it_was_about() {
    let world = || world(Lab::default()).command::<Lab>(go("a", "go"));
    let never =
        || world().always("no row", |s| if s.rows::<Row>().count() == 0 { Ok(()) } else { Err("there is one".to_owned()) });
    let words = |about: &'static str| {
        let panic = std::panic::catch_unwind(|| never().story().when("a caller asks lab: go, about a").then(about)).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    assert_eq!(words("no row"), "doesn't hold, as when this story was found: no row: there is one");
    assert!(words("other").starts_with("doesn't hold: no row: there is one; the story was found with something else"));
}
