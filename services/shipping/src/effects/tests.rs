//! What each of the carrier's answers means here.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use farandole::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;

const ORDER: Uuid = Uuid::from_u128(7);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const JSON: &str = "application/json";

/// Status, type and body of an answer.
type Says = (u16, &'static str, String);

fn says(status: u16, body: Value) -> Says {
    (status, if status < 400 { JSON } else { "application/problem+json" }, body.to_string())
}

fn problem(status: u16, code: &str) -> Says {
    says(status, json!({ "type": format!("urn:carrier:problem:{code}"), "title": "x", "status": status, "code": code }))
}

/// As the carrier writes it.
fn parcel(tracking: &str, status: &str) -> Value {
    json!({ "tracking": tracking, "reference": ORDER, "recipient": "anna", "status": status })
}

/// A request, as far as it matters here.
type Asked = (Method, String, HeaderMap);

/// Runs `effect` against a carrier that says this to each POST, and that to each GET.
async fn ask(post: Says, get: Says, call: &Call, effect: Effect) -> (Result<Outcome, EffectError>, Vec<Asked>) {
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let seen = Arc::clone(&asked);
    let answer = move |request: Request| {
        let is_get = request.method() == Method::GET;
        seen.lock().unwrap().push((request.method().clone(), request.uri().to_string(), request.headers().clone()));
        let (status, kind, body) = if is_get { get.clone() } else { post.clone() };
        async move { (StatusCode::from_u16(status).unwrap(), [("content-type", kind), ("location", "/elsewhere")], body) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await });
    let told = Carrier::new(&url, DAY).unwrap().run(call, &effect).await;
    server.abort();
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    (told, asked)
}

/// The same for a first attempt, which is one request.
async fn once(says: Says, effect: Effect) -> Result<Outcome, EffectError> {
    let (told, asked) = ask(says.clone(), says, &call(1, now()), effect).await;
    assert_eq!(asked.len(), 1, "a redirect was followed: {asked:?}");
    told
}

#[expect(clippy::disallowed_methods, reason = "keys that are young by the same clock")]
fn now() -> Timestamp {
    Timestamp::from_micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64)
}

fn call(attempt: u32, first_attempt_at: Timestamp) -> Call {
    let traceparent = Some("00-11111111111111111111111111111111-2222222222222222-01".to_owned());
    Call { idempotency_key: Uuid::from_u128(5), attempt, first_attempt_at, aggregate: ORDER.to_string(), traceparent }
}

fn book() -> Effect {
    Book { order_id: ORDER, recipient: "anna".into() }.into()
}
fn track() -> Effect {
    Track { tracking: "p-1".into() }.into()
}
fn booked_as(tracking: &str) -> Result<Outcome, EffectError> {
    Ok(Outcome::Booked { tracking: tracking.into() })
}

#[tokio::test]
async fn every_answer_of_the_carriers_has_a_meaning() {
    let refused = |reason: &str| Ok(Outcome::Refused { reason: reason.into() });
    let retry = |reason: &str| Err(EffectError::Retry { reason: reason.into(), after: None });
    let unknown = |reason: &str| Err(EffectError::Unknown { reason: reason.into() });
    let table = [
        (book(), says(201, parcel("p-1", "booked")), booked_as("p-1")),
        (book(), problem(409, "address_refused"), refused("address_refused")),
        (book(), problem(400, "invalid_request"), refused("invalid_request")),
        (book(), problem(413, "too_large"), refused("too_large")),
        (book(), problem(404, "no_such_path"), retry("HTTP 404: no_such_path")),
        (book(), problem(503, "unavailable"), retry("HTTP 503: unavailable")),
        // The request that the key was used for may have been done.
        (book(), problem(422, "idempotency_key_reused"), unknown("HTTP 422: idempotency_key_reused")),
        (book(), problem(500, "internal_error"), unknown("HTTP 500: internal_error")),
        (book(), problem(504, "timeout"), unknown("HTTP 504: timeout")),
        (track(), says(200, parcel("p-1", "booked")), Ok(Outcome::UnderWay)),
        (track(), says(200, parcel("p-1", "delivered")), Ok(Outcome::Ended(Fate::Delivered))),
        (track(), says(200, parcel("p-1", "lost")), Ok(Outcome::Ended(Fate::Lost))),
        (track(), says(200, parcel("p-1", "recalled")), Ok(Outcome::Ended(Fate::Recalled))),
        (track(), problem(404, "not_found"), Ok(Outcome::Unknown)),
        (track(), problem(404, "no_such_path"), retry("HTTP 404: no_such_path")),
        (track(), problem(503, "unavailable"), retry("HTTP 503: unavailable")),
        (track(), problem(500, "internal_error"), unknown("HTTP 500: internal_error")),
    ];
    for (effect, says, meaning) in table {
        assert_eq!(once(says.clone(), effect.clone()).await, meaning, "{effect:?}: {says:?}");
    }
}

/// Guard: only the carrier's own documents count. Without, a gateway's 404 says "no such parcel", and a parcel under way is taken for lost.
#[tokio::test]
async fn what_comes_from_in_between_is_unknown() {
    let (page, gateways) = ("<html>Not found</html>".to_owned(), json!({ "error": "timeout" }));
    let mut table = Vec::new();
    for status in [200, 201, 204, 301, 307, 400, 404, 408, 409, 413, 429, 500, 502, 503] {
        table.extend([(status, "text/html", page.clone()), (status, JSON, String::new()), says(status, gateways.clone())]);
        table.push((status, JSON, problem(status, "unavailable").2));
    }
    // Nearly the carrier's.
    let mut of_another = parcel("p-2", "booked");
    of_another["reference"] = Uuid::from_u128(8).to_string().into();
    table.extend([says(200, of_another.clone()), says(201, of_another)]);
    for wrong in [parcel("p-1", "a new status"), parcel("../p-1", "booked"), json!({ "tracking": "p-1", "status": "lost" })] {
        table.extend([says(200, wrong.clone()), says(201, wrong)]);
    }
    table.push((201, "text/html", parcel("p-1", "booked").to_string()));
    table.push((201, JSON, parcel("p-1", "booked").to_string()[..40].to_owned()));
    table.push(says(409, json!({ "type": "about:blank", "code": "address_refused" })));
    table.extend([problem(409, "a_new_code"), (408, "application/problem+json", problem(503, "unavailable").2)]);
    for says in table {
        for effect in [book(), track()] {
            let told = once(says.clone(), effect.clone()).await;
            assert!(matches!(told, Err(EffectError::Unknown { .. })), "{effect:?}: {says:?} gives {told:?}");
        }
    }
}

#[tokio::test]
async fn nobody_there_means_nothing_was_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let told = Carrier::new(&url, DAY).unwrap().run(&call(1, now()), &book()).await;
    assert!(matches!(told, Err(EffectError::Retry { .. })), "{told:?}");
}

#[tokio::test]
async fn key_and_trace_go_along() {
    let (call, says) = (call(2, now()), says(201, parcel("p-1", "booked")));
    let (told, asked) = ask(says.clone(), says, &call, book()).await;
    assert_eq!(told, booked_as("p-1"));
    let [(method, path, headers)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((method, path.as_str()), (&Method::POST, "/parcels"));
    assert_eq!(headers["idempotency-key"], call.idempotency_key.to_string());
    assert_eq!(headers["traceparent"], call.traceparent.unwrap());
}

/// Guard: without the look-up a second parcel goes to the same recipient.
#[tokio::test]
async fn once_the_key_is_forgotten_it_looks_before_it_asks() {
    let old = call(9, Timestamp::from_micros(0));
    let found = async |parcels: Value| {
        let (told, asked) = ask(says(201, parcel("new", "booked")), says(200, parcels), &old, book()).await;
        assert_eq!(asked[0].1, format!("/parcels?reference={ORDER}"));
        (told, asked.len())
    };
    assert_eq!(found(json!({ "parcels": [] })).await, (booked_as("new"), 2), "nothing had been done");
    for status in ["booked", "delivered", "lost", "recalled"] {
        assert_eq!(found(json!({ "parcels": [parcel("p-1", status)] })).await, (booked_as("p-1"), 1), "{status}");
    }
    let several = json!({ "parcels": [parcel("p-1", "lost"), parcel("p-2", "delivered"), parcel("p-3", "booked")] });
    assert_eq!(found(several).await, (booked_as("p-2"), 1));
    // What isn't the carrier's doesn't say that nothing was done.
    let mut of_another = parcel("p-1", "booked");
    of_another["reference"] = "another".into();
    for wrong in [json!({}), json!([]), json!({ "parcels": [{ "tracking": "p-1" }] }), json!({ "parcels": [of_another] })] {
        let (told, asked) = found(wrong).await;
        assert!(matches!((&told, asked), (Err(EffectError::Unknown { .. }), 1)), "{told:?}");
    }
}

fn recall(tracking: Option<&str>) -> Effect {
    Recall { order_id: ORDER, tracking: tracking.map(Into::into) }.into()
}

/// Whatever the carrier has of the order is called back; what came of it is what it says, not what was asked for.
#[tokio::test]
async fn what_may_have_been_booked_is_called_back() {
    let there = |parcels: &[(&str, &str)]| {
        let parcels: Vec<Value> = parcels.iter().map(|(tracking, status)| parcel(tracking, status)).collect();
        says(200, json!({ "parcels": parcels }))
    };
    let ended = |fate| Ok(Outcome::Ended(fate));
    let done = || says(200, parcel("p-1", "recalled"));
    let table = [
        (there(&[]), done(), None, Ok(Outcome::Unknown), 1),
        (there(&[("p-1", "booked")]), done(), None, ended(Fate::Recalled), 2),
        (there(&[("p-1", "booked")]), problem(409, "delivered"), None, ended(Fate::Delivered), 2),
        (there(&[("p-1", "booked")]), problem(409, "lost"), None, ended(Fate::Lost), 2),
        (there(&[("p-1", "recalled")]), done(), None, ended(Fate::Recalled), 1),
        (there(&[("p-2", "recalled"), ("p-1", "delivered")]), done(), None, ended(Fate::Delivered), 1),
        (there(&[("p-2", "delivered"), ("p-1", "booked")]), done(), Some("p-1"), ended(Fate::Recalled), 2),
        (there(&[("p-2", "booked")]), done(), Some("p-1"), Ok(Outcome::Unknown), 1),
    ];
    for (there, done, tracking, meaning, requests) in table {
        let (told, asked) = ask(done, there.clone(), &call(1, now()), recall(tracking)).await;
        assert_eq!((told, asked.len()), (meaning, requests), "{there:?}");
        assert_eq!(asked[0].1, format!("/parcels?reference={ORDER}"));
        assert!(requests == 1 || asked[1].1 == "/parcels/p-1/recall", "{asked:?}");
    }
    // One of two is called back; the other one's turn is the next attempt's.
    let two = there(&[("p-1", "booked"), ("p-2", "booked")]);
    let (told, asked) = ask(done(), two, &call(1, now()), recall(None)).await;
    assert!(matches!(&told, Err(EffectError::Retry { reason, .. }) if reason.starts_with("1 more")), "{told:?}");
    assert_ne!(asked[1].2["idempotency-key"], Uuid::from_u128(5).to_string(), "each parcel's recall has a key of its own");
    // What isn't the carrier's says nothing.
    for wrong in [says(200, json!({})), (404, "text/html", String::new()), problem(500, "internal_error")] {
        let (told, _) = ask(done(), wrong, &call(1, now()), recall(None)).await;
        assert!(matches!(told, Err(EffectError::Unknown { .. })), "{told:?}");
    }
}
