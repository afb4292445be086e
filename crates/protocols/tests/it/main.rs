//! Each model explored whole, and with each of its guards taken out.

mod chain;
mod heal;
mod lines;
mod parking;
mod position;
mod relay;
mod swap;

use std::collections::BTreeSet;

use protocols::explore::Found;

/// With all guards: every state is reached, nothing is violated, all happens that should, and the world is small.
fn holds(protocol: &str, found: &Found, most: usize) {
    println!("{protocol}: {}", found.line());
    assert!(found.violations.is_empty(), "{:#?}", found.violations);
    assert!(found.exhausted, "not exhausted");
    assert_eq!(found.missing, [""; 0], "never happened");
    // A bound on states is one on time that no slow machine breaks.
    assert!(found.states <= most, "{} states, more than {most}", found.states);
}

/// Without each guard the named invariant is violated; each guard has its row.
fn fails(protocol: &str, guards: &[&str], rows: &[(&str, &str)], explore: impl Fn(&str) -> Found) {
    let named: BTreeSet<&str> = rows.iter().map(|(guard, _)| *guard).collect();
    assert_eq!(named, guards.iter().copied().collect(), "guards without a row, or rows without a guard");
    for (guard, invariant) in rows {
        let found = explore(guard);
        println!("{protocol} without {guard}: {}", found.line());
        let shortest = found.violations.first().unwrap_or_else(|| panic!("{guard} guards nothing"));
        println!("  {}", shortest.story.join(", "));
        assert!(found.violated().contains(invariant), "without {guard}: {:?}", found.violated());
    }
}
