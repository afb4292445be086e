//! An operator's way back from a restored backup, with the orders service's own binary.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use stage::Stage;

use crate::chains;
use crate::kit::{self, Own};

/// As the server's administrator: a copy of a database is made, or put in its place.
async fn copy(from: &str, to: &str, owner: &str) {
    let mut admin = PgConnection::connect(Stage::shared().postgres()).await.unwrap();
    for sql in [
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname in ('{from}', '{to}')"),
        format!("drop database if exists \"{to}\""),
        format!("create database \"{to}\" template \"{from}\" owner \"{owner}\""),
    ] {
        admin.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    admin.close().await.unwrap();
}

async fn start(own: &Own) {
    own.shop.spawn("orders").unwrap();
    own.shop.ready("orders").await.unwrap();
}

/// D1. The service refuses and names the command; the command tells and changes nothing, refuses while the service runs, does it,
/// and finds nothing more to do; the order that the backup didn't have is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_heals_a_restored_backup() {
    let own = kit::open().await;
    own.receive("11111", 9).await;
    let known = own.place("11111", 1, "tok_a").await;
    own.until(&known, "confirmed").await;
    own.shop.end("orders").await;
    let database = own.shop.parts.databases["orders"].clone();
    let backup = format!("{}_b", database.name);
    copy(&database.name, &backup, &database.role).await;

    start(&own).await;
    let since = own.place("11111", 2, "tok_a").await;
    own.until(&since, "confirmed").await;
    let (ended, printed, said) = own.tell(&["heal"]).await;
    assert!(ended && printed.contains("nothing to do"), "all is well: {printed}{said}");
    own.shop.end("orders").await;
    copy(&backup, &database.name, &database.role).await;

    own.shop.spawn("orders").unwrap();
    kit::eventually("orders to refuse, and to name the command", async || {
        own.said("orders").contains("`orders heal`").then_some(())
    })
    .await;
    own.shop.end("orders").await;

    for _ in 0..2 {
        let (ended, printed, said) = own.tell(&["heal"]).await;
        let tells =
            printed.contains("record(s) that this database lacks") && printed.contains("apply with `orders heal --execute`");
        assert!(ended && tells, "{printed}{said}");
    }
    let (ended, printed, said) = own.tell(&["heal", "--execute", "--output", "json"]).await;
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert!(ended && report["done"] == true, "{report}{said}");
    let (ended, printed, said) = own.tell(&["heal", "--execute"]).await;
    assert!(ended && printed.contains("nothing to do"), "{printed}{said}");

    start(&own).await;
    for order in [&known, &since] {
        own.until(order, "confirmed").await;
    }
    let more = own.place("11111", 3, "tok_a").await;
    own.until(&more, "confirmed").await;
    assert_eq!(own.stock("11111").await, (9, 6));
    let reports = chains::whole(&own).await;
    let lineages: Vec<_> = reports[0]["chains"].as_array().unwrap().iter().map(|chain| chain["lineage"].as_i64()).collect();
    assert!(
        lineages.len() == 2 && lineages[0] == Some(1) && lineages[1] > Some(1),
        "the new lineage goes on where the old one ended: {lineages:?}"
    );
}
