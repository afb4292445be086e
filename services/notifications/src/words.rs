//! Which kind of mail an event calls for, and what that mail has to say besides.
//!
//! **Invariant:** what other services wrote for operators (an acquirer's code, say) is never passed on to a customer.

use schemas::orders::{CancellationReason, OrderRejected, RejectionReason};

use crate::kinds::Kind;
use crate::messages::Heard;
use crate::money;

/// So many articles are named.
const NAMED: usize = 10;

/// The kind of mail, and its detail.
pub fn of(heard: &Heard) -> (Kind, String) {
    match heard {
        Heard::OrderPlaced(_) => (Kind::Taken, String::new()),
        Heard::OrderConfirmed(_) => (Kind::Confirmed, String::new()),
        Heard::OrderRejected(e) => (Kind::Rejected, rejection(e)),
        Heard::OrderCancelled(e) => (Kind::Cancelled, cancellation(e.reason).to_owned()),
        Heard::ShipmentDispatched(e) => (Kind::Dispatched, e.tracking.clone()),
        Heard::ShipmentDelivered(e) => (Kind::Delivered, e.tracking.clone()),
        Heard::PaymentRefunded(e) => (Kind::Refunded, money::format(e.amount, &e.currency)),
    }
}

fn rejection(rejected: &OrderRejected) -> String {
    match rejected.reason {
        RejectionReason::OutOfStock => format!("There is too little in stock of: {}", list(&rejected.skus)),
        RejectionReason::UnknownSku => format!("These articles aren't in our range: {}", list(&rejected.skus)),
        RejectionReason::CardDeclined => "Your card was declined".to_owned(),
        RejectionReason::Other => String::new(),
    }
}

fn cancellation(reason: CancellationReason) -> &'static str {
    match reason {
        CancellationReason::CustomerRequest => "You asked us to cancel it",
        CancellationReason::NotConfirmedInTime => "We couldn't confirm it in time",
        CancellationReason::ShipmentFailed => "The carrier can't take the parcel",
        CancellationReason::AuthorisationExpired => "The authorisation of your card ran out before we could send it",
        CancellationReason::Other => "",
    }
}

fn list(skus: &[String]) -> String {
    let named = skus.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if skus.len() > NAMED { format!("{named} and {} more", skus.len() - NAMED) } else { named }
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn a_long_list_says_how_much_longer_it_is() {
        let skus: Vec<String> = (1..=12).map(|n| n.to_string()).collect();
        assert_eq!(list(&skus[..2]), "1, 2");
        assert_eq!(list(&skus), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more");
    }
}
