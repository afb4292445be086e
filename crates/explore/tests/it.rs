//! The bugs are found, the worlds hold, what they reach is what the state tables say, and what really ran is a run that they allow.

#![allow(clippy::unwrap_used, reason = "a test that can't go on says where")]

use std::collections::BTreeSet;
use std::path::Path;

use explore::{bugs, ran, worlds};
use farandole::Participant;
use farandole::testing::committed;
use farandole_check::{Bounds, Covered, Recording, Replayed, Report};
use inventory::Inventory;
use orders::Orders;
use payments::Payments;

#[test]
fn each_bug_is_found_and_its_story_shows_it() {
    let (mut missed, mut violated) = (Vec::new(), BTreeSet::new());
    for bug in bugs::bugs() {
        let report = (bug.world)().explore(Bounds::ci());
        let Some(violation) = &report.violation else {
            missed.push(format!("{}: {report}", bug.name));
            continue;
        };
        violated.insert(violation.violated.clone());
        if !violation.violated.contains(bug.violates) {
            missed.push(format!("{}: found something else\n{violation}", bug.name));
            continue;
        }
        let steps: Vec<&str> = violation.chapters.iter().map(|chapter| chapter.step.as_str()).collect();
        if (bug.world)().story().given(&steps).violated().is_none() {
            missed.push(format!("{}: its story shows nothing\n{violation}", bug.name));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    // An invariant that nothing breaks says nothing.
    for world in worlds::worlds(true) {
        let unbroken: Vec<&str> = world.invariants().filter(|name| !violated.contains(*name)).collect();
        assert!(unbroken.is_empty(), "{}: no bug violates {unbroken:?}", world.name());
    }
}

/// `scripts/explore` explores the larger worlds whole.
#[test]
fn the_worlds_hold_and_reach_what_the_state_tables_say() {
    let bounds = Bounds { states: 150_000, ..Bounds::ci() };
    let reports: Vec<Report> = worlds::worlds(false).into_iter().map(|world| world.explore(bounds)).collect();
    for report in &reports {
        println!("{report}");
        report.assert_holds_so_far();
    }
    let reports: Vec<&Report> = reports.iter().collect();
    let mut unreached =
        "# Cases that no world reaches\n\nWritten by a test: what stands in the services' state tables, and comes about \
                         in none of the shop's worlds.\n"
            .to_owned();
    covered::<Orders>(include_str!("../../../services/orders/STATES.md"), &reports, &mut unreached);
    covered::<Inventory>(include_str!("../../../services/inventory/STATES.md"), &reports, &mut unreached);
    covered::<Payments>(include_str!("../../../services/payments/STATES.md"), &reports, &mut unreached);
    committed(Path::new(env!("CARGO_MANIFEST_DIR")).join("UNREACHED.md"), &unreached);
}

fn covered<P: Participant>(table: &str, reports: &[&Report], unreached: &mut String) {
    let covered = Covered::of::<P>(table, reports);
    assert!(covered.wrong.is_empty(), "{}: {covered}", P::NAME);
    let all = covered.reached.len() + covered.unreached.len();
    unreached.push_str(&format!(
        "\n## {}: {} of {all} reached\n\n| state | input |\n|---|---|\n",
        P::NAME,
        covered.reached.len()
    ));
    for (state, input) in &covered.unreached {
        unreached.push_str(&format!("| {state} | {input} |\n"));
    }
}

/// A run of the demo with some twenty orders, recorded by `scripts/demo --record`.
fn recorded() -> Recording {
    serde_json::from_str(include_str!("run.json")).unwrap()
}

fn replayed(run: &Recording) -> Replayed {
    ran::ran(run).replay(run)
}

#[test]
fn what_ran_is_allowed() {
    let replayed = replayed(&recorded());
    assert!(replayed.holds(), "{:?} {:?}", replayed.refused, replayed.vacuous);
    assert!(replayed.violated().is_empty(), "{:?}", replayed.violated());
    assert!(replayed.decisions > 50, "{}", replayed.decisions);
}

#[test]
fn a_run_with_a_fault_is_refused() {
    // One piece more was set aside than was ordered.
    let mut wrong = recorded();
    let reserved = wrong.events.get_mut("inventory").unwrap().iter_mut().find(|e| e.kind.ends_with(".StockReserved")).unwrap();
    let quantity = &mut reserved.value["lines"][0]["quantity"];
    *quantity = (quantity.as_i64().unwrap() + 1).into();
    let refused = replayed(&wrong).refused;
    assert!(refused[0].contains("deciding again gives StockReserved"), "{refused:?}");

    // An event is missing: its input should have led to it.
    let mut missing = recorded();
    let events = missing.events.get_mut("payments").unwrap();
    let at = events.iter().position(|e| e.kind.ends_with(".PaymentVoided")).unwrap();
    let voided = events.remove(at);
    let refused = replayed(&missing);
    assert!(!refused.violated().is_empty(), "nobody misses {voided:?}");
    let events = missing.events.get_mut("inventory").unwrap();
    let at = events.iter().position(|e| e.kind.ends_with(".StockReleased")).unwrap();
    events.remove(at);
    let missed = replayed(&missing);
    assert!(missed.pending.iter().any(|why| why.contains("should lead to StockReleased")), "{:?}", missed.pending);
    assert!(!missed.holds());

    // An event stands twice; a command was decided twice; somebody takes part who doesn't.
    let mut twice = recorded();
    let orders = twice.events.get_mut("orders").unwrap();
    orders.insert(1, orders[0].clone());
    twice.events.insert("stranger".to_owned(), Vec::new());
    let refused = replayed(&twice).refused;
    for why in ["its id is another event's", "its place is", "its number is", "was decided before", "stranger takes no part"] {
        assert!(refused.iter().any(|refused| refused.contains(why)), "{why}: {refused:?}");
    }

    // A deadline fired before it was due, and one that nobody had opened.
    let mut early = recorded();
    let cancelled = early.events.get_mut("orders").unwrap().iter_mut().find(|e| e.kind.ends_with(".OrderCancelled")).unwrap();
    let placed = cancelled.correlation;
    cancelled.cause = format!("deadline/confirm/{placed}");
    let refused = replayed(&early).refused;
    assert!(refused.iter().any(|why| why.contains("it names no event before it")), "{refused:?}");
}

#[test]
fn a_run_that_says_nothing_is_refused() {
    let mut run = recorded();
    run.events.remove("payments");
    let orders = run.events.get_mut("orders").unwrap();
    orders.retain(|event| event.kind.ends_with(".OrderPlaced"));
    orders.truncate(1);
    run.events.remove("inventory");
    let replayed = replayed(&run);
    assert!(replayed.vacuous.iter().any(|why| why == "payments decided nothing in this run"), "{:?}", replayed.vacuous);
    assert!(!replayed.holds());
}

/// The tool itself, as `scripts/explore` calls it.
fn explore(args: &[&str]) -> (Option<i32>, String) {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_explore")).args(args).output().unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

#[test]
fn the_tool_says_what_it_explored() {
    let (code, said) = explore(&["--world", "an acquirer that never answers", "--walks", "1"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 worlds, ") && said.contains("1 of 1 exhausted, 0 violations"), "{said}");
    assert!(said.contains("random walks: "), "{said}");
    let (code, said) = explore(&["--world", "none"]);
    assert!(code == Some(2) && said.contains("there is no such world; there are: one order, "), "{said}");
    let (code, said) = explore(&["--states", "500", "--no-bugs"]);
    assert!(code == Some(0) && said.contains("0 violations"), "{said}");
}

#[test]
fn the_tool_ends_quietly_with_its_reader() {
    let gone = ("sh", ["-c", "\"$0\" --states 500 --no-bugs | true", env!("CARGO_BIN_EXE_explore")]);
    let done = std::process::Command::new(gone.0).args(gone.1).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn the_tool_replays_what_ran() {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run.json");
    let (code, said) = explore(&["--replay", run]);
    assert!(code == Some(0) && said.starts_with("allowed: "), "{said}");
    let folder = std::env::temp_dir().join(format!("explore-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let wrong = folder.join("wrong.json");
    std::fs::write(&wrong, include_str!("run.json").replace("lost_card", "stolen_card").replace("PaymentVoided", "PaymentLost"))
        .unwrap();
    let (code, said) = explore(&["--replay", wrong.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("farandole.payments.PaymentLost can't be read as an event of payments"), "{said}");
    std::fs::write(&wrong, "{").unwrap();
    let (code, said) = explore(&["--replay", wrong.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("is no recorded run"), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}
