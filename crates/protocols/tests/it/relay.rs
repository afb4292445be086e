//! The relay's round with its step.

use protocols::relay::{
    COMMITTED, CRASHES, GOES_ON, Guards, IN_ORDER, LATE_COMMITS, ONCE, ONE_OWNER, PAGED_ZOMBIES, ZOMBIES, explore,
};

use crate::{fails, holds};

#[test]
fn every_committed_row_goes_out_once_and_in_order() {
    holds("relay", &explore(Guards::ALL, LATE_COMMITS));
    holds("… zombies", &explore(Guards::ALL, ZOMBIES));
    holds("… zombies in pages", &explore(Guards::ALL, PAGED_ZOMBIES));
    holds("… crashes", &explore(Guards::ALL, CRASHES));
}

#[test]
fn each_guard_is_needed() {
    let rows = [
        ("key_lock", IN_ORDER),
        ("open_in_a", protocols::explore::FINISHED),
        ("seq_order", IN_ORDER),
        ("step_first", ONCE),
        ("flush", COMMITTED),
        ("fence", ONE_OWNER),
        ("acknowledged", protocols::explore::FINISHED),
        ("whole_batch", protocols::explore::FINISHED),
        ("in_order", GOES_ON),
        ("first_alone", GOES_ON),
    ];
    fails("relay", Guards::NAMES, &rows, |guard| {
        let scene = match guard {
            "flush" => CRASHES,
            "key_lock" | "open_in_a" | "seq_order" | "whole_batch" => LATE_COMMITS,
            _ => ZOMBIES,
        };
        explore(Guards::without(guard), scene)
    });
}

#[test]
fn keys_are_where_the_worlds_say() {
    let partition = |key: &str| farandole::partitioner::partition(key.as_bytes(), 2);
    assert_eq!([partition("a"), partition("b")], [partition("c"); 2]);
    assert_ne!(partition("a"), partition("d"));
}
