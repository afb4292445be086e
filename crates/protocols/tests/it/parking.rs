//! Park and release.

use protocols::parking::{Guards, HEADS, IN_ORDER, ONCE, explore};

use crate::{fails, holds};

#[test]
fn order_is_kept_and_nothing_is_dropped() {
    holds("parking", &explore(Guards::ALL));
}

#[test]
fn each_guard_is_needed() {
    let rows = [
        ("diverts", IN_ORDER),
        ("second_name", IN_ORDER),
        ("asks_under_lock", IN_ORDER),
        ("name_locks", HEADS),
        ("marks_heads", HEADS),
        ("in_order", IN_ORDER),
        ("still_there", ONCE),
        ("one_transaction", ONCE),
    ];
    fails("parking", Guards::NAMES, &rows, |guard| explore(Guards::without(guard)));
}
