//! What each of the acquirer's answers means here.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Answers every POST with this, and every look-up with that; notes what it was asked.
#[derive(Clone)]
struct Script {
    post: (StatusCode, Value),
    found: Value,
    asked: Arc<Mutex<Vec<(Method, String, HeaderMap)>>>,
}

fn script(status: u16, body: Value) -> Script {
    let post = (StatusCode::from_u16(status).unwrap(), body);
    Script { post, found: json!({ "authorisations": [] }), asked: Arc::default() }
}

async fn play(State(script): State<Script>, method: Method, uri: Uri, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    script.asked.lock().unwrap().push((method.clone(), uri.to_string(), headers));
    match method {
        Method::GET => (StatusCode::OK, Json(script.found)),
        _ => (script.post.0, Json(script.post.1)),
    }
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
    Effect::Authorise { order_id: Uuid::from_u128(7), amount: 500, currency: "EUR".into(), card_token: "tok_1".into() }
}

fn void() -> Effect {
    Effect::Void { authorisation_id: "a-1".into() }
}

fn authorised_as(id: &str) -> Result<Outcome, EffectError> {
    Ok(Outcome::Authorised { authorisation_id: id.into() })
}

#[tokio::test]
async fn every_answer_has_a_meaning() {
    let held = || json!({"id": "a-1", "status": "authorised"});
    let declined = || json!({"code": "card_declined", "reason": "lost_card"});
    let code = |code: &str| json!({ "code": code });
    let no = |reason: &str| Ok(Outcome::Declined { reason: reason.into() });
    let stays = |reason: &str| Ok(Outcome::VoidRefused { reason: reason.into() });
    let retry = |reason: &str| Err(EffectError::Retry { reason: reason.into(), after: None });
    let unknown = |reason: &str| Err(EffectError::Unknown { reason: reason.into() });
    let table = [
        (authorise(), 201, held(), authorised_as("a-1")),
        (authorise(), 402, declined(), no("lost_card")),
        (authorise(), 400, code("invalid_request"), no("invalid_request")),
        (authorise(), 422, code("idempotency_key_reused"), retry("HTTP 422: idempotency_key_reused")),
        (authorise(), 429, json!({}), retry("HTTP 429: HTTP 429")),
        (authorise(), 503, code("unavailable"), retry("HTTP 503: unavailable")),
        (authorise(), 500, code("internal_error"), unknown("HTTP 500: internal_error")),
        (void(), 200, held(), Ok(Outcome::Voided)),
        (void(), 409, code("captured"), stays("captured")),
        (void(), 404, code("not_found"), stays("not_found")),
        (void(), 500, json!({}), unknown("HTTP 500: HTTP 500")),
    ];
    for (effect, status, body, meaning) in table {
        assert_eq!(ask(&script(status, body), &call(1, now()), &effect).await, meaning, "{effect:?}: {status}");
    }
}

#[tokio::test]
async fn an_answer_that_cant_be_read_is_unknown() {
    let told = ask(&script(201, json!({})), &call(1, now()), &authorise()).await;
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
    let script = script(201, json!({"id": "a-1", "status": "authorised"}));
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
    let fresh = || script(201, json!({"id": "new", "status": "authorised"}));
    let mut held = fresh();
    held.found = json!({"authorisations": [{"id": "x", "status": "declined", "reason": "lost_card"}, {"id": "a-1", "status": "authorised"}]});
    assert_eq!(ask(&held, &old, &authorise()).await, authorised_as("a-1"));
    assert_eq!(held.asked.lock().unwrap().len(), 1, "it didn't ask for a second one");

    let mut refused = fresh();
    refused.found = json!({"authorisations": [{"id": "x", "status": "declined", "reason": "lost_card"}]});
    assert_eq!(ask(&refused, &old, &authorise()).await, Ok(Outcome::Declined { reason: "lost_card".into() }));
    assert_eq!(ask(&fresh(), &old, &authorise()).await, authorised_as("new"), "nothing had been done");
}
