//! What no event fills: columns that a service fills by itself, and those that nobody does.

use std::sync::atomic::{AtomicBool, Ordering};

use farandole::rebuild::Options;

use super::*;

const EXECUTE: Options = Options { verify: true, execute: true, ..Options::DEFAULT };

/// D13. A column that no event fills is filled by the service's own function once tables are in place, after a swap, a rollback and a rebuild
/// from nothing; one that holds something and that nobody says how to fill keeps the swap from being made.
///
/// Guards: the refusal; the call after each. Without, a swap that is right in every row that events make forgets what was noted by hand, and
/// empties the search.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_event_fills_is_not_forgotten() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    let pool = shop.pool().await;
    let made = "alter table articles add dozens bigint, add note text, add seen timestamptz not null default '2026-01-01Z'";
    pool.execute(made).await.unwrap();
    for i in 0..30 {
        shop.sell(&format!("k{}", i % 3), if i % 2 == 0 { "tea" } else { "cups" }, 20 + i).await;
    }
    shop.all_counted().await;
    let broken = Arc::new(AtomicBool::new(false));
    let filling = |broken: &Arc<AtomicBool>| {
        let broken = Arc::clone(broken);
        service(shop.insurer.clone()).derived("articles.dozens", move |conn| {
            // The column is no migration's here: where tables were made from nothing it isn't there yet.
            let sql = match broken.load(Ordering::Relaxed) {
                true => "select 1/0",
                false => "alter table articles add column if not exists dozens bigint; update articles set dozens = sold / 12",
            };
            Box::pin(async move { conn.execute(sql).await.map(drop) })
        })
    };
    let filled = async || -> bool {
        let sql = "select count(*) > 2 and bool_and(dozens = sold / 12) is true from articles";
        sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
    };

    // Nobody but the service knows how to fill the one; the other, with nothing in it but its default, is nobody's loss.
    pool.execute("update articles set dozens = 7 where article = 'tea'").await.unwrap();
    let refused = service(shop.insurer.clone()).rebuild(&shop.config, EXECUTE).await.unwrap_err();
    let said = farandole::engine::chain_of(&refused);
    assert!(said.contains("no event fills articles.dozens,") && said.contains("--accept-defaults"), "{said}");
    let swapped = filling(&broken).rebuild(&shop.config, EXECUTE).await.unwrap();
    assert!(swapped.replaced.is_some() && filled().await, "{swapped}");
    pool.execute("update articles set note = 'ask Anna' where article = 'tea'").await.unwrap();
    let said = farandole::engine::chain_of(&filling(&broken).rebuild(&shop.config, EXECUTE).await.unwrap_err());
    assert!(said.contains("no event fills articles.note,") && filled().await, "{said}");
    let knowing = Options { accept_defaults: true, ..EXECUTE };
    assert!(filling(&broken).rebuild(&shop.config, knowing).await.unwrap().replaced.is_some());

    // Where it fails, the tables are in place, and it can be had again.
    broken.store(true, Ordering::Relaxed);
    let said = farandole::engine::chain_of(&filling(&broken).rebuild(&shop.config, EXECUTE).await.unwrap_err());
    assert!(said.contains("`till rebuild --derived --execute`") && said.contains("division by zero"), "{said}");
    assert!(!filled().await);
    broken.store(false, Ordering::Relaxed);
    let listed = filling(&broken).fill_derived(&shop.config, false, None).await.unwrap();
    assert_eq!((listed.what, listed.done, filled().await), (vec!["articles.dozens".to_owned()], false, false));
    assert!(filling(&broken).fill_derived(&shop.config, true, None).await.unwrap().done && filled().await);

    // Those that were replaced are from before that.
    assert!(filling(&broken).roll_back(&shop.config, true, false, None).await.unwrap().done && filled().await);
    let tables = state(&pool).await;
    shop.all_counted().await;
    till.stop().await;
    pool.close().await;
    shop.lose().await;
    assert!(filling(&broken).rebuild_from_nothing(&shop.config, true, None).await.unwrap().done);
    let pool = shop.pool().await;
    let sql = "select bool_and(dozens = sold / 12) is true from articles";
    assert!(sqlx::query_scalar::<_, bool>(sql).fetch_one(&pool).await.unwrap());
    assert_eq!(state(&pool).await, tables);
    pool.close().await;
}
