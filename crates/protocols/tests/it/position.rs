//! The position as a step log.

use protocols::position::{Guards, ONCE, WHOLE, explore};

use crate::{fails, holds};

#[test]
fn of_two_workers_one_takes_the_step() {
    holds("position", &explore(Guards::ALL));
}

#[test]
fn each_guard_is_needed() {
    let rows = [
        ("primary_key", ONCE),
        ("comparison", ONCE),
        ("newest_stays", WHOLE),
        ("trim_waits", ONCE),
        ("one_transaction", WHOLE),
        ("refused_rolls_back", ONCE),
        ("same_step", ONCE),
        ("still", WHOLE),
    ];
    fails("position", Guards::NAMES, &rows, |guard| explore(Guards::without(guard)));
}
