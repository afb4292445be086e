//! Mails on a real SMTP server, as it has them; needs what `scripts/install --mail` builds.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use farandole::Timestamp;
use farandole::agenda::{Call, EffectError, EffectHandler as _};
use notifications::effects::Mailer;
use notifications::kinds::{Kind, Mail, Outcome, SendDispatched};
use schemas::notifications::NotificationLine;
use serde_json::Value;
use stage::{Options, Stage};
use uuid::Uuid;

fn dispatched(customer: &str) -> SendDispatched {
    let line = |sku: &str, quantity, unit_price| NotificationLine { sku: sku.to_owned(), quantity, unit_price };
    SendDispatched(Mail {
        order_id: Uuid::from_u128(7),
        kind: Kind::Dispatched,
        attempt: 1,
        customer: customer.to_owned(),
        currency: "EUR".to_owned(),
        total: 500_000,
        lines: vec![line("Gr\u{fc}ner Tee <1 kg>", 2, 250_000)],
        detail: "PX-1".to_owned(),
    })
}

fn call(key: u128) -> Call {
    let first_attempt_at = Timestamp::from_micros(0);
    Call { idempotency_key: Uuid::from_u128(key), attempt: 1, first_attempt_at, aggregate: "o".into(), traceparent: None }
}

async fn get(url: String) -> Value {
    reqwest::get(url).await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

/// All that was caught, newest first.
async fn caught(stage: &Stage) -> Vec<Value> {
    let list = get(format!("{}/api/v1/messages", stage.mail())).await;
    let mut mails = Vec::new();
    for mail in list["messages"].as_array().unwrap() {
        mails.push(get(format!("{}/api/v1/message/{}", stage.mail(), mail["ID"].as_str().unwrap())).await);
    }
    mails
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_caught_bounce_or_wait() {
    let options = Options { brokers: 0, registry: false, mail: true, ..Options::default() };
    if !stage::mail::is_built(&options.dir) {
        assert!(std::env::var_os("NEED_MAIL").is_none(), "there is no mail catcher: scripts/install --mail");
        eprintln!("there is no mail catcher (scripts/install --mail): nothing is tested");
        return;
    }
    let stage = tokio::task::spawn_blocking(|| Stage::start(options)).await.unwrap().unwrap();
    let timeout = Duration::from_secs(5);
    let from = "The shop <orders@shop.example>";
    let mailer = Mailer::new(stage.smtp(), from, "{customer}@customers.example", timeout).unwrap();

    // It arrives, whole.
    let told = mailer.run(&call(1), &dispatched("anna").into()).await;
    let Ok(Outcome::Sent { message_id }) = told else { panic!("{told:?}") };
    let mails = caught(&stage).await;
    let mail = &mails[0];
    assert_eq!(mails.len(), 1);
    assert_eq!(format!("<{}>", mail["MessageID"].as_str().unwrap()), message_id);
    assert_eq!(mail["From"], serde_json::json!({ "Name": "The shop", "Address": "orders@shop.example" }));
    assert_eq!(mail["To"][0]["Address"], "anna@customers.example");
    assert_eq!(mail["Subject"], "Your order 000000000007 is on its way");
    let text = mail["Text"].as_str().unwrap();
    assert!(
        text.contains("Tracking number: PX-1") && text.contains("2 x Gr\u{fc}ner Tee <1 kg>, \u{20ac}2,500.00 each"),
        "{text}"
    );
    assert!(mail["HTML"].as_str().unwrap().contains("Gr\u{fc}ner Tee &#60;1 kg&#62;"));
    let headers = get(format!("{}/api/v1/message/{}/headers", stage.mail(), mail["ID"].as_str().unwrap())).await;
    assert_eq!(headers["Auto-Submitted"][0], "auto-generated");

    // Sent again, as after a crash before our commit: under the same id.
    assert_eq!(mailer.run(&call(1), &dispatched("anna").into()).await, Ok(Outcome::Sent { message_id }));
    let mails = caught(&stage).await;
    assert_eq!((mails.len(), &mails[0]["MessageID"]), (2, &mails[1]["MessageID"]));

    // A customer whom the server doesn't know.
    let told = mailer.run(&call(2), &dispatched("bounce-1").into()).await;
    assert!(matches!(&told, Ok(Outcome::Refused { reason }) if reason.contains("550")), "{told:?}");

    // Down: it is put off, and sent once the server is back, over the same client.
    let stage = tokio::task::spawn_blocking(move || stage.stop_part("mail").map(|()| stage)).await.unwrap().unwrap();
    let told = mailer.run(&call(3), &dispatched("ben").into()).await;
    assert!(matches!(told, Err(EffectError::Retry { .. })), "{told:?}");
    let stage = tokio::task::spawn_blocking(move || stage.start_part("mail").map(|()| stage)).await.unwrap().unwrap();
    let told = mailer.run(&call(3), &dispatched("ben").into()).await;
    assert!(matches!(told, Ok(Outcome::Sent { .. })), "{told:?}");

    // It lives and says nothing: the wait has its bound.
    let stage = tokio::task::spawn_blocking(move || stage.pause("mail").map(|()| stage)).await.unwrap().unwrap();
    let impatient = Mailer::new(stage.smtp(), from, "{customer}@customers.example", Duration::from_millis(300)).unwrap();
    let told = impatient.run(&call(4), &dispatched("cleo").into()).await;
    assert!(told.is_err(), "{told:?}");
    let stage = tokio::task::spawn_blocking(move || stage.resume("mail").map(|()| stage)).await.unwrap().unwrap();

    let to: Vec<Value> = caught(&stage).await.into_iter().map(|mail| mail["To"][0]["Address"].clone()).collect();
    assert_eq!(to, ["ben@customers.example", "anna@customers.example", "anna@customers.example"]);
    tokio::task::spawn_blocking(|| drop(stage)).await.unwrap();
}
