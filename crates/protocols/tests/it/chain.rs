//! The chain rule in one partition.

use protocols::chain::{BEHIND, Guards, ONCE, TOLD, WHOLE, explore};
use protocols::explore::FINISHED;

use crate::{fails, holds};

#[test]
fn a_consumer_never_applies_twice_and_never_skips() {
    holds("chain", &explore(Guards::ALL));
}

#[test]
fn each_guard_is_needed() {
    let rows = [
        ("repeated", WHOLE),
        ("older_lineage", WHOLE),
        ("missing_link", TOLD),
        ("beginning", TOLD),
        ("fork", BEHIND),
        ("ends_batch", BEHIND),
        ("by_source", protocols::chain::FOR_CAUSE),
        ("one_transaction", ONCE),
        ("read_on", FINISHED),
    ];
    fails("chain", Guards::NAMES, &rows, |guard| explore(Guards::without(guard)));
}
