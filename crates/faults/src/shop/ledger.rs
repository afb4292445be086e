//! What the shop's callers were told: the truth that no crash of the shop can touch. Pure.

use std::collections::{BTreeMap, BTreeSet};

use audit::Check;
use audit::facts::{End, Facts};
use uuid::Uuid;

/// What was acknowledged.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// The orders acknowledged under each idempotency key: one, however often it was asked.
    pub orders: BTreeMap<String, BTreeSet<Uuid>>,
    /// Orders of which a cancellation was acknowledged.
    pub cancelled: BTreeSet<Uuid>,
    /// Pieces received by SKU.
    pub received: BTreeMap<String, i64>,
    /// Requests that were never answered, or refused although nothing was wrong with them.
    pub failed: Vec<String>,
    /// Answers by status, and requests without one.
    pub answers: BTreeMap<String, u64>,
}

impl Ledger {
    /// Counts an answer.
    pub fn answered(&mut self, with: impl ToString) {
        *self.answers.entry(with.to_string()).or_default() += 1;
    }

    /// How many orders were acknowledged.
    pub fn placed(&self) -> usize {
        self.orders.values().flatten().collect::<BTreeSet<_>>().len()
    }

    /// What the callers were told, against what the topics say.
    pub fn check(&self, facts: &Facts) -> Vec<Check> {
        vec![self.answered_all(), self.placed_once(facts), self.cancellations(facts), self.receipts(facts)]
    }

    fn answered_all(&self) -> Check {
        let mut check = Check::new("every request was answered in the end, and none refused");
        check.checked = self.orders.len();
        for failed in &self.failed {
            check.that(false, || failed.clone());
        }
        check
    }

    fn placed_once(&self, facts: &Facts) -> Check {
        let mut check = Check::new("every acknowledged order is in the topic, one a key, and ended");
        for (key, ids) in &self.orders {
            check.that(ids.len() == 1, || format!("key {key} gave {ids:?}"));
            for id in ids {
                let order = facts.orders.get(id).filter(|order| order.placed.is_some());
                let end = order.map(|order| order.end());
                check.that(!matches!(end, None | Some(End::Open | End::Twice)), || format!("order {id} of key {key}: {end:?}"));
            }
        }
        check
    }

    fn cancellations(&self, facts: &Facts) -> Check {
        let mut check = Check::new("every acknowledged cancellation is in the topic");
        for id in &self.cancelled {
            let end = facts.orders.get(id).map(|order| order.end());
            check.that(end == Some(End::Cancelled), || format!("order {id}: {end:?}"));
        }
        check
    }

    fn receipts(&self, facts: &Facts) -> Check {
        let mut check = Check::new("stock received is what was acknowledged, each receipt once");
        for (sku, received) in &self.received {
            let there = facts.stock.get(sku).map_or(0, |stock| stock.received);
            check.that(there == *received, || format!("{sku}: {received} acknowledged, the topic has {there}"));
        }
        check.that(facts.stock.len() == self.received.len(), || format!("{} SKUs in the topic", facts.stock.len()));
        check
    }
}

#[cfg(test)]
mod tests {
    use audit::facts::{Order, Stock};

    use super::*;

    fn world() -> (Ledger, Facts) {
        let (kept, cancelled) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut ledger = Ledger::default();
        ledger.orders.insert("a".into(), [kept].into());
        ledger.orders.insert("b".into(), [cancelled].into());
        ledger.cancelled.insert(cancelled);
        ledger.received.insert("tea".into(), 10);
        let mut facts = Facts::default();
        facts.orders.insert(kept, Order { placed: Some(1), confirmed: Some(2), ..Order::default() });
        facts.orders.insert(cancelled, Order { placed: Some(1), confirmed: Some(2), cancelled: 1, ..Order::default() });
        facts.stock.insert("tea".into(), Stock { received: 10, reserved: 3 });
        (ledger, facts)
    }

    fn violated(ledger: &Ledger, facts: &Facts) -> Vec<usize> {
        ledger.check(facts).iter().map(|check| check.violations).collect()
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_seen() {
        let (ledger, facts) = world();
        assert_eq!(violated(&ledger, &facts), [0, 0, 0, 0]);

        let (ledger, mut lost) = world();
        lost.orders.remove(&Uuid::from_u128(1));
        assert_eq!(violated(&ledger, &lost), [0, 1, 0, 0], "an order is gone");

        let (ledger, mut open) = world();
        open.orders.insert(Uuid::from_u128(1), Order { placed: Some(1), ..Order::default() });
        assert_eq!(violated(&ledger, &open), [0, 1, 0, 0], "an order never ended");

        let (ledger, mut undone) = world();
        undone.orders.insert(Uuid::from_u128(2), Order { placed: Some(1), confirmed: Some(1), ..Order::default() });
        assert_eq!(violated(&ledger, &undone), [0, 0, 1, 0], "a cancellation is gone");

        let (ledger, mut doubled) = world();
        doubled.stock.insert("tea".into(), Stock { received: 20, reserved: 3 });
        assert_eq!(violated(&ledger, &doubled), [0, 0, 0, 1], "a receipt was applied twice");
    }

    #[test]
    fn a_key_that_gave_two_orders_is_seen() {
        let (mut ledger, mut facts) = world();
        let second = Uuid::from_u128(3);
        ledger.orders.entry("a".into()).or_default().insert(second);
        facts.orders.insert(second, Order { placed: Some(1), rejected: 1, ..Order::default() });
        assert_eq!(violated(&ledger, &facts), [0, 1, 0, 0]);
    }

    #[test]
    fn a_request_without_an_answer_is_seen() {
        let (mut ledger, facts) = world();
        ledger.failed.push("order c: no answer".into());
        assert_eq!(violated(&ledger, &facts), [1, 0, 0, 0]);
    }
}
