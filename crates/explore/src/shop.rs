//! The shop's participants as they run, and their worlds.

use std::time::Duration;

use farandole_check::{Seen, World};
use inventory::Inventory;
use notifications::Notifications;
use orders::Orders;
use orders::basket::Basket;
use orders::tables::Order;
use payments::Payments;
use schemas::orders::OrderLine;
use shipping::Shipping;
use uuid::Uuid;

use crate::fulfilling::{self, three};
use crate::{placing, telling};

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

/// Shipping as it runs.
pub fn shipping() -> Shipping {
    Shipping { dispatch_after: Duration::from_secs(10), deliver_within: Duration::from_secs(100) }
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
    }
}

/// Whether an order has come to this.
pub fn is_at(s: &Seen<'_>, state: &str) -> bool {
    s.rows::<Order>().any(|order| order.state.name() == state)
}

/// The worlds of the shop as it runs; the `deep` ones are for hours.
pub fn worlds(deep: bool) -> Vec<World> {
    let who = || (orders(), Inventory, payments());
    let small = [
        placing::one_order(who()),
        placing::silent_acquirer(who()),
        placing::reservations((orders(), Inventory)),
        placing::one_and_a_half(who()),
        fulfilling::cancelled_or_dispatched(three()),
        fulfilling::report_before_the_answer(three()),
        fulfilling::lost_parcel(three()),
        fulfilling::silent_capture(three()),
        fulfilling::no_capture(three()),
        fulfilling::refused_refund(three()),
        fulfilling::expiring_hold(three()),
        fulfilling::wrong_acquirer((orders(), payments())),
        fulfilling::adjusted((orders(), Inventory, shipping())),
        telling::mails((orders(), notifications())),
        telling::no_mail_server((orders(), notifications())),
        telling::early_mails((orders(), shipping(), notifications())),
    ];
    let large = deep.then(|| {
        [
            placing::one_order(who()).losses(3, 2),
            placing::two_orders(who()),
            fulfilling::cancelled_or_dispatched(three()).losses(1, 1),
            fulfilling::lost_parcel(three()).losses(1, 1),
            fulfilling::adjusted((orders(), Inventory, shipping())).losses(1, 0),
        ]
    });
    small.into_iter().chain(large.into_iter().flatten()).collect()
}
