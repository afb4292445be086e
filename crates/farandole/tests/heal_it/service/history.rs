//! A database that is set back under a service, or before it starts: nothing is decided on it.

use super::*;

/// What the database has decided.
async fn rows(shop: &Shop) -> i64 {
    let pool = shop.pool().await;
    let rows = sqlx::query_scalar("select count(*) from farandole.outbox").fetch_one(&pool).await.unwrap();
    pool.close().await;
    rows
}

/// Asks until the answer is this, under one key: sessions may just have died.
async fn answered(shop: &mut Shop, till: &Running, name: &str, key: &str, status: u16) {
    eventually(name, PATIENCE, async || shop.ask(till, name, (key, "tea", 5), true).await.0 == status).await;
    shop.counts(key, "tea", 5);
}

/// O3. A backup holds a lease that has time left: the service that starts on it said that it was
/// ready as a stand-by, decided what it heard again, and made each effect again, until the lease was over. Guard: a stand-by compares
/// the database with the topics by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_within_its_lease_decides_nothing() {
    let mut shop = Shop::new().await;
    shop.config.relay.lease = Duration::from_secs(3_600);
    let till = shop.start(Missing::Make).await.ready().await;
    shop.sell("before", "jar", DEAR).await;
    let insured = |n: usize, shop: &Shop| {
        let insurer = shop.insurer.clone();
        async move { eventually("the jars to be insured", PATIENCE, async || insurer.keys().len() >= n).await }
    };
    insured(1, &shop).await;
    shop.all_counted().await;
    shop.copy(&shop.database.name, &shop.backup()).await;
    for i in 0..5 {
        shop.sell(&format!("k{i}"), "jar", DEAR).await;
    }
    insured(6, &shop).await;
    shop.all_counted().await;
    till.stop().await;
    let keys = shop.insurer.keys();

    shop.copy(&shop.backup(), &shop.database.name).await;
    let before = rows(&shop).await;
    let till = shop.start(Missing::Refuse).await;
    let until = Instant::now() + PATIENCE;
    while !till.task.is_finished() {
        let ready = reqwest::get(format!("{}/readyz", till.url)).await;
        assert!(!ready.is_ok_and(|answer| answer.status().is_success()), "ready on a database that was set back");
        assert!(Instant::now() < until, "it refuses long before the lease is over");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let said = till.refuses().await;
    assert!(said.contains("`till heal`"), "{said}");
    assert_eq!((rows(&shop).await, shop.insurer.keys()), (before, keys), "nothing is decided again, and no effect made");
}

/// O3. The database is set back under a running service, by a copy put in its place or by rows put back in place: its sessions go
/// on, or come again at once. Guard: each deciding transaction looks whether the database is the one that was compared.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_set_back_under_a_service_decides_nothing() {
    for in_place in [false, true] {
        let mut shop = Shop::new().await;
        let till = shop.start(Missing::Make).await.ready().await;
        answered(&mut shop, &till, "before", "k0", 201).await;
        shop.all_counted().await;
        let pool = shop.pool().await;
        if in_place {
            let tables = ["farandole.steps", "farandole.outbox", "farandole.idempotency", "tills", "articles"];
            let copy = |table: &str| format!("create table {}_b as table {table};", table.replace('.', "_"));
            pool.execute(AssertSqlSafe(tables.map(copy).concat())).await.unwrap();
            answered(&mut shop, &till, "since", "k1", 201).await;
            shop.all_counted().await;
            let back = |table: &str| {
                let (name, identity) =
                    (table.replace('.', "_"), if table.ends_with("outbox") { "overriding system value" } else { "" });
                format!("delete from {table}; insert into {table} {identity} table {name}_b;")
            };
            let back = format!("begin; {} commit", tables.map(back).concat());
            pool.execute(AssertSqlSafe(back)).await.unwrap();
        } else {
            shop.copy(&shop.database.name, &shop.backup()).await;
            // A restart that lost nothing costs a comparison and no more.
            answered(&mut shop, &till, "since", "k1", 201).await;
            shop.all_counted().await;
            shop.copy(&shop.backup(), &shop.database.name).await;
        }
        let until = Instant::now() + PATIENCE;
        for n in 0.. {
            if till.task.is_finished() {
                break;
            }
            assert!(Instant::now() < until, "it refuses in time");
            let post = reqwest::Client::new().post(format!("{}/sell/again/tea/1", till.url));
            if let Ok(answer) = post.header("Idempotency-Key", format!("again-{n}")).send().await {
                assert_ne!(answer.status(), 201, "decided on a database that was set back");
            }
        }
        let said = till.refuses().await;
        assert!(said.contains("`till heal`"), "{said}");
        let again: i64 = sqlx::query_scalar("select count(*) from farandole.outbox where aggregateid = 'again'")
            .fetch_one(&shop.pool().await)
            .await
            .unwrap();
        assert_eq!(again, 0, "in place: {in_place}");
        pool.close().await;
    }
}
