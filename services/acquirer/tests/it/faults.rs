//! Faults that are switched on while the acquirer runs, and what a retry makes of them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::kit::{order, start};

#[tokio::test]
async fn a_failure_before_the_deed_does_nothing_and_one_after_it_is_retried_to_exactly_one() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let caller = &running.caller;
    for (name, fault, status, done) in [
        ("fail", json!({ "fail_rate": 1 }), 500, 0),
        ("fail-after", json!({ "fail_after_rate": 1.0 }), 500, 1),
        ("hang", json!({ "timeout_rate": 1.0, "hang_ms": 20 }), 504, 1),
        ("refuse", json!({ "refuse": true }), 503, 0),
    ] {
        caller.faults(fault).await;
        for _ in 0..3 {
            assert_eq!(caller.authorise(name, order(name)).await.status, status, "{name}");
        }
        caller.faults(json!({})).await;
        assert_eq!(caller.count(name).await, done, "{name}");
        let retry = caller.authorise(name, order(name)).await;
        assert_eq!((retry.status, retry.replayed), (201, done == 1), "{name}");
        assert_eq!(caller.count(name).await, 1, "{name}");
    }
    running.stop().await;
}

#[tokio::test]
async fn retries_through_random_failures_give_exactly_one_each() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let caller = &running.caller;
    caller.faults(json!({ "fail_rate": 0.3, "fail_after_rate": 0.3, "seed": 7 })).await;
    for number in 0..50 {
        let name = format!("o-{number}");
        let mut tries = 0;
        while caller.authorise(&name, order(&name)).await.status != 201 {
            tries += 1;
            assert!(tries < 100, "{name} never succeeds");
        }
    }
    let totals = caller.get("/totals").await.body;
    assert_eq!((&totals["authorisations"], &totals["duplicates"]), (&json!(50), &json!(0)));
    running.stop().await;
}

#[tokio::test]
async fn every_card_is_declined_while_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    running.caller.faults(json!({ "decline_all": true })).await;
    let declined = running.caller.authorise("a", order("o-1")).await;
    assert_eq!((declined.status, &declined.body["reason"]), (402, &json!("do_not_honour")));
    running.caller.faults(json!({})).await;
    assert_eq!(running.caller.authorise("b", order("o-1")).await.status, 201);
    running.stop().await;
}

#[tokio::test]
async fn latency_delays_commands_and_look_ups_but_not_the_operator() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    running.caller.faults(json!({ "latency_ms": 300 })).await;
    for (path, slow) in
        [("/authorisations?merchant_reference=a", true), ("/totals", false), ("/ledger", false), ("/healthz", false)]
    {
        let start = Instant::now();
        assert_eq!(running.caller.get(path).await.status, 200);
        assert_eq!(start.elapsed() >= Duration::from_millis(300), slow, "{path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_hanging_answers() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    running.caller.faults(json!({ "timeout_rate": 1, "hang_ms": 600_000 })).await;
    let caller = running.caller.clone();
    let hanging = tokio::spawn(async move { caller.authorise("k", order("o-1")).await.status });
    while running.caller.count("o-1").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let start = Instant::now();
    running.stop().await;
    assert!(start.elapsed() < Duration::from_secs(4));
    assert_eq!(hanging.await.unwrap(), 504);
}

/// Whatever is answered, what was done under a key is done once, and a caller who asks on finds out what.
#[tokio::test]
async fn absurd_answers_are_of_every_kind_and_change_no_book() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let base = running.caller.base.clone();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    running.caller.authorise("first", order("first")).await;
    running.caller.faults(json!({ "absurd_rate": 1, "seed": 3 })).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..120 {
        let request = client.post(format!("{base}/authorisations")).header("Idempotency-Key", "k").json(&order("o-1"));
        let answer = request.send().await.unwrap();
        let (status, after) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        let size = answer.bytes().await.map_or(-1, |body| i64::try_from(body.len()).unwrap());
        let size = match size {
            -1 => "broken",
            0 => "nothing",
            1..1_000 => "short",
            _ => "long",
        };
        seen.insert(format!("{status} {size}{}", if after { ", retry-after" } else { "" }));
    }
    let expected = [
        "200 nothing",
        "200 short",
        "201 broken",
        "201 long",
        "201 short",
        "303 nothing",
        "307 nothing",
        "400 short",
        "402 short",
        "403 short",
        "404 short",
        "408 short",
        "409 short",
        "429 short",
        "502 short",
        "503 short, retry-after",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    running.caller.faults(json!({})).await;
    assert_eq!(running.caller.authorise("k", order("o-1")).await.status, 201);
    assert_eq!(running.caller.count("o-1").await, 1);
    running.stop().await;
}
