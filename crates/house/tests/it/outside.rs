//! `examples/outside`, which is no member of the workspace, has the same libraries: else CI builds them a second time.

use std::collections::BTreeSet;
use std::process::Command;

use crate::workspace;

const HINT: &str = "copy Cargo.lock to examples/outside and run `cargo metadata` there, which takes out of it what isn't needed";

/// The libraries of a lock file: name, version and checksum.
fn locked(file: &str) -> BTreeSet<String> {
    let lock: toml::Table = std::fs::read_to_string(workspace().join(file)).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter().filter(|package| package.get("source").is_some());
    packages.map(|package| format!("{} {} {}", package["name"], package["version"], package["checksum"])).collect()
}

/// Packages of the workspace are in it as well, under their names and with what they depend on.
#[test]
fn what_is_outside_is_locked() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--format-version", "1"]).current_dir(workspace().join("examples/outside"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{HINT}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_outside_locks_the_same_versions() {
    let (outside, workspace) = (locked("examples/outside/Cargo.lock"), locked("Cargo.lock"));
    assert!(outside.len() > 200, "{} packages aren't all", outside.len());
    let other: Vec<&String> = outside.difference(&workspace).collect();
    assert!(other.is_empty(), "{HINT}; these differ: {other:?}");
}
