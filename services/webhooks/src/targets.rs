//! Whom effects call, by name: each place among the live subscriptions is a target of its own, so a subscriber that is down has its own
//! breaker, and its own share of what is under way. The names are as many as the places: metrics and memory have a bound.

use std::sync::LazyLock;

/// Live subscriptions at most: each has a target of its own, and an order's event leads to as many messages.
pub const MOST: i32 = 100;

static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| (0..MOST).map(|slot| format!("subscriber-{slot:02}")).collect());

/// The target of who has this place.
pub fn name(slot: i32) -> &'static str {
    usize::try_from(slot).ok().and_then(|slot| NAMES.get(slot)).map_or("subscriber", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_a_target() {
        assert_eq!((name(0), name(3), name(MOST - 1)), ("subscriber-00", "subscriber-03", "subscriber-99"));
        assert_eq!((name(-1), name(MOST)), ("subscriber", "subscriber"));
    }
}
