//! Whether what ran is a run that the checker allows: every decision is made again from what the topics hold, and the rows that come of it
//! are those of the tables.

use anyhow::Context as _;
use explore::{live, ran};
use farandole::table::Row;
use farandole_check::{Recording, Replayed};
use inventory::tables::{Reservation, Stock};
use notifications::tables::Notification;
use orders::tables::Order;
use payments::tables::Payment;
use shipping::tables::Shipment;
use sqlx::AssertSqlSafe;

use crate::check::Check;
use crate::sources::Sources;

/// Checks the run, and the tables against what it makes of them; gives the run back with what was parked in it. Everything must have come
/// to rest.
///
/// # Errors
/// When journals or tables can't be read.
pub async fn check(shop: &Sources, mut recording: Recording) -> anyhow::Result<(Vec<Check>, Recording)> {
    for service in shop.services() {
        live::parked(&mut recording, &shop.kafka, &shop.prefix, service).await?;
    }
    let replay = move || (ran::ran(&recording).replay(&recording), recording);
    let (replayed, recording) = tokio::task::spawn_blocking(replay).await.context("replaying ended early")?;
    let mut allowed = Check::new("every decision is one that the services make of what they had");
    allowed.checked = replayed.decisions + replayed.silent;
    for why in replayed.refused.iter().chain(&replayed.pending).chain(&replayed.vacuous) {
        allowed.checked += 1;
        allowed.that(false, || why.clone());
    }
    let mut invariants = Check::new("the invariants of the explored worlds");
    invariants.checked = replayed.invariants();
    replayed.violated().into_iter().for_each(|why| invariants.that(false, || why));
    let mut rows = Check::new("the tables are what these decisions make of them");
    same::<Order>(shop, "orders", &replayed, &mut rows).await?;
    same::<Reservation>(shop, "inventory", &replayed, &mut rows).await?;
    same::<Stock>(shop, "inventory", &replayed, &mut rows).await?;
    same::<Payment>(shop, "payments", &replayed, &mut rows).await?;
    same::<Shipment>(shop, "shipping", &replayed, &mut rows).await?;
    if shop.databases.contains_key("notifications") {
        same::<Notification>(shop, "notifications", &replayed, &mut rows).await?;
    }
    Ok((vec![allowed, invariants, rows], recording))
}

async fn same<R: Row>(shop: &Sources, service: &str, replayed: &Replayed, check: &mut Check) -> anyhow::Result<()> {
    let pool = shop.pool(service).await?;
    let sql = format!("select {} from {}", R::COLUMNS.join(", "), R::TABLE);
    let found = sqlx::query(AssertSqlSafe(sql)).fetch_all(&pool).await.with_context(|| format!("reading {}", R::TABLE))?;
    pool.close().await;
    let mut there = std::collections::BTreeMap::new();
    for row in &found {
        let row = R::from_row(row)?;
        there.insert(row.key(), row);
    }
    for row in replayed.rows::<R>() {
        let stored = there.remove(&row.key());
        check.that(stored.as_ref() == Some(&row), || format!("{}: {stored:?} is stored, {row:?} was decided", R::TABLE));
    }
    there.into_values().for_each(|row| check.that(false, || format!("{}: {row:?} is stored, and nothing led to it", R::TABLE)));
    Ok(())
}
