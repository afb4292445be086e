//! Heal.

use protocols::heal::{CRASHES, FOLD, Guards, ONCE, TWICE, explore};

use crate::{fails, holds};

#[test]
fn the_state_is_the_fold_of_the_topic() {
    holds("heal", &explore(Guards::ALL, CRASHES));
    holds("… set back twice", &explore(Guards::ALL, TWICE));
}

/// `settled` stands for no guard of the kit: it is assumed.
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
        ("fresh_lineage", FOLD),
        ("settled", FOLD),
    ];
    fails("heal", Guards::NAMES, &rows, |guard| {
        explore(Guards::without(guard), if guard == "fresh_lineage" { TWICE } else { CRASHES })
    });
}
