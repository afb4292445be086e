//! A build that makes other rows of the same events.

use farandole::rebuild::Options;

use super::*;
use crate::till::changed;

/// G30. What the fold makes of the topic's first events is kept beside the tables. A build whose fold is another one says so and doesn't start; a
/// rebuild shows exactly the rows that differ, and swaps them in only when told to; or the tables stay, when somebody says so.
///
/// Guard: the look at the start. Without, the tables hold what neither of the two builds has made, and nothing says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_fold_that_was_changed_is_noticed() {
    let mut shop = Shop::new().await;
    shop.start(Missing::Make).await.ready().await.stop().await;
    // Nothing was there to be kept; nor does a build that never decided leave anything.
    let other = || changed(shop.insurer.clone());
    shop.start_as(other(), Missing::Refuse).await.ready().await.stop().await;
    let till = shop.start(Missing::Refuse).await.ready().await;
    for (article, n) in [("tea", 3), ("cups", 4), ("tea", 5)] {
        shop.sell("k1", article, n).await;
    }
    shop.sell("insured", "jar", DEAR).await;
    shop.all_counted().await;
    till.stop().await;
    shop.start(Missing::Refuse).await.ready().await.stop().await;

    let other = || changed(shop.insurer.clone());
    let said = shop.start_as(other(), Missing::Refuse).await.refuses().await;
    for part in ["articles tea: sold was 8, would be 16", "(2 difference(s))", "`till rebuild --accept-fold"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(said.contains("what follows from event") && said.contains("Counted: was Open { kind: Effect"), "{said}");
    let same = service_report(&shop).await;
    assert_eq!((same.count, same.accepted), (0, false), "{same}");

    // A rebuild by the other build shows the rows, and doesn't swap them in by itself.
    let verify = Options { verify: true, ..Options::default() };
    let execute = Options { verify: true, execute: true, ..Options::default() };
    let pool = shop.pool().await;
    let live = state(&pool).await;
    let found = other().rebuild(&shop.config, verify).await.unwrap();
    // Exactly this row, in both versions; the others are compared as well.
    let row = |sold: i64| Some(serde_json::json!({ "article": "tea", "sold": sold }));
    let shown: Vec<_> = found.tables.iter().flat_map(|table| &table.examples).collect();
    assert_eq!(shown.iter().map(|e| (e.key.as_str(), &e.live, &e.rebuilt)).collect::<Vec<_>>(), [("tea", &row(8), &row(16))]);
    let counts: Vec<_> = found.tables.iter().map(|table| (&*table.table, table.live, table.rebuilt, table.different)).collect();
    assert_eq!(counts, [("tills", 2, 2, 0), ("articles", 4, 4, 1)], "{found}");
    let refused = other().rebuild(&shop.config, execute).await.unwrap();
    assert_eq!((refused.replaced, state(&pool).await), (None, live.clone()), "it isn't swapped in by itself");
    let swapped = other().rebuild(&shop.config, Options { accept_differences: true, ..execute }).await.unwrap();
    assert!(swapped.replaced.is_some(), "{swapped}");
    let mut expected = live;
    expected.1.insert("tea".to_owned(), 16);
    assert_eq!(state(&pool).await, expected);
    pool.close().await;
    // The tables are its own now.
    shop.start_as(other(), Missing::Refuse).await.ready().await.stop().await;
    let said = shop.start(Missing::Refuse).await.refuses().await;
    assert!(said.contains("articles tea: sold was 16, would be 8"), "{said}");
    let dry = service(shop.insurer.clone()).accept_fold(&shop.config, false, None).await.unwrap();
    assert_eq!((dry.count, dry.accepted), (2, false), "{dry}");
    shop.start(Missing::Refuse).await.refuses().await;
    // Back in the tables of before, with what they were folded by.
    service(shop.insurer.clone()).roll_back(&shop.config, true, true, None).await.unwrap();
    shop.start(Missing::Refuse).await.ready().await.stop().await;
    let accepted = other().accept_fold(&shop.config, true, None).await.unwrap();
    assert_eq!((accepted.count, accepted.accepted), (2, true), "{accepted}");
    shop.start_as(other(), Missing::Refuse).await.ready().await.stop().await;
}

async fn service_report(shop: &Shop) -> farandole::service::FoldReport {
    service(shop.insurer.clone()).accept_fold(&shop.config, false, None).await.unwrap()
}
