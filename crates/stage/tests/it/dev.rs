//! `scripts/dev`, the developer's loop: the parts come up and stay, a test is run on them, and they go.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use crate::{eventually, folder, runs};

/// Another stage than this test's own, with the same jars.
fn dev(state: &Path, args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/dev");
    let mut command = Command::new(script);
    for name in ["STAGE_KAFKA", "STAGE_POSTGRES", "STAGE_REGISTRY"] {
        command.env_remove(name);
    }
    command.args(args).env("STAGE_DIR", state).output().unwrap()
}

/// What it printed, when it ended well.
fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    format!("{out}{err}")
}

/// Whatever fails, the parts don't stay.
struct Down<'s>(&'s Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        dev(self.0, &["down"]);
    }
}

#[test]
fn parts_stay_for_a_test_and_go_when_told() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path();
    let jars =
        fs::read_dir(folder()).into_iter().flatten().flatten().filter(|e| e.file_name().to_string_lossy().starts_with("jars-"));
    jars.for_each(|jars| symlink(jars.path(), state.join(jars.file_name())).unwrap());

    let early = dev(state, &["test", "-p", "stage", "--test", "it", "attached"]);
    assert_eq!(early.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&early.stderr).contains("scripts/dev up"), "{early:?}");

    let down = Down(state);
    let first = dev(state, &["up"]);
    said(&first);
    let addresses = String::from_utf8(first.stdout).unwrap();
    let names: Vec<&str> =
        addresses.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(names, ["STAGE_KAFKA", "STAGE_POSTGRES", "STAGE_REGISTRY"]);
    // Again: the same ones.
    assert_eq!(String::from_utf8(dev(state, &["up"]).stdout).unwrap(), addresses);

    let pid: u32 = fs::read_to_string(state.join("dev/stage.pid")).unwrap().split_once(' ').unwrap().0.parse().unwrap();
    assert!(said(&dev(state, &["status"])).contains(&format!("parts: up, process {pid}")));

    let tested = said(&dev(state, &["test", "-p", "stage", "--test", "it", "attached", "--", "--exact", "databases::attached"]));
    assert!(tested.contains("databases::attached ... ok"), "{tested}");
    let took = tested.lines().find_map(|line| line.strip_prefix("dev: ran for ")?.strip_suffix(" ms")?.parse::<u64>().ok());
    assert!(took.is_some_and(|ms| ms < 20_000), "{tested}");

    drop(down);
    eventually("the parts are gone", || !runs(pid));
    assert!(said(&dev(state, &["status"])).contains("parts: down"));
    assert!(!fs::read_dir(state).unwrap().flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("run-")));
}

#[test]
fn wrong_usage_is_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let help = said(&dev(home.path(), &["--help"]));
    assert!(help.contains("Examples:") && help.contains("scripts/dev test -p"), "{help}");
    for args in [&[][..], &["rnu"], &["run"], &["run", "nobody"]] {
        assert_eq!(dev(home.path(), args).status.code(), Some(2), "{args:?}");
    }
}
