//! Restarts: an orderly stop, and `kill -9` of the real process.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::{Process, order, start};

#[tokio::test]
async fn a_killed_process_forgets_nothing_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered: Vec<(String, String)> = Vec::new();
    for round in 0..3 {
        let (process, caller) = Process::start(dir.path()).await;
        for (key, id) in &answered {
            let again = caller.authorise(key, order(key)).await;
            assert_eq!((again.status, again.replayed, &again.text("id")), (201, true, id), "{key}");
        }
        for number in 0..20 {
            let key = format!("o-{round}-{number}");
            let answer = caller.authorise(&key, order(&key)).await;
            answered.push((key, answer.text("id")));
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

/// Guard: nobody is answered before the commit. Without, what was told in the last moment is gone.
#[tokio::test]
async fn a_process_killed_in_the_middle_of_work_forgets_nothing_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered: Vec<(String, String)> = Vec::new();
    for round in 0..4 {
        let (process, caller) = Process::start(dir.path()).await;
        let tasks: Vec<_> = (0..16)
            .map(|me| {
                let (url, client) = (format!("{}/authorisations", caller.base), reqwest::Client::new());
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    for number in 0.. {
                        let key = format!("o-{round}-{me}-{number}");
                        let request = client.post(&url).header("Idempotency-Key", &key).json(&order(&key));
                        let Ok(answer) = request.send().await else { break };
                        let Ok(body) = answer.json::<Value>().await else { break };
                        seen.push((key, body["id"].as_str().unwrap().to_owned()));
                    }
                    seen
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(process);
        for task in tasks {
            answered.extend(task.await.unwrap());
        }
    }
    assert!(answered.len() > 20, "{}", answered.len());
    // Twice: the first start repairs, and leaves what the second can open.
    for _ in 0..2 {
        let (_process, caller) = Process::start(dir.path()).await;
        for (key, id) in &answered {
            let again = caller.authorise(key, order(key)).await;
            assert_eq!((again.status, again.replayed, &again.text("id")), (201, true, id), "{key}");
        }
        let totals = caller.get("/totals").await.body;
        // Each caller may have had one more under way.
        let most = u64::try_from(answered.len()).unwrap() + 4 * 16;
        assert!((answered.len() as u64..=most).contains(&totals["authorisations"].as_u64().unwrap()), "{totals}");
        assert_eq!(totals["duplicates"], 0);
    }
}

#[tokio::test]
async fn an_orderly_stop_and_a_start_leave_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let first = running.caller.authorise("k-1", order("o-1")).await;
    let (ledger, totals) = (running.caller.get("/ledger").await.body, running.caller.get("/totals").await.body);
    running.stop().await;
    for _ in 0..2 {
        let running = start(dir.path()).await;
        let again = running.caller.authorise("k-1", order("o-1")).await;
        assert_eq!((again.replayed, &again.body), (true, &first.body));
        assert_eq!((&running.caller.get("/ledger").await.body, &running.caller.get("/totals").await.body), (&ledger, &totals));
        running.stop().await;
    }
}
