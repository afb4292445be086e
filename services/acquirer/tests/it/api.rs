//! The interface: what is answered to whom.

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::{order, start, start_with, with_token};

#[tokio::test]
async fn a_key_gives_its_answer_again_and_takes_no_other_request() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let caller = &running.caller;
    let first = caller.authorise("k-1", order("o-1")).await;
    assert_eq!((first.status, first.replayed), (201, false));
    for (field, expected) in [
        ("merchant_reference", json!("o-1")),
        ("status", json!("authorised")),
        ("amount", json!(1_000)),
        ("currency", json!("EUR")),
        ("captured", json!(0)),
        ("refunded", json!(0)),
    ] {
        assert_eq!(first.body[field], expected, "{field}");
    }
    let capture = format!("/authorisations/{}/capture", first.text("id"));
    assert_eq!(caller.post(&capture, "k-2", json!({ "amount": 600 })).await.body["captured"], 600);

    // The answer of then, though the authorisation is captured now; the order of the fields is no other request.
    let again = r#"{"card_token":"tok_visa","currency":"EUR","amount":1000,"merchant_reference":"o-1"}"#;
    let again = caller.send(Method::POST, "/authorisations", "k-1", again).await;
    assert_eq!((again.status, again.replayed, &again.body), (201, true, &first.body));
    let again = caller.post(&capture, "k-2", json!({ "amount": 600 })).await;
    assert_eq!((again.status, again.replayed), (200, true));

    for (path, body) in [
        ("/authorisations", order("o-2")),
        (capture.as_str(), json!({ "amount": 600 })),
        ("/authorisations", with_token("o-1", "tok_other")),
    ] {
        let other = caller.post(path, "k-1", body).await;
        assert_eq!(other.code(), (422, "idempotency_key_reused"), "{path}");
    }
    assert_eq!(caller.get("/totals").await.body["authorisations"], 1);
    running.stop().await;
}

#[tokio::test]
async fn one_of_many_at_once_with_the_same_key_executes() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let caller = running.caller.clone();
            tokio::spawn(async move { caller.authorise("k", order("o-1")).await })
        })
        .collect();
    let mut fresh = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        assert_eq!(answer.status, 201);
        fresh += usize::from(!answer.replayed);
    }
    assert_eq!((fresh, running.caller.count("o-1").await), (1, 1));
    running.stop().await;
}

#[tokio::test]
async fn after_its_retention_a_key_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let running = start_with(dir.path(), SignedDuration::from_millis(50)).await;
    running.caller.authorise("k", order("o-1")).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let again = running.caller.authorise("k", order("o-1")).await;
    assert_eq!((again.status, again.replayed), (201, false));
    assert_eq!(running.caller.get("/totals").await.body["duplicates"], 1);
    running.stop().await;
}

#[tokio::test]
async fn cards_are_declined_and_the_record_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let caller = &running.caller;
    for (token, reason) in [
        ("tok_decline", "insufficient_funds"),
        ("tok_lost", "lost_card"),
        ("tok_expired", "expired_card"),
        ("tok_limit_999", "limit_exceeded"),
    ] {
        for replayed in [false, true] {
            let answer = caller.authorise(token, with_token(token, token)).await;
            assert_eq!((answer.code(), answer.replayed), ((402, "card_declined"), replayed));
            assert_eq!(answer.body["reason"], reason);
            assert_eq!(answer.header("content-type"), "application/problem+json");
            let id = answer.body["authorisation"]["id"].as_str().unwrap();
            let kept = caller.get(&format!("/authorisations/{id}")).await;
            assert_eq!((kept.status, &kept.body["status"], &kept.body["reason"]), (200, &json!("declined"), &json!(reason)));
            let capture = caller.post(&format!("/authorisations/{id}/capture"), "c", json!({ "amount": 1 })).await;
            assert_eq!(capture.code(), (409, "declined"));
        }
    }
    assert_eq!(caller.authorise("k", with_token("o", "tok_limit_1000")).await.status, 201);
    running.stop().await;
}

#[tokio::test]
async fn capture_void_and_refund_keep_to_their_states() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let caller = &running.caller;
    let voided = caller.authorise("v", order("o-v")).await.text("id");
    let captured = caller.authorise("c", order("o-c")).await.text("id");
    let amount = |amount: u64| json!({ "amount": amount });
    let table: [(&str, &str, Value, u16, &str); 13] = [
        (&voided, "refund", amount(1), 409, "not_captured"),
        (&voided, "void", json!({}), 200, "voided"),
        (&voided, "void", json!({}), 200, "voided"),
        (&voided, "capture", amount(1), 409, "voided"),
        (&captured, "capture", amount(1_001), 409, "capture_exceeds_authorised"),
        (&captured, "capture", amount(600), 200, "captured"),
        (&captured, "capture", amount(400), 409, "captured"),
        (&captured, "void", json!({}), 409, "captured"),
        (&captured, "refund", amount(601), 409, "refund_exceeds_captured"),
        (&captured, "refund", amount(200), 200, "captured"),
        (&captured, "refund", amount(401), 409, "refund_exceeds_captured"),
        (&captured, "refund", amount(400), 200, "refunded"),
        (&captured, "refund", amount(1), 409, "refund_exceeds_captured"),
    ];
    for (row, (id, verb, body, status, word)) in table.into_iter().enumerate() {
        let answer = caller.post(&format!("/authorisations/{id}/{verb}"), &format!("row-{row}"), body).await;
        let field = if status == 200 { "status" } else { "code" };
        assert_eq!((answer.status, answer.body[field].as_str()), (status, Some(word)), "row {row}");
    }
    let empty = caller.send(Method::POST, &format!("/authorisations/{voided}/void"), "no body", "").await;
    assert_eq!(empty.status, 200);
    running.stop().await;
}

#[tokio::test]
async fn look_up_and_ledger_find_everything_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let caller = &running.caller;
    let mut ids = Vec::new();
    for (key, reference) in [("a", "o-1"), ("b", "o-2"), ("c", "o-1"), ("d", "o 3"), ("e", "o-4")] {
        ids.push(caller.authorise(key, order(reference)).await.text("id"));
    }
    let ids_of = |body: &Value| -> Vec<String> {
        let list = body["authorisations"].as_array().unwrap();
        list.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
    };
    for (reference, expected) in [("o-1", vec![0, 2]), ("o-2", vec![1]), ("o%203", vec![3]), ("none", vec![])] {
        let found = caller.get(&format!("/authorisations?merchant_reference={reference}")).await;
        let expected: Vec<_> = expected.into_iter().map(|at: usize| ids[at].clone()).collect();
        assert_eq!((found.status, ids_of(&found.body)), (200, expected), "{reference}");
    }
    let (mut path, mut seen) = ("/ledger?limit=2".to_owned(), Vec::new());
    loop {
        let page = caller.get(&path).await;
        seen.extend(ids_of(&page.body));
        let Some(next) = page.body["next"].as_str() else { break };
        path = format!("/ledger?limit=2&after={next}");
    }
    assert_eq!(seen, ids);
    assert_eq!(caller.get("/totals").await.body["duplicates"], 1);
    running.stop().await;
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let id = running.caller.authorise("k", order("o")).await.text("id");
    let capture = format!("/authorisations/{id}/capture");
    let big = format!(r#"{{"card_token":"{}"}}"#, "x".repeat(17 << 10));
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    type Row<'a> = (&'a Method, &'a str, &'a str, &'a str, u16, &'a [&'a str]);
    let table: Vec<Row<'_>> = vec![
        (&post, "/authorisations", "", "{}", 400, &["Idempotency-Key", "amount", "card_token", "currency", "merchant_reference"]),
        (
            &post,
            "/authorisations",
            "k\u{e9}",
            "{}",
            400,
            &["Idempotency-Key", "amount", "card_token", "currency", "merchant_reference"],
        ),
        (
            &post,
            "/authorisations",
            "x",
            r#"{"merchant_reference":"a\nb","amount":0,"currency":"eur","card_token":7,"cvc":1}"#,
            400,
            &["amount", "card_token", "currency", "cvc", "merchant_reference"],
        ),
        (
            &post,
            "/authorisations",
            "x",
            r#"{"merchant_reference":"a","amount":100000000,"currency":"EUR","card_token":"t"}"#,
            400,
            &["amount"],
        ),
        (
            &post,
            "/authorisations",
            "x",
            r#"{"merchant_reference":"a","amount":1.5,"currency":"EUR","card_token":"t"}"#,
            400,
            &["amount"],
        ),
        (&post, "/authorisations", "x", "[]", 400, &[]),
        (&post, "/authorisations", "x", "{", 400, &[]),
        (&post, "/authorisations", "x", &big, 413, &[]),
        (&post, &capture, "x", r#"{"amount":-1,"all":true}"#, 400, &["all", "amount"]),
        (&post, "/authorisations/nobody/capture", "x", r#"{"amount":1}"#, 404, &[]),
        (&post, "/authorisations/00000000-0000-0000-0000-000000000000/void", "x", "", 404, &[]),
        (&get, "/authorisations/%FF", "", "", 404, &[]),
        (&get, "/authorisations", "", "", 400, &["merchant_reference"]),
        (&get, "/authorisations?merchant_reference=a&merchant_reference=b&x=1", "", "", 400, &["merchant_reference", "x"]),
        (&get, "/ledger?after=x&limit=0", "", "", 400, &["after", "limit"]),
        (&get, "/ledger?after=00000000-0000-0000-0000-000000000000", "", "", 400, &["after"]),
        (
            &put,
            "/faults",
            "",
            r#"{"fail_rate":1.01,"timeout_rate":-1,"refuse":1,"what":0}"#,
            400,
            &["fail_rate", "refuse", "timeout_rate", "what"],
        ),
        (&get, "/nowhere", "", "", 404, &[]),
        (&put, "/ledger", "", "", 405, &[]),
    ];
    for (row, (method, path, key, body, status, fields)) in table.into_iter().enumerate() {
        let answer = running.caller.send(method.clone(), path, key, body).await;
        let mut named: Vec<_> = answer.body["errors"]
            .as_array()
            .map_or(vec![], |errors| errors.iter().map(|error| error["field"].as_str().unwrap()).collect());
        named.sort_unstable();
        assert_eq!((answer.status, named.as_slice()), (status, fields), "row {row}: {:?}", answer.body);
        assert_eq!(answer.header("content-type"), "application/problem+json", "row {row}");
    }
    assert_eq!(running.caller.get("/totals").await.body["authorisations"], 1);
    assert_eq!(running.caller.get("/healthz").await.status, 200);
    running.stop().await;
}

/// What a document says of the deed: its type and content type, and where the new one is.
#[tokio::test]
async fn documents_are_known_by_their_types() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    let caller = &running.caller;
    let made = caller.authorise("k", order("o")).await;
    assert_eq!((made.status, made.header("content-type")), (201, "application/json"));
    let body = order("o").to_string();
    let request =
        reqwest::Client::new().post(format!("{}/authorisations", caller.base)).header("Idempotency-Key", "k").body(body);
    assert_eq!(request.send().await.unwrap().headers()["location"], format!("/authorisations/{}", made.text("id")).as_str());
    let capture = format!("/authorisations/{}/capture", made.text("id"));
    for (problem, status, title, code) in [
        (caller.post(&capture, "c", json!({ "amount": 1_001 })).await, 409, "Conflict", "capture_exceeds_authorised"),
        (caller.post(&capture, "k", json!({ "amount": 1 })).await, 422, "Unprocessable Entity", "idempotency_key_reused"),
        (caller.send(Method::POST, &capture, "e", "").await, 400, "Bad Request", "invalid_request"),
        (caller.send(Method::POST, &capture, "e", r#"{"amount":1,"amount":1}"#).await, 400, "Bad Request", "invalid_request"),
        (caller.get("/authorisations/0").await, 404, "Not Found", "not_found"),
        (caller.get("/").await, 404, "Not Found", "no_such_path"),
        (caller.send(Method::DELETE, &capture, "", "").await, 405, "Method Not Allowed", "method_not_allowed"),
        (caller.get("/ledger?%FF&&==").await, 400, "Bad Request", "invalid_request"),
    ] {
        assert_eq!((problem.status, problem.header("content-type")), (status, "application/problem+json"), "{code}");
        for (member, expected) in [("title", json!(title)), ("status", json!(status)), ("code", json!(code))] {
            assert_eq!(problem.body[member], expected, "{code}");
        }
        assert_eq!(problem.body["type"], format!("urn:acquirer:problem:{code}"));
        assert!(problem.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{code}");
    }
    caller.faults(json!({ "refuse": true })).await;
    let refused = reqwest::get(format!("{}/authorisations/0", caller.base)).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    running.stop().await;
}
