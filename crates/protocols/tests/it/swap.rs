//! The swap of a rebuild.

use protocols::swap::{Guards, ONE_GENERATION, WHOLE, explore};

use crate::{fails, holds};

#[test]
fn no_committed_write_is_lost() {
    holds("swap", &explore(Guards::ALL));
}

#[test]
fn each_guard_is_needed() {
    let rows = [
        ("shared_gate", WHOLE),
        ("alone", WHOLE),
        ("drained", WHOLE),
        ("chain", WHOLE),
        ("complete", WHOLE),
        ("rows_with_marks", WHOLE),
        ("one_transaction", ONE_GENERATION),
        ("written_since", WHOLE),
    ];
    fails("swap", Guards::NAMES, &rows, |guard| explore(Guards::without(guard)));
}
