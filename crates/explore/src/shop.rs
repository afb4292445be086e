//! The shop's participants as they run, and what its worlds share.

use std::time::Duration;

use farandole_check::Seen;
use notifications::Notifications;
use orders::Orders;
use orders::basket::Basket;
use orders::tables::Order;
use payments::Payments;
use schemas::orders::OrderLine;
use shipping::Shipping;
use uuid::Uuid;

/// The two orders.
pub const ORDERS: [Uuid; 2] = [Uuid::from_u128(1), Uuid::from_u128(2)];
/// The articles.
pub const TEA: &str = "tea";
pub const MILK: &str = "milk";

/// Orders as it runs.
pub fn orders() -> Orders {
    Orders { confirm_within: Duration::from_secs(60) }
}

/// Payments as it runs, with an acquirer whose holds don't end.
pub fn payments() -> Payments {
    Payments { hold_for: Duration::ZERO, write_off_after: Duration::from_secs(3_600) }
}

/// Shipping as it runs, with a carrier that is asked for ever.
pub fn shipping() -> Shipping {
    let (dispatch_after, deliver_within) = (Duration::from_secs(10), Duration::from_secs(100));
    Shipping { dispatch_after, book_within: Duration::MAX, deliver_within, track_within: Duration::MAX }
}

/// Notifications as it runs.
pub fn notifications() -> Notifications {
    Notifications { give_up_after: Duration::from_secs(86_400) }
}

/// What anna wants.
pub fn basket(lines: &[(&str, i32)]) -> Basket {
    let line = |(sku, quantity): &(&str, i32)| OrderLine { sku: (*sku).to_owned(), quantity: *quantity, unit_price: 250 };
    Basket {
        customer: "anna".to_owned(),
        card_token: "tok_1".to_owned(),
        currency: "EUR".to_owned(),
        lines: lines.iter().map(line).collect(),
        stale: Vec::new(),
    }
}

/// Whether an order has come to this.
pub fn is_at(s: &Seen<'_>, state: &str) -> bool {
    s.rows::<Order>().any(|order| order.state.name() == state)
}
