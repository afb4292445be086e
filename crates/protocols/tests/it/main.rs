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

/// States of a small world: a bound on them is one on time that no slow machine breaks.
const MOST: usize = 500_000;

/// With all guards: every state is reached, nothing is violated, all happens that should, and there are as many states as the table in
/// `ARCHITECTURE.md` says.
fn holds(world: &str, found: &Found) {
    println!("{world}: {}", found.line());
    assert!(found.violations.is_empty(), "{:#?}", found.violations);
    assert!(found.exhausted, "not exhausted");
    assert_eq!(found.missing, [""; 0], "never happened");
    assert!(found.states <= MOST, "{} states, more than {MOST}", found.states);
    let row = row(world);
    assert_eq!(row[3].replace(',', ""), found.states.to_string(), "{world}: correct the table if it is right so");
    assert_eq!(row[4], found.depth.to_string(), "{world}: correct the table if it is right so");
}

/// The row of a world in `ARCHITECTURE.md`: world, file, guards, states, steps.
fn row(world: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let table =
        text.split("<!-- protocols -->").nth(1).unwrap_or_else(|| panic!("ARCHITECTURE.md has no table between two marks"));
    let rows = table.lines().map(|line| line.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    rows.into_iter().find(|row| row.first().is_some_and(|name| name == world)).unwrap_or_else(|| panic!("{world} has no row"))
}

/// Without each guard the named invariant is violated; each guard has its row.
fn fails(protocol: &str, guards: &[&str], rows: &[(&str, &str)], explore: impl Fn(&str) -> Found) {
    assert_eq!(row(protocol)[2], guards.len().to_string(), "{protocol}: correct the table if it is right so");
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
