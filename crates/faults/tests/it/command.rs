//! The command line.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::runs;

/// How long anything may take; it only bounds failures.
const PATIENCE: Duration = Duration::from_secs(120);

fn faults(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_faults")).args(args).output().unwrap()
}

#[test]
fn a_seed_gives_the_same_plan_each_time() {
    let plan = |seed| String::from_utf8(faults(&["--plan", "--minutes", "3", "--seed", seed]).stdout).unwrap();
    assert_eq!(plan("42"), plan("42"));
    assert_ne!(plan("42"), plan("43"));
    assert!(plan("42").starts_with("seed 42\n"), "{}", plan("42"));
}

/// `faults --plan | head`. Guard: the hook. Without, it panics, with exit code 101.
#[test]
fn a_plan_whose_reader_went_away_ends_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faults"));
    let mut child = command.args(["--plan", "--minutes", "60"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    // That there is no mail catcher is said.
    let said = String::from_utf8(ended.stderr).unwrap();
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("faults: there is no mail catcher")).collect();
    assert_eq!((ended.status.code(), said), (Some(141), vec![]));
}

#[test]
fn a_length_without_sense_is_refused() {
    for minutes in ["0", "-1", "NaN", "1e9", "soon"] {
        let output = faults(&[&format!("--minutes={minutes}")]);
        assert_eq!(output.status.code(), Some(2), "{minutes}");
    }
}

#[test]
fn drills_say_what_they_would_do() {
    let plan = |args: &[&str]| String::from_utf8(faults(&[&["--rebuild", "--plan"], args].concat()).stdout).unwrap();
    let (long, short) = (plan(&[]), plan(&["--short"]));
    let services = faults::services().unwrap().len();
    let ends = |plan: &str, drills| plan.ends_with(&format!("{drills} drills\n"));
    assert!(long.contains("kill             20 time(s)") && ends(&long, 3 * services + 3), "{long}");
    assert!(short.contains("lost, undrained  shipping") && ends(&short, services + 5), "{short}");
    for wrong in [&["--short"][..], &["--orders", "x.csv"], &["--rebuild", "--minutes", "1"]] {
        assert_eq!(faults(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// Ctrl-C in the middle of it all stops everything, and says so by its exit code.
#[test]
fn an_interrupted_run_leaves_nothing() {
    let _alone = crate::ONE_AT_A_TIME.blocking_lock();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let command = stage::process::Command::new("faults", env!("CARGO_BIN_EXE_faults")).args(["--minutes", "5", "--seed", "1"]);
    let child = command.log(&log).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&log).unwrap_or_default().contains("the shop is ready") {
        assert!(child.is_running() && Instant::now() < until, "{}", std::fs::read_to_string(&log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(50));
    }
    let started = descendants(child.pid());
    assert!(started.len() >= 11, "{started:?}");
    child.hand_on(2);
    let status = child.wait(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(130), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    let until = Instant::now() + PATIENCE;
    while started.iter().any(|pid| runs(*pid)) {
        assert!(Instant::now() < until, "processes are left");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All processes below `pid` in the process table.
fn descendants(pid: u32) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let list = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<(u32, u32)> = list.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}
