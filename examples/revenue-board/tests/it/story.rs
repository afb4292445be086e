//! Killed again and again, analytics reports every day right, and each report is one record that the board applies once.

use uuid::Uuid;

use crate::python::{Analytics, moment, there};
use crate::shop::{Shop, eventually};

const ROUNDS: usize = 5;
const ORDERS: usize = 100;
/// Of each round, and no other, and so many that most have one order: a report that is lost isn't made good by a later one of the same day.
const DAYS: i64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_reports_every_day_right_and_once() {
    if !there() {
        return;
    }
    let (seed, _) = Uuid::new_v4().as_u64_pair();
    println!("seed {seed}");
    let mut shop = Shop::open(seed).await;
    let mut analytics = Analytics::new(&shop);
    for round in 0..ROUNDS {
        shop.days = shop.days.end..shop.days.end + DAYS;
        // Some orders wait for it, some come while it is at work.
        shop.trade(ORDERS).await;
        let before = shop.published().await.len();
        analytics.start();
        for _ in 0..5 {
            shop.trade(ORDERS / 5).await;
        }
        // Killed a moment after its start, or after it has begun to read, or after it has reported something new.
        match round % 3 {
            0 => {}
            1 => analytics.reads().await,
            _ => eventually("a report", async || shop.published().await.len() > before).await,
        }
        let wait = moment(&mut |most| shop.random(most));
        tokio::time::sleep(wait).await;
        analytics.kill();
    }
    analytics.start();
    shop.settled().await;
    // What is due is published before it ends.
    analytics.stop().await;
    assert_eq!(shop.shown().await, shop.truth);
    assert_eq!(analytics.told(&["parked"]), "");

    let chains = shop.verified().await;
    assert_eq!(chains.len(), 1, "{chains:?}");
    assert_eq!((&chains[0]["source"], &chains[0]["lineage"]), (&"/farandole/analytics".into(), &1.into()));
    let links = chains[0]["links"].as_i64().unwrap();
    assert!(links > ROUNDS as i64, "{chains:?}");
    let published = shop.published().await;
    let mut numbers: Vec<i64> = published.iter().map(|(_, number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=links).collect::<Vec<_>>(), "no number is left out");
    eventually("the board to have every report", async || shop.reports().await == links).await;
    println!("{links} reports, {} sent twice", published.len() as i64 - links);
}
