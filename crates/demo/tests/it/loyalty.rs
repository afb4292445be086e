//! The example service, beside the shop and unknown to it.

use serde_json::json;
use stage::Stage;

use crate::kit;

/// It hears what was said before it first ran, and what is said later; a restart counts nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_ones_own_joins_the_shop() {
    let mut parts = kit::parts().await;
    let sandbox = Stage::shared().sandbox().await.unwrap();
    parts.databases.insert("loyalty", sandbox.database("loyalty").await.unwrap());
    let mut own = kit::closed(parts);
    own.shop.start_standins().await.unwrap();
    own.start().await;
    own.receive("11111", 100).await;
    own.place("11111", 4, "tok_a").await;

    own.shop.spawn("loyalty").unwrap();
    own.shop.ready("loyalty").await.unwrap();
    let points = async |n: i64| {
        kit::eventually(&format!("{n} points"), async || {
            let (_, answer) = own.get("loyalty", "/customers/c1/points").await;
            (answer == json!({ "customer": "c1", "points": n })).then_some(())
        })
        .await;
    };
    // Four pieces at 2.50.
    points(10).await;
    own.place("11111", 2, "tok_a").await;
    points(15).await;
    own.shop.restart("loyalty").await.unwrap();
    own.place("11111", 2, "tok_a").await;
    points(20).await;

    let pool = own.shop.pool("loyalty").await.unwrap();
    let earned: i64 = sqlx::query_scalar("select count(*) from farandole.outbox where type = 'farandole.loyalty.PointsEarned'")
        .fetch_one(&pool)
        .await
        .unwrap();
    pool.close().await;
    assert_eq!(earned, 3, "one PointsEarned an order");
}
