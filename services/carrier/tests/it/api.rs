//! The interface: what is answered to whom.

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::{Carrier, NEVER, parcel};

#[tokio::test]
async fn a_key_books_one_parcel_and_takes_no_other_request() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Carrier::start(dir.path(), NEVER, &[]);
    let first = carrier.book("o-1", "Zoë").await;
    let (tracking, at) = (first.text("tracking"), &first.body["created_at"]);
    let expected = json!({ "tracking": tracking, "reference": "o-1", "recipient": "Zoë", "status": "booked",
        "created_at": at, "updated_at": at });
    assert_eq!((first.status, first.replayed, &first.body), (201, false, &expected));
    assert_eq!((first.header("content-type"), first.header("location")), ("application/json", &*format!("/parcels/{tracking}")));
    assert_eq!(carrier.get(first.header("location")).await.body, expected);

    // The answer of then, though the parcel is recalled now.
    assert_eq!(carrier.recall(&tracking, "r").await.body["status"], "recalled");
    let again = carrier.book("o-1", "Zoë").await;
    assert_eq!((again.status, again.replayed, &again.body), (201, true, &expected));
    for (path, body) in [("/parcels", parcel("o-1", "Anna")), (format!("/parcels/{tracking}/recall").as_str(), json!({}))] {
        assert_eq!(carrier.post(path, "o-1", body).await.code(), (422, "idempotency_key_reused"), "{path}");
    }
    assert_eq!(carrier.get("/totals").await.body["parcels"], 1);
}

/// Nothing is done, whoever asks how often: the key stays free.
#[tokio::test]
async fn an_address_is_refused_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Carrier::start(dir.path(), NEVER, &[]);
    for _ in 0..2 {
        let refused = carrier.book("o-1", "nowhere at all").await;
        assert_eq!((refused.code(), refused.replayed), ((409, "address_refused"), false));
        assert_eq!(refused.body["type"], "urn:carrier:problem:address_refused");
        assert_eq!(refused.header("content-type"), "application/problem+json");
    }
    assert_eq!(carrier.get("/parcels?reference=o-1").await.body, json!({ "parcels": [] }));
    assert_eq!(carrier.book("o-1", "somewhere").await.status, 201);
}

#[tokio::test]
async fn a_parcel_can_be_recalled_while_it_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Carrier::start(dir.path(), NEVER, &[]);
    let under_way = carrier.book("a", "slow").await.text("tracking");
    for key in ["r-1", "r-2"] {
        let recalled = carrier.recall(&under_way, key).await;
        assert_eq!((recalled.status, &recalled.body["status"]), (200, &json!("recalled")));
    }
    let nobody = "00000000-0000-0000-0000-000000000000";
    assert_eq!(carrier.recall(nobody, "r-3").await.code(), (404, "not_found"));
    assert_eq!(carrier.recall("x", "r-3").await.code(), (404, "not_found"));
    drop(carrier);

    let carrier = Carrier::start(dir.path(), "1ms", &[]);
    for (reference, recipient, status) in [("b", "Anna", "delivered"), ("c", "lost", "lost")] {
        let tracking = carrier.book(reference, recipient).await.text("tracking");
        carrier.until(&tracking, status).await;
        assert_eq!(carrier.recall(&tracking, "r").await.code(), (409, status));
        assert_eq!(carrier.status(&tracking).await, status);
    }
}

#[tokio::test]
async fn look_up_ledger_and_totals_have_everything_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Carrier::start(dir.path(), NEVER, &[]);
    let mut all = Vec::new();
    for (key, reference) in [("1", "o-1"), ("2", "o-2"), ("3", "o-1"), ("4", "o-3"), ("5", "o-3")] {
        all.push(carrier.post("/parcels", key, parcel(reference, "Anna")).await.text("tracking"));
    }
    carrier.recall(&all[4], "r").await;
    let of = |body: &Value| -> Vec<String> {
        body["parcels"].as_array().unwrap().iter().map(|parcel| parcel["tracking"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of(&carrier.get("/parcels?reference=o-1").await.body), [all[0].clone(), all[2].clone()]);
    let (mut path, mut seen) = ("/ledger?limit=2".to_owned(), Vec::new());
    loop {
        let page = carrier.get(&path).await.body;
        seen.extend(of(&page));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/ledger?limit=2&after={next}");
    }
    assert_eq!(seen, all);
    let expected = json!({ "parcels": 5, "references": 3, "duplicates": 1, "keys": 6,
        "by_status": { "booked": { "count": 4 }, "recalled": { "count": 1 } },
        "webhooks": { "waiting": 0, "delivered": 0, "given_up": 0 } });
    assert_eq!(carrier.get("/totals").await.body, expected);
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Carrier::start(dir.path(), NEVER, &[]);
    let tracking = carrier.book("o", "slow").await.text("tracking");
    let recall = format!("/parcels/{tracking}/recall");
    let long = json!({ "reference": "o", "recipient": "é".repeat(201) }).to_string();
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    type Row<'a> = (&'a Method, &'a str, &'a str, &'a str, u16, &'a [&'a str]);
    let table: [Row<'_>; 11] = [
        (&post, "/parcels", "", "{}", 400, &["Idempotency-Key", "recipient", "reference"]),
        (&post, "/parcels", "k", r#"{"reference":"a\nb","recipient":"","weight":1}"#, 400, &["recipient", "reference", "weight"]),
        (&post, "/parcels", "k", &long, 400, &["recipient"]),
        (&post, "/parcels", "k", r#"{"reference":"a","recipient":"a\u0007"}"#, 400, &["recipient"]),
        (&post, &recall, "k", r#"{"why":"so"}"#, 400, &["why"]),
        (&post, &recall, "", "", 400, &["Idempotency-Key"]),
        (&get, "/parcels", "", "", 400, &["reference"]),
        (&get, "/ledger?limit=0&after=x", "", "", 400, &["after", "limit"]),
        (
            &put,
            "/faults",
            "",
            r#"{"webhook_repeat_rate":2,"webhook_shuffle_ms":-1,"decline_all":true}"#,
            400,
            &["decline_all", "webhook_repeat_rate", "webhook_shuffle_ms"],
        ),
        (&get, "/authorisations", "", "", 404, &[]),
        (&put, "/parcels", "", "", 405, &[]),
    ];
    for (row, (method, path, key, body, status, fields)) in table.into_iter().enumerate() {
        let answer = carrier.send(method.clone(), path, key, body).await;
        let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
        let mut named: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
        named.sort_unstable();
        assert_eq!((answer.status, named.as_slice()), (status, fields), "row {row}: {:?}", answer.body);
        assert_eq!(answer.header("content-type"), "application/problem+json", "row {row}");
    }
    assert_eq!(carrier.get("/healthz").await.status, 200);
}
