//! Faults that are switched on while the acquirer runs, and what a retry makes of them.

use std::time::{Duration, Instant};

use acquirer::faults::{Faults, Switchboard};
use reqwest::Method;
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

/// The numbers that decide: evenly spread, so that rates are met and their ends are exact; the same for a seed whatever the faults are.
#[test]
fn a_seed_repeats_itself_and_rates_are_met() {
    let draws = |faults: Faults| {
        let switchboard = Switchboard::new(faults);
        (0..10_000).map(|_| switchboard.draw().1).collect::<Vec<_>>()
    };
    for seed in [0, 7] {
        let numbers = draws(Faults { seed, ..Faults::default() });
        assert_eq!(numbers, draws(Faults { seed, fail_rate: 0.5, jitter_ms: 7, refuse: true, ..Faults::default() }));
        assert_ne!(numbers, draws(Faults { seed: seed + 1, ..Faults::default() }));
        // Four standard deviations to either side.
        for (rate, low, high) in [(0.0, 0, 0), (0.1, 880, 1_120), (0.5, 4_800, 5_200), (1.0, 10_000, 10_000)] {
            for which in 0..7 {
                let hits = numbers.iter().filter(|numbers| numbers[which] < rate).count();
                assert!((low..=high).contains(&hits), "{which}, {rate}: {hits}");
            }
        }
    }
}

/// Each kind comes up with the command done and not done; who is told to come again has nothing done.
#[tokio::test]
async fn an_absurd_answer_does_not_say_whether_the_command_was_done() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    running.caller.faults(json!({ "absurd_rate": 1 })).await;
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..400 {
        let reference = format!("o-{number}");
        let request = client.post(format!("{}/authorisations", running.caller.base)).header("Idempotency-Key", &reference);
        // The bodies stay unread: they may be long.
        let status = request.json(&order(&reference)).send().await.unwrap().status().as_u16();
        seen.insert((status, running.caller.count(&reference).await));
    }
    let statuses = [200, 201, 303, 307, 400, 402, 403, 404, 408, 409, 429, 502];
    let mut expected: std::collections::BTreeSet<_> =
        statuses.into_iter().flat_map(|status| [(status, 0), (status, 1)]).collect();
    expected.insert((503, 0));
    assert_eq!(seen, expected);
    running.stop().await;
}

#[tokio::test]
async fn what_is_left_out_has_its_default() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let caller = &running.caller;
    let mut none = json!({ "latency_ms": 0, "jitter_ms": 0, "fail_rate": 0.0, "fail_after_rate": 0.0, "timeout_rate": 0.0,
        "hang_ms": 30_000, "absurd_rate": 0.0, "decline_all": false, "refuse": false, "seed": 0 });
    assert_eq!(caller.get("/faults").await.body, none);
    caller.faults(json!({ "refuse": true, "jitter_ms": 9 })).await;
    none["refuse"] = json!(true);
    none["jitter_ms"] = json!(9);
    assert_eq!(caller.get("/faults").await.body, none);
    for body in ["", "[]", r#"{"seed":1,"seed":1}"#, r#"{"seed":-1}"#, r#"{"hang_ms":0}"#, r#"{"latency_ms":60001}"#] {
        assert_eq!(caller.send(Method::PUT, "/faults", "", body).await.status, 400, "{body}");
    }
    assert_eq!(caller.get("/faults").await.body, none);
    running.stop().await;
}
