//! Heal.

use protocols::heal::{FOLD, Guards, ONCE, explore};

use crate::{fails, holds};

#[test]
fn the_state_is_the_fold_of_the_topic() {
    holds("heal", &explore(Guards::ALL));
}

#[test]
fn each_guard_is_needed() {
    let rows = [
        ("holds", ONCE),
        ("continuity", FOLD),
        ("causes", ONCE),
        ("ids", ONCE),
        ("mark", ONCE),
        ("one_transaction", ONCE),
        ("new_lineage", FOLD),
        ("settled", FOLD),
    ];
    fails("heal", Guards::NAMES, &rows, |guard| explore(Guards::without(guard)));
}
