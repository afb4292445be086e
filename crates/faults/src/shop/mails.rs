//! To whom mails failed. That each was sent once and has come, and how many came again, is the audit's to tell. Pure.

use audit::Check;
use audit::facts::Facts;
use stage::mail::BOUNCES;

/// However long the mail server was away: no mail is given up in a run, so those that failed are those that it refuses.
pub fn check(facts: &Facts) -> Check {
    let mut check = Check::new("mails failed to customers who can't be reached, and to nobody else");
    for (id, order) in &facts.orders {
        for (kind, mail) in &order.mails {
            let bounces = order.customer.starts_with(BOUNCES);
            check
                .that(mail.sent.is_empty() == bounces, || format!("order {id} of customer {}: {kind}: {mail:?}", order.customer));
        }
    }
    check
}

#[cfg(test)]
mod tests {
    use audit::facts::{Mail, Order};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_mail_that_should_have_come_or_failed_is_seen() {
        let violated = |customer: &str, sent: &[&str], failed| {
            let mail = Mail { requested: 1, sent: sent.iter().map(|id| (*id).to_owned()).collect(), failed };
            let order = Order { customer: customer.to_owned(), mails: [("taken".to_owned(), mail)].into(), ..Order::default() };
            check(&Facts { orders: [(Uuid::nil(), order)].into(), ..Facts::default() }).violations
        };
        assert_eq!((violated("c1", &["<1@x>"], 0), violated("bounce1", &[], 1)), (0, 0));
        assert_eq!(violated("c1", &[], 1), 1, "an outage failed it");
        assert_eq!(violated("c1", &[], 0), 1, "it is still to be sent");
        assert_eq!(violated("bounce1", &["<1@x>"], 0), 1, "nobody has that address");
    }
}
