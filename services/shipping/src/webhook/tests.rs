//! What is taken for a report of the carrier's, and what comes of it.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::request::Builder;
use farandole::testing::{Story, Told};
use schemas::orders::OrderConfirmed;
use serde_json::{Value, json};

use super::*;
use crate::carrier::{Book, Outcome};
use crate::participant::{Deadline, Shipping};
use crate::tables::{Shipment, Tables};

const ORDER: Uuid = Uuid::from_u128(7);
const OURS: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const NEW: &str = "whsec_bmV3IHNlY3JldCBvZiB0aGUgY2Fycmllcg==";
const OTHERS: &str = "whsec_bm9ib2R5IGhhcyB0b2xkIHVzIHRoaXMgb25l";

/// Seconds from now, which may lie before it.
#[expect(clippy::disallowed_methods, reason = "the library judges by the same clock")]
fn at(offset: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + offset
}

fn says(status: &str) -> Value {
    json!({ "tracking": "p-1", "reference": ORDER, "status": status, "at": "2026-01-31T12:00:00Z" })
}

fn sign(secret: &str, timestamp: i64, body: &Value) -> String {
    Webhook::new(secret).unwrap().sign("msg_1", timestamp, body.to_string().as_bytes()).unwrap()
}

fn unsigned(timestamp: impl ToString) -> Builder {
    let request = Request::post("/carrier/reports").header("content-type", "application/json");
    request.header("webhook-id", "msg_1").header("webhook-timestamp", timestamp.to_string())
}

/// As the carrier sends it when the secret is ours.
fn signed(secret: &str, timestamp: i64, body: &Value) -> Request {
    let request = unsigned(timestamp).header("webhook-signature", sign(secret, timestamp, body));
    request.body(body.to_string().into()).unwrap()
}

fn secrets(text: &str) -> Secrets {
    Secrets::of(&text.into(), None).unwrap()
}

async fn refused(request: Request) -> Problem {
    secrets(OURS).report(request).await.unwrap_err()
}

#[tokio::test]
async fn what_the_carrier_signs_is_read() {
    for (status, fate) in [("delivered", Fate::Delivered), ("lost", Fate::Lost), ("recalled", Fate::Recalled)] {
        let read = secrets(OURS).report(signed(OURS, at(0), &says(status))).await.unwrap();
        assert_eq!(read, (ORDER, Report { tracking: "p-1".into(), fate }));
    }
    // While the carrier changes its secret, both are good; so they are in a file.
    let both = secrets(&format!("{OURS} {NEW}"));
    for secret in [OURS, NEW] {
        assert!(both.report(signed(secret, at(0), &says("lost"))).await.is_ok());
    }
    assert_eq!(both.report(signed(OTHERS, at(0), &says("lost"))).await.unwrap_err().status, 401);
}

/// Guard: the signature over id, timestamp and body. Without, anybody has parcels lost, and money given back.
#[tokio::test]
async fn what_is_forged_is_refused() {
    let (now, truth, lie) = (at(0), says("delivered"), says("lost"));
    let with = |request: Builder, body: &Value| request.body(body.to_string().into()).unwrap();
    let of_truth = || sign(OURS, now, &truth);
    let table = [
        ("unsigned", with(unsigned(now), &lie)),
        ("signed with another secret", signed(OTHERS, now, &lie)),
        ("with the signature of another body", with(unsigned(now).header("webhook-signature", of_truth()), &lie)),
        ("with that of another moment", with(unsigned(now - 1).header("webhook-signature", of_truth()), &truth)),
        ("with a part of it", with(unsigned(now).header("webhook-signature", &of_truth()[..10]), &truth)),
    ];
    for (forged, request) in table {
        assert_eq!(refused(request).await.kind, "/problems/not-verified", "{forged}");
    }
    for missing in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut request = signed(OURS, now, &truth);
        request.headers_mut().remove(missing);
        assert_eq!(refused(request).await.status, 401, "without {missing}");
    }
}

/// Guard: the age. Without, who has once heard a report can have it told again for ever.
#[tokio::test]
async fn what_is_not_of_now_is_refused() {
    for (offset, taken) in [(0, true), (-290, true), (290, true), (-310, false), (310, false), (-660, false)] {
        let told = secrets(OURS).report(signed(OURS, at(offset), &says("lost"))).await;
        assert_eq!(told.map(|_| 200).map_err(|problem| problem.status), if taken { Ok(200) } else { Err(401) }, "{offset}");
    }
}

/// Guard: `is_after_1970`. Without, a timestamp that anybody may write overflows, and is answered as our fault.
#[tokio::test]
async fn a_timestamp_that_is_none_is_the_callers_fault() {
    for timestamp in ["-9223372036854775808", "9223372036854775807", "99999999999999999999", "-1", "", "soon", "1e9"] {
        let request = unsigned(timestamp).header("webhook-signature", "v1,x").body(says("lost").to_string().into()).unwrap();
        assert_eq!(refused(request).await.status, 401, "{timestamp}");
    }
}

#[tokio::test]
async fn a_signed_report_names_what_is_not_known() {
    let with = |field: &str, value: Value| {
        let mut body = says("lost");
        body[field] = value;
        body
    };
    let table = [
        (with("status", "held".into()), "status"),
        (with("status", "booked".into()), "status"),
        (with("reference", "not an order".into()), "reference"),
        (with("tracking", "../totals".into()), "tracking"),
        (json!({ "reference": ORDER, "status": "lost" }), "tracking"),
    ];
    for (body, field) in table {
        let problem = refused(signed(OURS, at(0), &body)).await;
        assert_eq!((problem.status, problem.errors[0].field.as_str()), (422, field), "{problem}");
    }
}

/// Guard: the size, judged before the signature is.
#[tokio::test]
async fn a_report_has_a_bound() {
    let large = json!({ "tracking": "x".repeat(LARGEST) });
    assert_eq!(refused(signed(OURS, at(0), &large)).await.status, 413);
}

/// Guard: without a secret nothing can be verified, so nothing is taken; the carrier sends it again.
#[tokio::test]
async fn without_a_secret_nothing_is_taken() {
    let none = secrets("");
    assert!(none.is_empty());
    for request in [signed(OURS, at(0), &says("lost")), unsigned(at(0)).body(says("lost").to_string().into()).unwrap()] {
        assert_eq!(none.report(request).await.unwrap_err().status, 503);
    }
}

/// Guard: no secret is shown, wherever it stands and whatever is wrong with it.
#[test]
fn secrets_are_read_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secrets");
    let of = |text: &str, setting: &str| {
        std::fs::write(&file, text).unwrap();
        Secrets::of(&setting.into(), Some(&file))
    };
    assert_eq!(format!("{:?}", of(&format!("{OURS}\n{NEW}\n"), "").unwrap()), "Secrets(2)");
    let wrong =
        ["hunter2", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_c2hvcnQ=", "whsec_this-is-no-base64-but-it-is-long-enough"];
    for wrong in wrong.map(|text| format!("{OURS} {text}")).iter().map(String::as_str).chain([""]) {
        let error = of(wrong, "").unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(
            matches!(error, Error::Malformed) && wrong.split(' ').all(|word| word.is_empty() || !said.contains(word)),
            "{said}"
        );
    }
    assert!(matches!(of(OURS, NEW), Err(Error::Both)));
    assert!(matches!(Secrets::of(&"".into(), Some(&dir.path().join("none"))), Err(Error::File { .. })));
}

/// A report, as it comes, and what it leads to.
async fn comes(story: &mut Story<Shipping>, status: &str) -> Told<Shipping> {
    let (order, report) = secrets(OURS).report(signed(OURS, at(0), &says(status))).await.unwrap();
    story.about(order).asked(report)
}

fn states(told: &Told<Shipping>) -> Vec<&'static str> {
    use farandole::Message as _;
    told.decided.as_ref().unwrap().events.iter().map(|event| event.short_name()).collect()
}

fn story() -> Story<Shipping> {
    let second = std::time::Duration::from_secs(1);
    let shipping = Shipping { dispatch_after: second, book_within: second, deliver_within: second, track_within: second };
    Story::new(shipping, ORDER, farandole::rows![Tables; shipments: Shipment[ORDER]])
}

fn on_its_way() -> Story<Shipping> {
    let mut story = story();
    story.hears(OrderConfirmed { order_id: ORDER, customer: "anna".into(), confirmed_at: 0 });
    story.due(Deadline::Dispatch);
    story.answered::<Book>(Outcome::Booked { tracking: "p-1".into() });
    story
}

/// The second time nothing is decided, and 200 is answered: so no ids of webhooks need be kept.
#[tokio::test]
async fn a_repeated_report_decides_nothing() {
    let mut story = on_its_way();
    assert_eq!(states(&comes(&mut story, "delivered").await), ["ShipmentDelivered"]);
    for _ in 0..2 {
        let again = comes(&mut story, "delivered").await;
        let answer = again.nothing().decided.as_ref().unwrap().answer.as_ref();
        assert_eq!(answer.map(|answer| answer.status()), Some(200));
    }
}

#[tokio::test]
async fn reports_may_overtake_each_other() {
    let mut in_order = on_its_way();
    assert_eq!(states(&comes(&mut in_order, "lost").await), ["ShipmentLost"]);
    assert_eq!(states(&comes(&mut in_order, "delivered").await), ["ShipmentFound"]);
    let mut overtaken = on_its_way();
    assert_eq!(states(&comes(&mut overtaken, "delivered").await), ["ShipmentDelivered"]);
    comes(&mut overtaken, "lost").await.nothing();
}

#[tokio::test]
async fn a_report_of_an_order_that_is_not_known_is_told_so() {
    comes(&mut story(), "delivered").await.refused("not-found");
}
