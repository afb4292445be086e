//! What an operator does with a service's own program, from outside: positions, one input fed again, and who did what.

use farandole::record::Record;
use serde_json::Value;
use sqlx::Connection as _;

use crate::kit::{self, Own};
use crate::records::of_key;

/// What the program prints as JSON.
async fn json(own: &Own, args: &[&str]) -> Value {
    let (code, printed, said) = own.ask("orders", &[args, &["--output", "json"]].concat()).await;
    assert_eq!(code, Some(0), "{args:?}: {printed}{said}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{args:?}: {error} in {printed}"))
}

/// Guards: a look changes nothing; what is changed needs a reason, is told in the history with its operator, and a second operator is told of
/// the first. Exit codes: 1 refused, 2 wrong usage.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_looks_first_and_leaves_a_trace() {
    let own = kit::open().await;
    own.receive("11111", 5).await;
    let order = own.place("11111", 1, "tok_a").await;
    own.until(&order, "confirmed").await;
    let payments = format!("{}payments", own.shop.parts.prefix);
    let paid = |record: &Record| record.kind() == Some("farandole.payments.PaymentAuthorised");
    let first = of_key(&own, "payments", &order).await.into_iter().find(paid).unwrap();
    let input = format!("{payments}/{}/{}", first.partition, first.offset);
    let here = first.partition.to_string();
    let standing = async || {
        let listed = json(&own, &["positions"]).await;
        let all = listed["positions"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["topic"] == payments.as_str() && one["partition"] == first.partition)
    };
    let read =
        async || standing().await.filter(|one| one["next_offset"].as_i64() > Some(first.offset) && one["lag_records"] == 0);
    let before = kit::eventually("orders to have read the payment", read).await;
    assert!(before["heads"]["/farandole/payments"].as_str().unwrap().starts_with("1."), "{before}");
    let (ended, printed, said) = own.tell(&["positions"]).await;
    assert!(ended && printed.contains(&format!("{payments}/{here}: ")), "{printed}{said}");

    let set = ["positions", "set", "--topic", "payments", "--partition", &here, "--to", "earliest"];
    let would = json(&own, &set).await;
    assert_eq!(
        (&would["executed"], &would["partitions"][0]["repeated"]["keys"][0]),
        (&Value::Bool(false), &order.as_str().into())
    );
    let (code, _, said) = own.ask("orders", &[&set[..], &["--execute"]].concat()).await;
    assert!(code == Some(2) && said.contains("--reason"), "{code:?} {said}");
    assert_eq!(standing().await, Some(before), "nothing was changed");

    let pool = own.shop.pool("orders").await.unwrap();
    let mut other = pool.acquire().await.unwrap().detach();
    let hold = "select set_config('application_name', 'orders by ben', false), pg_advisory_lock(hashtextextended(k, 0))
                from unnest(array['positions/orders', 'inputs/orders']) k";
    sqlx::query(hold).execute(&mut other).await.unwrap();
    let execute = ["--execute", "--reason", "a test"];
    for args in [&set[..], &["inputs", "again", &input]] {
        let (code, _, said) = own.ask("orders", &[args, &execute[..]].concat()).await;
        assert!(code == Some(1) && said.contains("orders by ben (pid "), "{code:?} {said}");
    }
    other.close().await.unwrap();

    let (ended, printed, said) = own.tell(&["inputs", "again", &input]).await;
    assert!(ended && printed.contains(&format!("about {order}")) && printed.contains("nothing was changed"), "{printed}{said}");
    let (ended, printed, said) = own.tell(&[&["inputs", "again", &input][..], &execute].concat()).await;
    assert!(ended && printed.contains("decided: "), "{printed}{said}");
    own.until(&order, "confirmed").await;
    let (code, _, said) = own.ask("orders", &["inputs", "again", "payments/0"]).await;
    assert!(code == Some(2) && said.contains("is no topic/partition/offset"), "{code:?} {said}");
    let (code, _, said) = own.ask("orders", &["inputs", "again", "analytics/0/0"]).await;
    assert!(code == Some(1) && said.contains("not a subscribed topic"), "{code:?} {said}");
    let (ended, printed, said) = own.tell(&[&set[..], &execute].concat()).await;
    assert!(ended && printed.contains("reads again: "), "{printed}{said}");

    let told = json(&own, &["history"]).await;
    let entries = told["entries"].as_array().unwrap();
    let verbs: Vec<&str> = entries.iter().map(|entry| entry["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["inputs again", "positions set"]);
    assert!(entries.iter().all(|entry| entry["by"] == "ann" && entry["reason"] == "a test"), "{told}");
    let (ended, printed, said) = own.tell(&["history", "--limit", "1"]).await;
    assert!(ended && printed.lines().count() == 2 && printed.contains("ann positions set: "), "{printed}{said}");
    // A participant is never replayed.
    let (code, _, said) = own.ask("orders", &["replay", "--topic", "payments", "--from", "beginning"]).await;
    assert!(code == Some(1) && said.contains("`orders rebuild`") && said.contains("`orders inputs again"), "{code:?} {said}");
    pool.close().await;
}

/// Goods that stay set aside for longer than an order takes are an alarm, which ends with the order. Nothing waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn old_reservations_alarm() {
    let own = kit::open_with(&[("inventory", "FARANDOLE_OWN_OVERDUE_AFTER", "1s")]).await;
    own.receive("11111", 10).await;
    let order = own.place("11111", 4, "tok_a").await;
    own.until(&order, "confirmed").await;
    let alarm = async || {
        let metrics =
            own.client.get(format!("{}/metrics", own.shop.url("inventory"))).send().await.unwrap().text().await.unwrap();
        let line = metrics.lines().find(|line| line.starts_with("farandole_alarm{")).unwrap_or_default().to_owned();
        let (status, ready) = own.get("inventory", "/readyz").await;
        (line, status.as_u16(), ready.to_string().contains("GET /reservations/overdue"))
    };
    let raised = ("farandole_alarm{alarm=\"reservations_overdue\"} 1".to_owned(), 200, true);
    kit::eventually("the alarm", async || (alarm().await == raised).then_some(())).await;
    let (_, list) = own.get("inventory", "/reservations/overdue").await;
    assert_eq!(list["reservations"][0]["order_id"], order, "{list}");
    own.post("orders", &format!("/orders/{order}/cancel"), None, "{}").await;
    let over = ("farandole_alarm{alarm=\"reservations_overdue\"} 0".to_owned(), 200, false);
    kit::eventually("the alarm to end", async || (alarm().await == over).then_some(())).await;
    assert!(own.said("inventory").contains("GET /reservations/overdue"), "the log says when it begins");
}
