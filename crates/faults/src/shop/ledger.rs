//! What the shop's callers were told: the truth that no crash of the shop can touch. Pure.

use std::collections::{BTreeMap, BTreeSet};

use audit::facts::{End, Facts, Order};
use audit::{Check, history};
use serde_json::Value;
use uuid::Uuid;

/// What was acknowledged.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// The orders acknowledged under each idempotency key: one, however often it was asked.
    pub orders: BTreeMap<String, BTreeSet<Uuid>>,
    /// Orders that callers were told are cancelled.
    pub cancelled: BTreeSet<Uuid>,
    /// Confirmed orders of which callers were told that shipping is asked whether they still can be.
    pub asked: BTreeSet<Uuid>,
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

    /// Notes the answer to a cancellation that was taken: it is done, or shipping is asked.
    pub fn cancellation(&mut self, order: Uuid, answer: &Value) {
        let is_asked = answer["cancellation"] == "requested";
        if is_asked { &mut self.asked } else { &mut self.cancelled }.insert(order);
    }

    /// What the callers were told, against what the topics say.
    pub fn check(&self, facts: &Facts) -> Vec<Check> {
        vec![self.answered_all(), self.placed_once(facts), self.none_else(facts), self.cancellations(facts), self.receipts(facts)]
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
                check.that(end.is_some_and(End::is_final), || format!("order {id} of key {key}: {end:?}"));
            }
        }
        check
    }

    fn none_else(&self, facts: &Facts) -> Check {
        let mut check = Check::new("every order in the topics was placed, and acknowledged");
        let told: BTreeSet<&Uuid> = self.orders.values().flatten().collect();
        for (id, order) in &facts.orders {
            check.that(order.placed.is_some() && told.contains(id), || format!("order {id}: {}", history::line(order)));
        }
        check
    }

    fn cancellations(&self, facts: &Facts) -> Check {
        let mut check = Check::new("every acknowledged cancellation came to pass, or was asked of shipping and refused there");
        for (id, is_done) in self.cancelled.iter().map(|id| (id, true)).chain(self.asked.iter().map(|id| (id, false))) {
            let (order, line) = (facts.orders.get(id), || facts.orders.get(id).map(history::line));
            let end = order.map(Order::end);
            let refused = order.is_some_and(|order| order.events.iter().any(|event| event.kind == "CancellationRefused"));
            let completed = matches!(end, Some(End::Delivered | End::Refunded | End::Unpaid));
            let so = end == Some(End::Cancelled) || !is_done && refused && completed;
            check.that(so, || format!("order {id}, {}: {:?}", if is_done { "cancelled" } else { "asked for" }, line()));
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
    use audit::facts::Stock;
    use audit::topics::At;
    use schemas::orders::Completion;
    use serde_json::json;

    use super::*;

    const KEPT: Uuid = Uuid::from_u128(1);
    const CANCELLED: Uuid = Uuid::from_u128(2);

    fn world() -> (Ledger, Facts) {
        let mut ledger = Ledger::default();
        ledger.orders.insert("a".into(), [KEPT].into());
        ledger.orders.insert("b".into(), [CANCELLED].into());
        ledger.cancellation(CANCELLED, &json!({ "state": "cancelled" }));
        ledger.received.insert("tea".into(), 10);
        let mut facts = Facts::default();
        facts.orders.insert(KEPT, delivered());
        facts.orders.insert(CANCELLED, Order { placed: Some(1), confirmed: Some(2), cancelled: 1, ..Order::default() });
        facts.stock.insert("tea".into(), Stock { received: 10, reserved: 3, ..Stock::default() });
        (ledger, facts)
    }

    fn delivered() -> Order {
        Order { placed: Some(1), confirmed: Some(2), completed: vec![Completion::Delivered], ..Order::default() }
    }

    fn refused() -> At {
        At { topic: "shipping", partition: 0, offset: 0, time: 3, kind: "CancellationRefused" }
    }

    /// How many violations each check finds once the world is changed.
    fn violated(change: impl Fn(&mut Ledger, &mut Facts)) -> Vec<usize> {
        let (mut ledger, mut facts) = world();
        change(&mut ledger, &mut facts);
        ledger.check(&facts).iter().map(|check| check.violations).collect()
    }

    fn with(id: Uuid, order: Order) -> Vec<usize> {
        violated(|_, facts| drop(facts.orders.insert(id, order.clone())))
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_seen() {
        assert_eq!(violated(|_, _| {}), [0, 0, 0, 0, 0]);
        assert_eq!(violated(|_, facts| drop(facts.orders.remove(&KEPT))), [0, 1, 0, 0, 0], "an order is gone");
        let open = Order { placed: Some(1), ..Order::default() };
        assert_eq!(with(KEPT, open.clone()), [0, 1, 0, 0, 0], "an order never ended");
        assert_eq!(with(KEPT, Order { confirmed: Some(2), ..open }), [0, 1, 0, 0, 0], "nor one that is confirmed");
        let doubled = Stock { received: 20, reserved: 3, ..Stock::default() };
        let twice = violated(|_, facts| facts.stock.extend([("tea".into(), doubled.clone())]));
        assert_eq!(twice, [0, 0, 0, 0, 1], "a receipt was applied twice");
    }

    /// What is cancelled is cancelled; what shipping was asked for may be refused there, and must be then.
    #[test]
    fn a_cancellation_comes_to_pass_or_is_refused_by_shipping() {
        let but = || Order { events: vec![refused()], ..delivered() };
        assert_eq!(with(CANCELLED, delivered()), [0, 0, 0, 1, 0], "a cancellation is gone");
        assert_eq!(with(CANCELLED, but()), [0, 0, 0, 1, 0], "refused after it was done");
        let asked = |order: Option<Order>| {
            violated(|ledger, facts| {
                ledger.cancelled.clear();
                ledger.cancellation(CANCELLED, &json!({ "state": "confirmed", "cancellation": "requested" }));
                order.iter().for_each(|order| drop(facts.orders.insert(CANCELLED, order.clone())));
            })
        };
        assert_eq!(asked(None), [0, 0, 0, 0, 0], "done");
        assert_eq!(asked(Some(but())), [0, 0, 0, 0, 0], "refused");
        assert_eq!(asked(Some(delivered())), [0, 0, 0, 1, 0], "nobody decided");
    }

    #[test]
    fn an_order_of_which_nobody_was_told_is_seen() {
        let third = Uuid::from_u128(3);
        assert_eq!(with(third, delivered()), [0, 0, 1, 0, 0]);
        let unplaced = violated(|_, facts| facts.orders.values_mut().for_each(|order| order.placed = None));
        assert_eq!(unplaced, [0, 2, 2, 0, 0], "events of what was never placed");
    }

    #[test]
    fn a_key_that_gave_two_orders_is_seen() {
        let second = Uuid::from_u128(3);
        let two = violated(|ledger, facts| {
            ledger.orders.entry("a".into()).or_default().insert(second);
            facts.orders.insert(second, Order { placed: Some(1), rejected: 1, ..Order::default() });
        });
        assert_eq!(two, [0, 1, 0, 0, 0]);
    }

    #[test]
    fn a_request_without_an_answer_is_seen() {
        assert_eq!(violated(|ledger, _| ledger.failed.push("order c: no answer".into())), [1, 0, 0, 0, 0]);
    }
}
