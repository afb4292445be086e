//! One aggregate's rows, compared with its events and mended, beside the service.

use super::*;

impl Shop {
    async fn aggregate(&self, id: &str, execute: bool) -> Result<farandole::rebuild::AggregateReport, service::Error> {
        let choices = farandole::heal::Choices::default();
        service(self.insurer.clone()).rebuild_aggregate(&self.config, id, execute, &choices, None).await
    }
}

/// D13. An aggregate's row that isn't what its events made of it is named, with both versions, and mended alone: other rows, which differ too,
/// stay as they are, and so do those that several aggregates change. Equal rows cost those who decide nothing.
///
/// Guards: tables whose rows others change are left out. Without, the sum of all tills would be replaced by what one of them sold. What has no
/// schema is a temporary table, whatever `search_path` a role has. Without, rows are written to the live one.
#[tokio::test(flavor = "multi_thread")]
async fn one_aggregate_is_compared_and_mended() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    for i in 0..60 {
        shop.sell(&format!("k{}", i % 7), if i % 2 == 0 { "tea" } else { "cups" }, 20 + i).await;
    }
    // A till whose name is an article's: that row of `articles` isn't its own.
    shop.sell("tea", "tea", 5).await;
    shop.all_counted().await;
    let pool = shop.pool().await;
    let path = format!("alter role \"{}\" set search_path = public, pg_temp", shop.database.role);
    pool.execute(AssertSqlSafe(path)).await.unwrap();
    let wanted = state(&pool).await;

    let equal = shop.aggregate("k3", true).await.unwrap();
    assert_eq!((equal.differences(), equal.pause, equal.mended), (0, None, false), "{equal}");
    assert_eq!((equal.tables.len(), equal.tables[0].live, equal.tables[0].rebuilt), (1, 1, 1), "{equal}");
    assert!(equal.events >= 16 && equal.shared == ["articles"], "{equal}");

    pool.execute("update tills set total = total + 1 where key in ('k3', 'k4'); delete from tills where key = 'k5'")
        .await
        .unwrap();
    pool.execute("update articles set sold = sold + 1; insert into tills values ('nobody', 1, 1)").await.unwrap();
    let found = shop.aggregate("k3", false).await.unwrap();
    assert_eq!((found.differences(), found.mended, found.pause.is_some()), (1, false, true), "{found}");
    let said = found.to_string();
    let total = wanted.0.get("k3").unwrap().0;
    let words = format!("tills k3\n  total: live {}, rebuilt {total}\n  last event of its aggregate: test.Counted", total + 1);
    assert!(said.contains(&words) && said.contains("--execute --reason"), "{said}");
    assert!(said.contains("articles: not compared, since events of several aggregates change its rows"), "{said}");
    let mended = shop.aggregate("k3", true).await.unwrap();
    assert_eq!((mended.differences(), mended.mended), (1, true), "{mended}");
    let (tills, articles) = state(&pool).await;
    assert_eq!(tills.get("k3"), wanted.0.get("k3"));
    assert_eq!(tills.get("k4").map(|till| till.0), wanted.0.get("k4").map(|till| till.0 + 1), "it wasn't asked for");
    assert_eq!(articles.get("all"), wanted.1.get("all").map(|all| all + 1).as_ref());
    // A row that is gone comes back, one that no event made goes.
    assert!(shop.aggregate("k5", true).await.unwrap().mended);
    assert!(shop.aggregate("nobody", true).await.unwrap().mended);
    let tills = state(&pool).await.0;
    assert_eq!((tills.get("k5"), tills.get("nobody")), (wanted.0.get("k5"), None));
    // The article of the same name is what all tills make of it, also where it happens to be what this till alone would.
    pool.execute("update articles set sold = 5 where article = 'tea'").await.unwrap();
    let both = shop.aggregate("tea", true).await.unwrap();
    assert_eq!((both.differences(), both.tables.len()), (0, 1), "{both}");
    let refused = shop.aggregate("never", true).await.unwrap_err();
    let said = farandole::engine::chain_of(&refused);
    assert!(said.contains("has no event of `never`, and no table a row of it"), "{said}");
    // It goes on as if nothing had been.
    pool.execute(AssertSqlSafe(format!("update articles set sold = {} where article = 'tea'", wanted.1["tea"] + 1)))
        .await
        .unwrap();
    pool.execute("update articles set sold = sold - 1; update tills set total = total - 1 where key = 'k4'").await.unwrap();
    shop.sell("k3", "tea", 7).await;
    shop.all_counted().await;
    till.stop().await;
    pool.close().await;
}

/// D13. Folding publishes nothing, calls nobody and sends nothing: while the service stands still, each way to fold its events leaves its topics,
/// its outbox and whom it calls as they were, although an event among them asks for a call.
///
/// Guard: what folds holds neither producer nor effect handler, by its types. Without, a rebuild would ask the insurer a second time.
#[tokio::test(flavor = "multi_thread")]
async fn folding_publishes_nothing_and_calls_nobody() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.sell("k0", "tea", 3).await;
    shop.sell("k0", "jar", DEAR).await;
    shop.all_counted().await;
    let pool = shop.pool().await;
    eventually("the jar to be insured", PATIENCE, async || {
        state(&pool).await.0.get("k0").is_some_and(|till| till.1 == DEAR) && unsent(&pool).await == 0
    })
    .await;
    till.stop().await;
    let stands = async || {
        let own = format!("{}till", shop.config.topics.prefix);
        let ends = [shop.extents(&own).await, shop.extents(&format!("{own}.journal")).await];
        let rows = "select (select count(*) from farandole.outbox), (select count(*) from farandole.tasks)";
        let rows: (i64, i64) = sqlx::query_as(rows).fetch_one(&pool).await.unwrap();
        (ends, rows, shop.insurer.calls.lock().unwrap().len())
    };
    let before = stands().await;
    assert_eq!(before.2, 1, "the jar was insured once");
    let (service, options) = (|| service(shop.insurer.clone()), farandole::rebuild::Options::default);
    let verify = farandole::rebuild::Options { verify: true, ..options() };
    assert_eq!(service().rebuild(&shop.config, verify).await.unwrap().differences(), 0);
    let until = farandole::rebuild::Options { until: Some(farandole::rebuild::Until::Number(2)), ..options() };
    assert!(service().rebuild(&shop.config, until).await.unwrap().events > 0);
    let execute = farandole::rebuild::Options { verify: true, execute: true, ..options() };
    assert!(service().rebuild(&shop.config, execute).await.unwrap().replaced.is_some());
    assert_eq!(shop.aggregate("k0", true).await.unwrap().differences(), 0);
    assert_eq!(stands().await, before);
    pool.close().await;
}

/// By another number of partitions a key's events are looked for where they aren't. Guard: the number that was published with. Without, "no event
/// is of it" is told, and a right row deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_given_partitions_mends_nothing() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    for i in 0..8 {
        shop.sell(&format!("k{i}"), "tea", 1).await;
    }
    shop.all_counted().await;
    till.stop().await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &shop.config.kafka.bootstrap).create().unwrap();
    let own = format!("{}till", shop.config.topics.prefix);
    let more = rdkafka::admin::NewPartitions::new(&own, 5);
    admin.create_partitions([&more], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let pool = shop.pool().await;
    let before = state(&pool).await;
    for i in 0..8 {
        let refused = shop.aggregate(&format!("k{i}"), true).await.unwrap_err();
        let said = farandole::engine::chain_of(&refused);
        assert!(said.contains("has 5 partitions, and was published to with 3"), "{said}");
    }
    assert_eq!(state(&pool).await, before);
    pool.close().await;
}
