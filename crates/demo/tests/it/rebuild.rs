//! An operator gets a service's tables back from its topic, with its own binary, beside the shop.

use demo::shop::CORE;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::kit;

/// D13. Rebuilt beside the running shop, the tables of each service are those that it has, and are swapped in; a row that somebody changed
/// is named, with exit code 1, and a swap brings it back.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_rebuilds_each_service_beside_the_shop() {
    let own = kit::open_shipping("100ms").await;
    own.receive("11111", 30).await;
    let mut orders = Vec::new();
    for customer in ["c1", "c2", "lost-1"] {
        orders.push(own.place_for(customer, "11111", 2).await);
    }
    for order in &orders {
        own.until(order, "completed").await;
    }
    kit::eventually("the goods to be shipped", async || (own.stock("11111").await == (30, 0)).then_some(())).await;
    for service in CORE {
        let (code, printed, said) = own.ask(service, &["rebuild", "--verify"]).await;
        assert_eq!(code, Some(0), "{service}: {printed}{said}");
        assert!(printed.contains("rows, equal") && printed.contains("the live tables are as they were"), "{printed}");
    }
    let mut stock = PgConnection::connect(&own.shop.parts.databases["inventory"].url).await.unwrap();
    stock.execute("update stock set received = received + 1").await.unwrap();
    let (code, printed, said) = own.ask("inventory", &["rebuild", "--verify", "--execute"]).await;
    assert_eq!(code, Some(1), "{printed}{said}");
    assert!(
        printed.contains("stock: 1 live, 1 rebuilt, 1 differ")
            && printed.contains("stock 11111\n  received: live 31, rebuilt 30\n"),
        "{printed}"
    );
    assert_eq!(own.stock("11111").await, (31, 0), "nothing was swapped");
    let (code, printed, said) = own.ask("inventory", &["rebuild", "--execute"]).await;
    assert_eq!(code, Some(0), "{printed}{said}");
    assert!(printed.contains("the rebuilt tables are live; those before are in schema farandole_replaced_"), "{printed}");
    assert_eq!(own.stock("11111").await, (30, 0));

    // The service goes on in them, under the constraints that they had.
    let order = own.place("11111", 4, "tok_a").await;
    own.until(&order, "completed").await;
    kit::eventually("the goods to be shipped", async || {
        let (_, stock) = own.get("inventory", "/stock/11111").await;
        (stock["shipped"] == 10 && stock["available"] == 20).then_some(())
    })
    .await;
    let refused = stock.execute("update stock set reserved = received - shipped + 1").await.unwrap_err();
    assert!(refused.to_string().contains("check constraint"), "{refused}");
    stock.close().await.unwrap();
    let (code, printed, _) = own.ask("inventory", &["rebuild", "--clean", "--output", "json"]).await;
    let left: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (code, left["schemas"].as_array().unwrap().len(), &left["dropped"]),
        (Some(0), 1, &serde_json::json!(false)),
        "{left}"
    );
}
