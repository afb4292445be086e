//! Restarts: an orderly stop, `kill -9` of the real process, and a log torn in its last line.

use std::fs::OpenOptions;
use std::io::Write;

use serde_json::json;

use crate::kit::{Process, order, start};

#[tokio::test]
async fn a_killed_process_forgets_nothing_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered: Vec<(String, String)> = Vec::new();
    for round in 0..3 {
        let (process, caller) = Process::start(dir.path()).await;
        for (key, id) in &answered {
            let again = caller.authorise(key, order(key)).await;
            assert_eq!((again.status, again.replayed, &again.id()), (201, true, id), "{key}");
        }
        for number in 0..20 {
            let key = format!("o-{round}-{number}");
            let answer = caller.authorise(&key, order(&key)).await;
            answered.push((key, answer.id()));
        }
        let (_, captured) = answered.last().unwrap();
        let capture = format!("/authorisations/{captured}/capture");
        assert_eq!(caller.post(&capture, captured, json!({ "amount": 600 })).await.status, 200);
        drop(process);
    }
    let (_process, caller) = Process::start(dir.path()).await;
    let totals = caller.get("/totals").await.body;
    assert_eq!((&totals["authorisations"], &totals["duplicates"]), (&json!(60), &json!(0)));
    assert_eq!(totals["by_status"]["captured"]["count"], 3);
    assert_eq!(totals["by_status"]["captured"]["sums"]["EUR"]["captured"], 1_800);
}

#[tokio::test]
async fn a_torn_last_line_is_as_if_never_asked() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let first = running.caller.authorise("k-1", order("o-1")).await;
    running.stop().await;
    let mut log = OpenOptions::new().append(true).open(dir.path().join("acquirer.log")).unwrap();
    log.write_all(br#"{"authorisation":{"id":"0198"#).unwrap();
    drop(log);

    // Twice: the first start must leave a log that the second can read.
    for _ in 0..2 {
        let running = start(dir.path()).await;
        let again = running.caller.authorise("k-1", order("o-1")).await;
        assert_eq!((again.replayed, &again.body), (true, &first.body));
        assert_eq!(running.caller.get("/totals").await.body["authorisations"], 1);
        running.stop().await;
    }
}
