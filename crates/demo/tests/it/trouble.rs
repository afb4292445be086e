//! Parts that are not there at start, deadlines, and services that are killed: it ends by itself when the trouble ends.

use std::time::Duration;

use demo::shop::CORE;
use stage::free_port;
use tokio::net::{TcpListener, TcpStream};

use crate::chains;
use crate::kit;

/// Passes connections on from `port` to `target`, from now on.
async fn open_door(port: u16, target: String) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let target = target.clone();
            tokio::spawn(async move {
                if let Ok(mut far) = TcpStream::connect(target).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
}

/// `host:port` of a URL.
fn address(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap();
    authority.rsplit('@').next().unwrap().to_owned()
}

/// F43 among others: the services wait for what isn't there, say why, and are ready when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_there_at_start() {
    let mut parts = kit::parts().await;
    let (kafka, registry, postgres) = (free_port(&[]).unwrap(), free_port(&[]).unwrap(), free_port(&[]).unwrap());
    let real_kafka = std::mem::replace(&mut parts.kafka, format!("127.0.0.1:{kafka}"));
    let real_registry = address(&parts.registry);
    parts.registry = parts.registry.replace(&real_registry, &format!("127.0.0.1:{registry}"));
    let real_postgres = address(&parts.databases["orders"].url);
    for database in parts.databases.values_mut() {
        database.url = database.url.replace(&real_postgres, &format!("127.0.0.1:{postgres}"));
    }
    let mut own = kit::closed(parts);
    own.shop.settings.push((kit::DISPATCH.0, kit::DISPATCH.1, "100ms".to_owned()));
    let acquirer = free_port(&[]).unwrap();
    let carrier = free_port(&[acquirer]).unwrap();
    own.shop.expect("acquirer", acquirer);
    own.shop.expect("carrier", carrier);
    for service in CORE {
        own.shop.spawn(service).unwrap();
    }
    // Alive, not ready, and says what it waits for; a request is told to come again.
    kit::eventually("orders to answer", async || {
        own.client.get(format!("{}/healthz", own.shop.url("orders"))).send().await.is_ok().then_some(())
    })
    .await;
    let (status, why) = own.get("orders", "/readyz").await;
    assert_eq!(status, 503, "{why}");
    let (status, _) = own.post("orders", "/orders", None, kit::order("11111", 1, "tok_a").to_string()).await;
    assert_eq!(status, 503);

    open_door(postgres, real_postgres).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    open_door(kafka, real_kafka).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    open_door(registry, real_registry).await;
    for service in CORE {
        own.shop.ready(service).await.unwrap();
    }
    // The acquirer still isn't there: the order waits for its card, and is confirmed once it is.
    own.receive("11111", 5).await;
    let order = own.place("11111", 1, "tok_a").await;
    own.until_at("payments", &order, "requested").await;
    own.shop.start_standin("acquirer", acquirer).await.unwrap();
    // Nor is the carrier: the parcel waits, and is delivered once it is.
    own.until(&order, "confirmed").await;
    own.until_at("shipping", &order, "dispatching").await;
    own.shop.start_standin("carrier", carrier).await.unwrap();
    own.until(&order, "completed").await;
}

/// F24: a service that is killed with -9 takes up where it was, and every order is delivered and paid once. Guard: position and effects are
/// one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn each_service_may_be_killed() {
    // Short leases: who takes up what a killed process had begun doesn't wait long.
    let mut settings = vec![(kit::DISPATCH.0, kit::DISPATCH.1, "100ms")];
    for service in ["payments", "shipping"] {
        settings.extend([(service, "FARANDOLE_AGENDA_TIMEOUT", "3s"), (service, "FARANDOLE_AGENDA_LEASE", "5s")]);
    }
    settings.extend(CORE.map(|service| (service, "FARANDOLE_RELAY_LEASE", "2s")));
    let own = kit::open_with(&settings).await;
    own.receive("11111", 1_000).await;
    for service in CORE {
        let mut orders = Vec::new();
        for _ in 0..20 {
            orders.push(own.place("11111", 1, "tok_a").await);
        }
        own.shop.restart(service).await.unwrap();
        for order in &orders {
            assert_eq!(own.until(order, "completed").await["reason"], "DELIVERED");
        }
    }
    kit::eventually("all stock to be counted once", async || {
        let (_, stock) = own.get("inventory", "/stock/11111").await;
        (stock["shipped"] == 80 && stock["reserved"] == 0 && stock["available"] == 920).then_some(())
    })
    .await;
    let (_, cards) = own.get("acquirer", "/totals").await;
    assert_eq!((&cards["authorisations"], &cards["by_status"]["captured"]["count"]), (&80.into(), &80.into()), "{cards}");
    let (_, parcels) = own.get("carrier", "/totals").await;
    assert_eq!((&parcels["parcels"], &parcels["by_status"]["delivered"]["count"]), (&80.into(), &80.into()), "{parcels}");
    chains::whole(&own).await;
}

/// An order that isn't confirmed within its deadline is cancelled: its stock is released, and an authorisation that comes
/// too late is voided.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_at_its_deadline() {
    let own = kit::open_with(&[("orders", "FARANDOLE_OWN_CONFIRM_WITHIN", "3s")]).await;
    own.receive("11111", 5).await;

    // Slower than the deadline: authorised in the end, when the order is no more.
    own.faults("acquirer", serde_json::json!({ "latency_ms": 6000 })).await;
    let order = own.place("11111", 2, "tok_a").await;
    let body = own.until(&order, "cancelled").await;
    assert_eq!(body["reason"], "NOT_CONFIRMED_IN_TIME", "{body}");
    kit::eventually("stock and card to be given back", async || {
        let (_, payment) = own.get("payments", &format!("/payments/{order}")).await;
        (own.stock("11111").await == (5, 0) && payment["state"] == "voided").then_some(())
    })
    .await;
}

/// As after a fail-over: for a while the server takes no writes. Guard: a session is judged by whether it can work. Without, those that were
/// opened meanwhile are kept for as long as they answer, every order is refused, and `/readyz` is green.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_for_a_while() {
    let own = kit::open().await;
    own.receive("11111", 5).await;
    let database = &own.shop.parts.databases["orders"];
    // Its own role may say so of its database; whoever connects from now on can't write.
    // One connection, from before: who can't write can't take it back either.
    let owner = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
    let set = async |what: &str| {
        let sql = format!("alter database \"{}\" {what}", database.name);
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&owner).await.unwrap();
        let others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        if what.starts_with("set") {
            sqlx::raw_sql(others).execute(&owner).await.unwrap();
        }
    };
    set("set default_transaction_read_only = on").await;
    kit::eventually("/readyz to say why", async || {
        let (status, _) = own.post("orders", "/orders", None, kit::order("11111", 1, "tok_a").to_string()).await;
        assert_eq!(status, 503);
        let (status, said) = own.get("orders", "/readyz").await;
        (status == 503 && said.to_string().contains("the database is read-only")).then_some(())
    })
    .await;
    // Guard: what troubles all is told once a minute. Without, callers that come back ten times a second fill the disk with it.
    for _ in 0..100 {
        let (status, _) = own.post("orders", "/orders", None, kit::order("11111", 1, "tok_a").to_string()).await;
        assert_eq!(status, 503);
    }
    let told = own.said("orders").lines().filter(|line| line.contains("commands not decided")).count();
    assert!((1..20).contains(&told), "{told} lines about a hundred requests");
    set("reset default_transaction_read_only").await;
    let order = kit::eventually("orders to be taken again", async || {
        let (status, order) = own.post("orders", "/orders", None, kit::order("11111", 1, "tok_a").to_string()).await;
        (status == 201).then(|| order["order_id"].as_str().unwrap().to_owned())
    })
    .await;
    own.until(&order, "confirmed").await;
    kit::eventually("/readyz to be well", async || (own.get("orders", "/readyz").await.0 == 200).then_some(())).await;
    owner.close().await;
}

/// Guards: locks have a bound, and a batch that is too large is halved. Without, on a server as installed ("out of shared memory"), five of
/// six partitions stand for as long as one waits.
#[tokio::test(flavor = "multi_thread")]
async fn large_orders_of_unknown_articles_hold_up_nobody() {
    let own = kit::open().await;
    own.receive("11111", 5).await;
    let mut orders = Vec::new();
    for n in 0..40 {
        let line = |i| serde_json::json!({ "sku": format!("U{n}-{i}"), "quantity": 1, "unit_price": 1 });
        let lines: Vec<_> = (0..5_000).map(line).collect();
        let mut order = kit::order("11111", 1, "tok_a");
        order["lines"] = lines.into();
        let (status, answer) = own.post("orders", "/orders", None, order.to_string()).await;
        assert_eq!(status, 201, "{answer}");
        orders.push(answer["order_id"].as_str().unwrap().to_owned());
    }
    let small = own.place("11111", 1, "tok_a").await;
    own.until(&small, "confirmed").await;
    for order in &orders {
        own.until(order, "rejected").await;
    }
}
