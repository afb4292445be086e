//! Which commits wait for the disk.

use crate::kit;

/// What a caller is told is on disk first. What comes again by itself needn't wait for that: it is read, due or asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_does_not_come_again_waits_for_the_disk() {
    let own = kit::open().await;
    let services = ["orders", "inventory", "payments", "shipping"];
    for service in services {
        let pool = own.shop.pool(service).await.unwrap();
        let note = "create table noted (type text, setting text);
             create function note() returns trigger language plpgsql as $$
             begin insert into public.noted values (new.type, current_setting('synchronous_commit')); return null; end $$;
             create trigger note after insert on farandole.outbox for each row execute function note()";
        sqlx::raw_sql(note).execute(&pool).await.unwrap();
        pool.close().await;
    }
    own.receive("11111", 10).await;
    let order = own.place("11111", 4, "tok_a").await;
    own.until(&order, "confirmed").await;
    own.post("orders", &format!("/orders/{order}/cancel"), None, "{}").await;
    own.until(&order, "cancelled").await;
    let mut noted = std::collections::BTreeMap::new();
    for service in services {
        let pool = own.shop.pool(service).await.unwrap();
        let rows: Vec<(String, String)> = sqlx::query_as("select type, setting from noted").fetch_all(&pool).await.unwrap();
        noted.extend(rows.into_iter().filter_map(|(kind, setting)| Some((kind.rsplit('.').next()?.to_owned(), setting))));
        pool.close().await;
    }
    let is = |kind: &str| noted.get(kind).map(String::as_str);
    for command in ["StockReceived", "OrderPlaced", "OrderCancellationRequested"] {
        assert_eq!(is(command), Some("on"), "{command}: {noted:?}");
    }
    for again in
        ["StockReserved", "PaymentRequested", "PaymentAuthorised", "OrderConfirmed", "ShipmentPrepared", "OrderCancelled"]
    {
        assert_eq!(is(again), Some("off"), "{again}: {noted:?}");
    }
}
