//! The shop, broken on purpose for about a minute, and what the runner leaves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

mod command;
mod drills;
mod shop;

/// Three brokers at a time are enough for one machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Whether a process runs; one that has ended and was not waited for does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
