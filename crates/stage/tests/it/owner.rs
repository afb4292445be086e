//! The stage as a program: what becomes of the parts when their owner ends in one way or another.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::parts::run_of;
use crate::{children, eventually, folder, runs};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stage"));
    command.args(args).env("STAGE_DIR", folder()).stdin(Stdio::null());
    command
}

/// `stage up …`, when it is up.
fn up(args: &[&str]) -> Child {
    let mut child = command(&["up"]).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let last = lines.map_while(Result::ok).find(|line| line.starts_with("export STAGE_REGISTRY="));
    assert!(last.is_some(), "the stage did not come up");
    child
}

/// The parts of a stage and their children; the janitor is in the second.
fn processes(stage: &Child) -> (Vec<u32>, Option<u32>) {
    let direct = children(stage.id());
    let line = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let (janitor, parts): (Vec<u32>, Vec<u32>) = direct.into_iter().partition(|pid| line(pid).contains("stage-janitor"));
    let below: Vec<u32> = parts.iter().flat_map(|pid| children(*pid)).collect();
    (parts.into_iter().chain(below).collect(), janitor.first().copied())
}

#[test]
fn nothing_outlives_a_killed_owner() {
    let mut stage = up(&["--no-registry"]);
    let (parts, janitor) = processes(&stage);
    let run = run_of(parts[0]);
    assert!(parts.len() > 5 && janitor.is_some(), "{parts:?} {janitor:?}");
    stage.kill().unwrap();
    stage.wait().unwrap();
    eventually("the parts are gone", || !parts.iter().chain(&janitor).any(|pid| runs(*pid)));
    eventually("the folder is gone", || !run.exists());
}

#[test]
fn the_next_start_sweeps_what_a_killed_janitor_left() {
    let mut stage = up(&["--brokers", "0", "--no-registry"]);
    let (parts, janitor) = processes(&stage);
    let run = run_of(parts[0]);
    kill("KILL", janitor.unwrap());
    stage.kill().unwrap();
    stage.wait().unwrap();
    // Without a janitor it is the kernel that ends them.
    eventually("the parts are gone", || !parts.iter().any(|pid| runs(*pid)));
    assert!(run.is_dir());
    stop(up(&["--brokers", "0", "--no-registry"]));
    assert!(!run.exists());
}

#[test]
fn a_sweep_kills_only_what_is_the_runs_own() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run-1");
    fs::create_dir(&run).unwrap();
    let sleeper = |argument: &str| Command::new("sh").args(["-c", "sleep 100; :", argument]).spawn().unwrap();
    // Its own; one with a number that was given to somebody else; one that doesn't name the folder.
    let mark = run.to_str().unwrap();
    let mut all = [sleeper(mark), sleeper(mark), sleeper("another")];
    let started = |pid: u32| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
    };
    let [own, other_start, other_line] = [all[0].id(), all[1].id(), all[2].id()];
    let list = format!(
        "{own} {} kafka-1\n{other_start} {} kafka-2\n{other_line} {} registry\n",
        started(own),
        started(other_start) + 1,
        started(other_line)
    );
    fs::write(run.join("processes"), list).unwrap();
    let swept = stage::clean(dir.path()).unwrap();
    let state = [own, other_start, other_line].map(runs);
    for child in &mut all {
        let below = children(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        below.into_iter().for_each(|pid| kill("KILL", pid));
    }
    assert_eq!(state, [false, true, true]);
    assert_eq!((swept.runs, swept.processes), (1, 1));
    assert!(!run.exists());
}

#[test]
fn a_failed_start_shows_the_log_and_leaves_nothing() {
    let stage =
        command(&["up"]).env("JAVA_TOOL_OPTIONS", "-XX:NoSuchOption").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let stage = stage.unwrap();
    let run = folder().join(format!("run-{}", stage.id()));
    let output = stage.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("NoSuchOption") && words.contains(".log"), "{words}");
    assert!(!run.exists());
}

#[test]
fn a_run_has_the_commands_exit_code_and_hands_signals_on() {
    let parts = ["run", "--brokers", "0", "--no-registry", "--"];
    let script = r#"trap "echo asked; exit 7" TERM; test -n "$STAGE_POSTGRES" && echo up; while :; do sleep 0.1; done"#;
    let mut stage = command(&parts).args(["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(stage.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    kill("TERM", stage.id());
    out.read_to_string(&mut line).unwrap();
    assert_eq!((line.as_str(), stage.wait().unwrap().code()), ("up\nasked\n", Some(7)));
}

fn stop(mut stage: Child) {
    kill("TERM", stage.id());
    assert!(stage.wait().unwrap().success());
}

fn kill(signal: &str, pid: u32) {
    Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
}
