//! Mail is told afterwards, and holds nobody up. Needs what `scripts/install --mail` builds.

use std::time::Instant;

use audit::books;
use stage::{Options, Stage};

use crate::kit::{self, Own};

/// Orders at a time.
const ORDERS: usize = 20;

/// Places orders, waits until each is confirmed, and gives the longest that one took, in milliseconds.
async fn confirmed(own: &Own, orders: &mut Vec<String>) -> u128 {
    let mut longest = 0;
    for _ in 0..ORDERS {
        let began = Instant::now();
        let order = own.place("11111", 1, "tok_a").await;
        own.until(&order, "confirmed").await;
        longest = longest.max(began.elapsed().as_millis());
        orders.push(order);
    }
    longest
}

/// Guard: nobody waits for notifications. Without, an order waits for a mail server.
#[tokio::test(flavor = "multi_thread")]
async fn no_order_waits_for_its_mails() {
    let options = Options { brokers: 0, registry: false, mail: true, ..Options::default() };
    if !stage::mail::is_built(&options.dir) {
        assert!(std::env::var_os("NEED_MAIL").is_none(), "there is no mail catcher: scripts/install --mail");
        eprintln!("there is no mail catcher (scripts/install --mail): nothing is tested");
        return;
    }
    let stage = tokio::task::spawn_blocking(|| Stage::start(options)).await.unwrap().unwrap();
    let catcher = stage.mail().to_owned();
    let mut parts = kit::parts().await;
    parts.databases.insert("notifications", Stage::shared().sandbox().await.unwrap().database("notifications").await.unwrap());
    parts.smtp = stage.smtp().to_owned();
    let mut own = kit::closed(parts);
    own.shop.start_standins().await.unwrap();
    own.start().await;
    own.receive("11111", 1_000).await;
    let mut orders = Vec::new();

    let without_notifications = confirmed(&own, &mut orders).await;
    let stage = tokio::task::spawn_blocking(move || stage.stop_part("mail").map(|()| stage)).await.unwrap().unwrap();
    own.shop.spawn("notifications").unwrap();
    own.shop.ready("notifications").await.unwrap();
    let without_mail = confirmed(&own, &mut orders).await;
    // It knows of all of them, and is killed in the middle of trying.
    own.shop.restart("notifications").await.unwrap();
    let stage = tokio::task::spawn_blocking(move || stage.start_part("mail").map(|()| stage)).await.unwrap().unwrap();
    let back = Instant::now();
    let due = 2 * orders.len(); // taken, and confirmed
    let mails = kit::eventually("all mails to arrive", async || {
        let mails = books::mails(&own.client, &catcher).await.unwrap().expect("the catcher keeps so few");
        (mails.len() >= due).then_some(mails)
    })
    .await;
    println!(
        "the longest of {ORDERS} orders took {without_notifications} ms to be confirmed without notifications, {without_mail} ms without a mail \
         server; {due} mails had arrived {} ms after it was back",
        back.elapsed().as_millis()
    );
    assert_eq!((mails.len(), mails.values().max()), (due, Some(&1)), "one a kind and order");
    for order in orders {
        kit::eventually(&format!("the mails of {order} to be told"), async || {
            let (_, told) = own.get("notifications", &format!("/notifications/{order}")).await;
            let all = told["mails"].as_array()?;
            (all.len() == 2 && all.iter().all(|mail| mail["state"] == "sent")).then_some(())
        })
        .await;
    }
    tokio::task::spawn_blocking(|| drop(stage)).await.unwrap();
}
