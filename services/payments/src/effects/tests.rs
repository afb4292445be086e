//! What each of the acquirer's answers means here.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use farandole::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Answers every POST with this (status, content type, body), and every look-up with that, under its status if it is a problem; notes what it
/// was asked.
#[derive(Clone)]
struct Script {
    post: (StatusCode, &'static str, String),
    found: Value,
    asked: Arc<Mutex<Vec<(Method, String, HeaderMap)>>>,
}

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const ORDER: Uuid = Uuid::from_u128(7);

fn says(status: u16, content_type: &'static str, body: impl ToString) -> Script {
    let post = (StatusCode::from_u16(status).unwrap(), content_type, body.to_string());
    Script { post, found: json!({ "authorisations": [] }), asked: Arc::default() }
}

fn script(status: u16, body: Value) -> Script {
    says(status, if status < 300 { JSON } else { PROBLEM_JSON }, body)
}

/// As the acquirer writes it.
fn held(id: &str, status: &str) -> Value {
    moved(id, status, 0, 0)
}

fn moved(id: &str, status: &str, captured: i64, refunded: i64) -> Value {
    json!({
        "id": id, "merchant_reference": ORDER, "status": status, "amount": 500, "currency": "EUR",
        "captured": captured, "refunded": refunded,
    })
}

fn problem(status: u16, code: &str) -> Value {
    json!({ "type": format!("urn:acquirer:problem:{code}"), "title": "x", "status": status, "code": code, "detail": "x" })
}

async fn play(State(script): State<Script>, method: Method, uri: Uri, headers: HeaderMap) -> impl IntoResponse {
    script.asked.lock().unwrap().push((method.clone(), uri.to_string(), headers));
    let (status, content_type, body) = match method {
        Method::GET => match script.found["status"].as_u64() {
            Some(status) => (StatusCode::from_u16(status as u16).unwrap(), PROBLEM_JSON, script.found.to_string()),
            None => (StatusCode::OK, JSON, script.found.to_string()),
        },
        _ => script.post,
    };
    (status, [("content-type", content_type), ("location", "/elsewhere")], body)
}

/// Runs `effect` against the script.
async fn ask(script: &Script, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(play).with_state(script.clone());
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let told = Acquirer::new(&url, DAY).unwrap().run(call, effect).await;
    server.abort();
    told
}

#[expect(clippy::disallowed_methods, reason = "keys that are young by the same clock")]
fn now() -> Timestamp {
    Timestamp::from_micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64)
}

fn call(attempt: u32, first_attempt_at: Timestamp) -> Call {
    let traceparent = Some("00-11111111111111111111111111111111-2222222222222222-01".to_owned());
    Call { idempotency_key: Uuid::from_u128(5), attempt, first_attempt_at, aggregate: "o".into(), traceparent }
}

fn authorise() -> Effect {
    Authorise { order_id: ORDER, amount: 500, currency: "EUR".into(), card_token: "tok_1".into() }.into()
}

fn void() -> Effect {
    Void { authorisation_id: "a-1".into() }.into()
}

fn capture() -> Effect {
    Capture { authorisation_id: "a-1".into(), amount: 500 }.into()
}

fn refund() -> Effect {
    Refund { authorisation_id: "a-1".into(), amount: 500 }.into()
}

fn authorised_as(id: &str) -> Result<Outcome, EffectError> {
    Ok(Outcome::Authorised { authorisation_id: id.into() })
}

#[tokio::test]
async fn every_answer_of_the_acquirers_has_a_meaning() {
    let mut declined = problem(402, "card_declined");
    declined["reason"] = "lost_card".into();
    let no = |reason: &str| Ok(Outcome::Declined { reason: reason.into() });
    let stays = |reason: &str| Ok(Outcome::VoidRefused { reason: reason.into() });
    let unpaid = |reason: &str| Ok(Outcome::CaptureRefused { reason: reason.into() });
    let kept = |reason: &str| Ok(Outcome::RefundRefused { reason: reason.into() });
    let retry = |reason: &str| Err(EffectError::Retry { reason: reason.into(), after: None });
    let unknown = |reason: &str| Err(EffectError::Unknown { reason: reason.into() });
    let table = [
        (authorise(), 201, held("a-1", "authorised"), authorised_as("a-1")),
        (authorise(), 402, declined, no("lost_card")),
        (authorise(), 402, problem(402, "card_declined"), no("card_declined")),
        (authorise(), 400, problem(400, "invalid_request"), no("invalid_request")),
        (authorise(), 413, problem(413, "too_large"), no("too_large")),
        (authorise(), 404, problem(404, "no_such_path"), retry("HTTP 404: no_such_path")),
        (authorise(), 503, problem(503, "unavailable"), retry("HTTP 503: unavailable")),
        // The request that the key was used for may have been done.
        (authorise(), 422, problem(422, "idempotency_key_reused"), unknown("HTTP 422: idempotency_key_reused")),
        (authorise(), 500, problem(500, "internal_error"), unknown("HTTP 500: internal_error")),
        (authorise(), 504, problem(504, "timeout"), unknown("HTTP 504: timeout")),
        (void(), 200, held("a-1", "voided"), Ok(Outcome::Voided)),
        (void(), 409, problem(409, "captured"), stays("captured")),
        (void(), 409, problem(409, "declined"), stays("declined")),
        (void(), 409, problem(409, "expired"), stays("expired")),
        (void(), 404, problem(404, "not_found"), stays("not_found")),
        (void(), 404, problem(404, "no_such_path"), retry("HTTP 404: no_such_path")),
        (void(), 500, problem(500, "internal_error"), unknown("HTTP 500: internal_error")),
        (capture(), 200, moved("a-1", "captured", 500, 0), Ok(Outcome::Captured)),
        (capture(), 200, moved("a-1", "refunded", 500, 500), Ok(Outcome::Captured)),
        (capture(), 409, problem(409, "voided"), unpaid("voided")),
        (capture(), 409, problem(409, "declined"), unpaid("declined")),
        (capture(), 409, problem(409, "expired"), unpaid("expired")),
        (capture(), 409, problem(409, "capture_exceeds_authorised"), unpaid("capture_exceeds_authorised")),
        (capture(), 404, problem(404, "not_found"), unpaid("not_found")),
        // Asking once more wouldn't change it, but it is ours that is wrong: nothing is written off for that.
        (capture(), 400, problem(400, "invalid_request"), unknown("HTTP 400: invalid_request")),
        (capture(), 503, problem(503, "unavailable"), retry("HTTP 503: unavailable")),
        (capture(), 504, problem(504, "timeout"), unknown("HTTP 504: timeout")),
        (refund(), 200, moved("a-1", "refunded", 500, 500), Ok(Outcome::Refunded)),
        (refund(), 409, problem(409, "not_captured"), kept("not_captured")),
        (refund(), 409, problem(409, "voided"), kept("voided")),
        (refund(), 409, problem(409, "declined"), kept("declined")),
        (refund(), 409, problem(409, "expired"), kept("expired")),
        (refund(), 404, problem(404, "not_found"), kept("not_found")),
        (refund(), 404, problem(404, "no_such_path"), retry("HTTP 404: no_such_path")),
        (refund(), 422, problem(422, "idempotency_key_reused"), unknown("HTTP 422: idempotency_key_reused")),
    ];
    for (effect, status, body, meaning) in table {
        assert_eq!(ask(&script(status, body.clone()), &call(1, now()), &effect).await, meaning, "{effect:?}: {status} {body}");
    }
}

/// Guard: only the acquirer's own documents count. Without, a gateway's 408 or 404 says "not done", and a hold stays on the card.
#[tokio::test]
async fn what_comes_from_in_between_is_unknown() {
    let page = "<html><body>Request timed out</body></html>";
    let (gateways, other) =
        (json!({ "error": "timeout" }), json!({ "type": "about:blank", "status": 402, "code": "card_declined" }));
    let mut table = Vec::new();
    // Whatever the status: a page, nothing, JSON of somebody else's.
    for status in [
        200, 201, 204, 301, 302, 307, 400, 401, 402, 403, 404, 407, 408, 409, 413, 421, 422, 425, 429, 431, 451, 499, 500, 502,
        503, 504,
    ] {
        table.extend([says(status, "text/html", page), says(status, JSON, ""), says(status, JSON, &gateways)]);
        table.push(says(status, PROBLEM_JSON, &gateways));
        table.push(says(status, JSON, problem(status, "unavailable")));
    }
    // Nearly ours.
    table.push(says(402, PROBLEM_JSON, other));
    table.push(says(408, PROBLEM_JSON, problem(503, "unavailable")));
    table.push(says(402, PROBLEM_JSON, problem(402, "a_new_code")));
    table.push(says(200, "text/html", held("a-1", "authorised")));
    table.push(says(201, JSON, &held("a-1", "authorised").to_string()[..40]));
    table.push(says(201, JSON, held("a-1", "declined")));
    let mut of_another = held("a-2", "authorised");
    of_another["merchant_reference"] = Uuid::from_u128(8).to_string().into();
    table.push(says(201, JSON, &of_another));
    for (status, captured, refunded) in [("voided", 0, 0), ("captured", 500, 0), ("refunded", 500, 500)] {
        table.push(says(200, JSON, moved("a-2", status, captured, refunded)));
    }
    // A part of the money, or another state.
    for (status, captured, refunded) in [("expired", 500, 0), ("captured", 400, 0), ("refunded", 400, 400)] {
        table.push(says(200, JSON, moved("a-1", status, captured, refunded)));
    }
    table.push(says(409, PROBLEM_JSON, problem(409, "a_new_code")));
    for script in table {
        for effect in [authorise(), void(), capture(), refund()] {
            let told = ask(&script, &call(1, now()), &effect).await;
            assert!(matches!(told, Err(EffectError::Unknown { .. })), "{effect:?}: {:?} gives {told:?}", script.post);
            assert_eq!(script.asked.lock().unwrap().drain(..).count(), 1, "a redirect was followed: {:?}", script.post);
        }
    }
    // Nor does a look-up that isn't the acquirer's say that nothing was done.
    let mut away = script(201, held("new", "authorised"));
    for found in [json!({}), json!({ "authorisations": [held("a-1", "authorised"), { "id": "x" }] }), json!([])] {
        away.found = found;
        let told = ask(&away, &call(9, Timestamp::from_micros(0)), &authorise()).await;
        assert!(matches!(told, Err(EffectError::Unknown { .. })), "{told:?}");
    }
}

/// An answer that is cut short: the connection ends before the length that was announced.
#[tokio::test]
async fn half_an_answer_is_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await.unwrap();
        let head = "HTTP/1.1 402 x\r\ncontent-type: application/problem+json\r\ncontent-length: 900\r\n\r\n";
        socket.write_all(format!("{head}{}", problem(402, "card_declined")).as_bytes()).await.unwrap();
    });
    let told = Acquirer::new(&url, DAY).unwrap().run(&call(1, now()), &authorise()).await;
    server.await.unwrap();
    assert!(matches!(told, Err(EffectError::Unknown { .. })), "{told:?}");
}

#[tokio::test]
async fn nobody_there_means_nothing_was_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let told = Acquirer::new(&url, DAY).unwrap().run(&call(1, now()), &authorise()).await;
    assert!(matches!(told, Err(EffectError::Retry { .. })), "{told:?}");
}

#[tokio::test]
async fn key_and_trace_go_along() {
    let script = script(201, held("a-1", "authorised"));
    let call = call(2, now());
    ask(&script, &call, &authorise()).await.unwrap();
    let asked = script.asked.lock().unwrap();
    let (method, path, headers) = &asked[0];
    assert_eq!((asked.len(), method, path.as_str()), (1, &Method::POST, "/authorisations"));
    assert_eq!(headers["idempotency-key"], call.idempotency_key.to_string());
    assert_eq!(headers["traceparent"], call.traceparent.unwrap());
}

#[tokio::test]
async fn once_the_key_is_forgotten_it_looks_before_it_asks() {
    let old = call(9, Timestamp::from_micros(0));
    let fresh = || script(201, held("new", "authorised"));
    let mut lost = held("x", "declined");
    lost["reason"] = "lost_card".into();
    let mut done = fresh();
    done.found = json!({ "authorisations": [lost, held("a-1", "authorised")] });
    assert_eq!(ask(&done, &old, &authorise()).await, authorised_as("a-1"));
    assert_eq!(done.asked.lock().unwrap().len(), 1, "it didn't ask for a second one");

    let mut refused = fresh();
    refused.found = json!({ "authorisations": [lost] });
    assert_eq!(ask(&refused, &old, &authorise()).await, Ok(Outcome::Declined { reason: "lost_card".into() }));
    assert_eq!(ask(&fresh(), &old, &authorise()).await, authorised_as("new"), "nothing had been done");
}

/// Guard: money is moved once, however often it is asked for. Without, a refund whose key is forgotten parks, and a capture is written off.
#[tokio::test]
async fn money_that_was_moved_is_not_moved_again() {
    let (old, young) = (call(9, Timestamp::from_micros(0)), call(9, now()));
    let (unpaid, kept) = (
        |reason: &str| Outcome::CaptureRefused { reason: reason.into() },
        |reason: &str| Outcome::RefundRefused { reason: reason.into() },
    );
    let (captured, refunded) = (moved("a-1", "captured", 500, 0), moved("a-1", "refunded", 500, 500));
    let (twice, too_much) = (problem(409, "captured"), problem(409, "refund_exceeds_captured"));
    let part = |status: &str| moved("a-1", status, 300, if status == "refunded" { 300 } else { 0 });
    // What is asked, what the POST would answer, what a look shows, what it comes to; and the requests under an old key, and a young one.
    let table = [
        (capture(), (200, &captured), &captured, Outcome::Captured, (1, 1)),
        (capture(), (409, &twice), &refunded, Outcome::Captured, (1, 2)),
        (capture(), (200, &captured), &held("a-1", "authorised"), Outcome::Captured, (2, 1)),
        (capture(), (409, &problem(409, "expired")), &held("a-1", "expired"), unpaid("expired"), (2, 1)),
        (capture(), (404, &problem(404, "not_found")), &problem(404, "not_found"), unpaid("not_found"), (2, 1)),
        (capture(), (409, &twice), &part("captured"), unpaid("captured"), (3, 2)),
        (refund(), (409, &too_much), &refunded, Outcome::Refunded, (1, 2)),
        (refund(), (200, &refunded), &captured, Outcome::Refunded, (2, 1)),
        (refund(), (409, &too_much), &part("refunded"), kept("refund_exceeds_captured"), (3, 2)),
    ];
    for (effect, (status, answer), found, outcome, requests) in table {
        let mut script = script(status, answer.clone());
        script.found = found.clone();
        for (call, requests) in [(&old, requests.0), (&young, requests.1)] {
            assert_eq!(ask(&script, call, &effect).await, Ok(outcome.clone()), "{effect:?}: {answer}, {found}");
            assert_eq!(script.asked.lock().unwrap().drain(..).count(), requests, "{effect:?}: {answer}, {found}");
        }
    }
    // A look that shows somebody else's, or nothing that is known, says neither.
    for found in [moved("a-2", "captured", 500, 0), json!({}), problem(500, "internal_error"), problem(404, "no_such_path")] {
        let mut script = script(409, twice.clone());
        script.found = found;
        for call in [&old, &young] {
            let told = ask(&script, call, &capture()).await;
            assert!(matches!(told, Err(EffectError::Unknown { .. })), "{:?}: {told:?}", script.found);
        }
    }
}
