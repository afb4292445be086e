//! The importer against a real shop.

use crate::kit;

const FILE: &str = "\
InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
536365,71053,LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom
536366,22633,WARMER,6,2010-12-01 08:28:00,1.85,17851.0,United Kingdom
536367,84879,BIRD,-1,2010-12-01 08:34:00,1.69,13047.0,United Kingdom
";

/// A second run, and one after a crash, places nothing twice and receives nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_may_be_started_again() {
    let own = kit::open().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("orders.csv");
    std::fs::write(&data, FILE).unwrap();
    let mut received = Vec::new();
    for _ in 0..2 {
        let options = importer::Options {
            data: data.clone(),
            orders: own.shop.url("orders"),
            inventory: own.shop.url("inventory"),
            concurrency: 4,
            rate: None,
            scripted_cancels: 0,
            refused: None,
            progress: false,
            placed: None,
        };
        let account = importer::run(options).await.unwrap();
        assert_eq!((account.rows_read, account.rows_taken, account.rows_turned_away), (4, 3, 1));
        assert_eq!(account.placed, 2);
        received.push(own.stock("71053").await.0);
    }
    let pool = own.shop.pool("orders").await.unwrap();
    let orders: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(orders, 2);
    assert!(received[0] > 0 && received[0] == received[1], "demand is received once: {received:?}");
}
