//! The helper for child processes, which demo and fault tests use for services.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use stage::process::Child;

use crate::{children, eventually, runs};

fn shell(script: &str, folder: &tempfile::TempDir) -> Child {
    let env = [("GREETING".to_owned(), "hello".to_owned())];
    Child::spawn("shell", "sh", &["-c", script], &env, folder.path().join("log")).unwrap()
}

fn log_of(child: &Child) -> String {
    std::fs::read_to_string(child.log().unwrap()).unwrap()
}

#[test]
fn stop_asks_first() {
    let folder = tempfile::tempdir().unwrap();
    let child = shell(r#"trap "echo bye; exit 3" TERM; echo $GREETING; while :; do sleep 0.05; done"#, &folder);
    eventually("it runs", || log_of(&child) == "hello\n");
    assert!(child.is_running() && child.rss_kb() > 0);
    assert_eq!(child.stop(Duration::from_secs(10)).code(), Some(3));
    assert_eq!(log_of(&child), "hello\nbye\n");
    assert!(!child.is_running());
}

#[test]
fn stop_kills_who_does_not_listen() {
    let folder = tempfile::tempdir().unwrap();
    let child = shell(r#"trap "" TERM; echo up; while :; do sleep 0.05; done"#, &folder);
    eventually("it runs", || log_of(&child) == "up\n");
    assert_eq!(child.stop(Duration::from_millis(200)).signal(), Some(9));
}

#[test]
fn kill_takes_the_children_too_paused_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let child = shell("sleep 100 & sleep 100 & wait", &folder);
    eventually("it has children", || children(child.pid()).len() == 2);
    let all: Vec<u32> = children(child.pid());
    child.pause();
    assert!(child.is_running());
    assert_eq!(child.kill().signal(), Some(9));
    eventually("its children are gone", || !all.iter().any(|pid| runs(*pid)));
}

#[test]
fn a_program_that_is_not_there_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let error = Child::spawn("nobody", "/no/such/program", &[], &[], folder.path().join("log")).unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

/// Guard: the wait for the children. Without, a killed PostgreSQL can't be started again for a moment: backends still have its memory.
#[test]
fn what_is_killed_is_gone_children_too() {
    let folder = tempfile::tempdir().unwrap();
    // Much memory takes the kernel a while to take back.
    let child =
        shell(r#"python3 -c 'b = bytearray(700 << 20); print("up", flush=True); import time; time.sleep(1000)' & wait"#, &folder);
    eventually("it has its memory", || log_of(&child) == "up\n");
    let below = children(child.pid());
    assert!(!below.is_empty());
    child.kill();
    assert_eq!(below.into_iter().filter(|pid| runs(*pid)).collect::<Vec<_>>(), [0; 0]);
}
