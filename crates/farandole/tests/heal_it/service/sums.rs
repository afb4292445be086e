//! Rows that are sums of several aggregates' events, with a constraint that the sum keeps to at every moment.

use super::*;

/// F54. What comes in goes out again, each time under another key, so that the two lie in partitions of their own; more never goes out than
/// came in, and a constraint says so. Healed, the database has taken it all in.
///
/// Guard: the order of the numbers. Without, partitions are folded one after the other, what went out may come before what came in, and
/// the constraint ends each heal.
#[tokio::test(flavor = "multi_thread")]
async fn a_heal_keeps_to_constraints_on_sums() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.sell("k0", "tea", 1).await;
    shop.all_counted().await;
    let pool = shop.pool().await;
    sqlx::query("alter table articles add check (sold >= 0)").execute(&pool).await.unwrap();
    pool.close().await;
    till.stop().await;
    shop.copy(&shop.database.name, &shop.backup()).await;

    let till = shop.start(Missing::Refuse).await.ready().await;
    for i in 0..24 {
        shop.sell(&format!("k{i}"), "cups", 50 + i).await;
        shop.sell(&format!("k{}", (i + 7) % 24), "cups", -50 - i).await;
    }
    shop.all_counted().await;
    let pool = shop.pool().await;
    let before = state(&pool).await;
    pool.close().await;
    till.stop().await;

    shop.copy(&shop.backup(), &shop.database.name).await;
    let healed = shop.heal(Mode::Execute).await.unwrap();
    let folded: Vec<u64> = healed.partitions.iter().filter(|p| p.folded).map(|p| p.missing).collect();
    assert!(folded.len() > 1 && folded.iter().sum::<u64>() == 2 * 48, "{healed}");
    let pool = shop.pool().await;
    assert_eq!(state(&pool).await, before);
    pool.close().await;
    let till = shop.start(Missing::Refuse).await.ready().await;
    shop.sell("k1", "cups", 3).await;
    shop.all_counted().await;
    till.stop().await;
}
