//! The room booking of the documentation: `docs/checking.md` says what happens here.

mod rooms {
    #![allow(dead_code, unused_imports, clippy::enum_variant_names)]
    include!("../doc/rooms.rs");
}

use farandole::testing::{Story, state_table};
use farandole_check::{Bounds, Covered};
use rooms::*;

const PAGE: &str = include_str!("../../../docs/checking.md");
const CODE: &str = include_str!("../doc/rooms.rs");
const TEST: &str = include_str!("rooms.rs");

fn quick() -> Bounds {
    Bounds { threads: 1, ..Bounds::ci() }
}

/// The page's blocks of one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let open = format!("```{language}\n");
    PAGE.split(&open).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

#[test]
fn the_planted_bug_is_found_as_the_page_says() {
    let report = world(Till { refunds_late: false }).explore(quick());
    let violation = report.violation.as_ref().unwrap();
    let (text, mermaid, test) = (violation.to_string(), violation.mermaid(), violation.test());
    assert_eq!(violation.violated, "who paid has a room, or the money back");
    assert!(text.starts_with(blocks("text")[0]), "the page's story isn't this one:\n{text}");
    assert_eq!(mermaid.trim_end(), blocks("mermaid")[0]);
    for block in blocks("rust") {
        assert!(
            CODE.contains(block) || TEST.contains(block) || test.trim_end() == block,
            "the page's code is nowhere:\n{block}\n\nthe test is:\n{test}"
        );
    }
}

#[test]
fn mended_it_holds() {
    let report = world(Till { refunds_late: true }).explore(quick());
    let said = format!("{} states, exhausted", report.assert_holds().states);
    assert!(report.exhausted && PAGE.contains(&said), "the page doesn't say: {said}");
}

#[test]
fn the_printed_test_fails_as_long_as_the_bug_is_there() {
    let report = world(Till { refunds_late: false }).explore(quick());
    let chapters = &report.violation.as_ref().unwrap().chapters;
    let steps: Vec<&str> = chapters.iter().map(|chapter| chapter.step.as_str()).collect();
    assert!(world(Till { refunds_late: false }).story().given(&steps).violated().is_some());
    // With the bug mended the same way leads on: the till has said that the charge failed, and gives the money back.
    let (_, mended) = steps.split_last().unwrap();
    assert!(world(Till { refunds_late: true }).story().given(mended).violated().is_none());
}

#[test]
fn what_is_reached_is_what_the_state_table_says() {
    let id = || "anna".to_owned();
    let held = || RoomHeld { booking: id(), until: 0 }.into();
    let table = state_table(
        || Story::new(Hotel, id(), farandole::rows![hotel::Tables; rooms: hotel::Room[id()]]),
        &[
            ("none", vec![]),
            ("held", vec![held()]),
            ("booked", vec![held(), RoomBooked { booking: id() }.into()]),
            ("free", vec![held(), RoomFreed { booking: id() }.into()]),
        ],
        &[
            ("Charged", &|story| story.hears(Charged { booking: id() })),
            ("ChargeFailed", &|story| story.hears(ChargeFailed { booking: id() })),
            ("deadline `pay`", &|story| story.when(farandole::Body::Deadline(hotel::Deadline::Pay))),
            ("command Hold", &|story| story.asked(Hold)),
        ],
    );
    let report = world(Till { refunds_late: true }).explore(quick());
    let covered = Covered::of::<Hotel>(&table, &[&report]);
    assert!(covered.wrong.is_empty(), "{covered}");
    let unreached = |state: &str, input: &str| covered.unreached.contains(&(state.to_owned(), input.to_owned()));
    assert!(unreached("none", "Charged") && !unreached("free", "ChargeFailed"), "{covered}");
}
