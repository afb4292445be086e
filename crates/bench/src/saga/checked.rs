//! Whether all of it is right: a fast shop that loses an order, or authorises a card twice, is no result.

use std::collections::HashMap;

use anyhow::ensure;
use uuid::Uuid;

use super::timeline::{Step, Timeline};

/// Each order that was taken is on the topics, told once at each step, and authorised once.
///
/// # Errors
/// When one isn't.
pub fn confirmed(timeline: &Timeline, cards: &HashMap<Uuid, i64>, placed: u64) -> anyhow::Result<()> {
    let orders = timeline.orders.len() as u64;
    ensure!(orders == placed, "{placed} orders were taken, the topics have {orders}");
    ensure!(cards.len() as u64 == placed, "{placed} orders were taken, the acquirer authorised {}", cards.len());
    for (id, order) in &timeline.orders {
        for step in [Step::Placed, Step::Reserved, Step::Requested, Step::Authorised, Step::Confirmed] {
            let told = order.at(step).told;
            ensure!(told == 1, "order {id} was told to be {step:?} {told} times");
        }
        ensure!(order.refused == 0, "order {id} was confirmed and refused");
        ensure!(cards.contains_key(id), "order {id} was confirmed, and the acquirer doesn't know it");
    }
    Ok(())
}
