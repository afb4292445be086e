//! What a service makes of odd inputs and tables, as a whole.

use sqlx::Executor as _;

use super::*;

/// G12. Guard: nothing at all has a name, too. Without, the journal refuses it, and one record stops its partition for good.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_about_an_empty_id_parks_alone() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    let (headers, payload) = shop.sale("", "tea", 1).await;
    shop.tills.clear();
    shop.articles.clear();
    let record = FutureRecord::to(&shop.sales).partition(0).key("a key").payload(&payload).headers(headers);
    shop.producer.send(record, PATIENCE).await.unwrap();
    shop.sell("k1", "tea", 2).await;
    shop.all_counted().await;
    let pool = shop.pool().await;
    let parked: Vec<String> = sqlx::query_scalar("select aggregate from farandole.parked").fetch_all(&pool).await.unwrap();
    assert_eq!(parked, [":hex:"]);
    pool.close().await;
    till.stop().await;
}

/// Guard: columns are looked at before anything is decided. Without, all is ready and every decision fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_not_there_is_named_at_the_start() {
    let shop = Shop::new().await;
    shop.start(Missing::Make).await.ready().await.stop().await;
    let pool = shop.pool().await;
    pool.execute("alter table articles rename sold to sould").await.unwrap();
    pool.close().await;
    let said = shop.start(Missing::Refuse).await.refuses().await;
    assert!(said.contains("table articles has no column sold: add a migration"), "{said}");
}
