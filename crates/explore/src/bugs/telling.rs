//! Bugs of notifications.

use farandole::{Body, Decision, IdempotencyKey, Participant, Refusal, Task};
use notifications::kinds::SendTaken;
use notifications::{Event, Heard, Mail, Notifications};

use crate::bug::Bug;
use crate::changed::Changed;
use crate::shop::{notifications, orders, shipping};
use crate::telling::{early_mails, mails, no_mail_server};

/// Of mails.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "a repeated order is told of again, under a key of its own",
        violates: "a mail is sent once, unless an operator asks",
        world: || mails((orders(), tells_again())),
    },
    Bug {
        name: "what the mail server refused is noted as sent",
        violates: "what is told to be sent was taken",
        world: || mails((orders(), takes_no_for_yes())),
    },
    Bug {
        name: "a mail is tried for ever",
        violates: "every mail is sent, or has failed",
        world: || no_mail_server((orders(), tries_for_ever())),
    },
    Bug {
        name: "a parcel whose order isn't known waits for it, and the order waits behind it",
        violates: "three mails are told of",
        world: || early_mails((orders(), shipping(), waits_for_the_order())),
    },
    Bug {
        name: "a parcel whose order isn't known is forgotten",
        violates: "three mails are told of",
        world: || early_mails((orders(), shipping(), forgets_the_early())),
    },
];

fn tells_again() -> Changed<Notifications> {
    let again = Changed::new(notifications()).decide(|notifications, tables, id, input| match &input.body {
        Body::Heard(Heard::OrderPlaced(_)) => notifications.decide(&Default::default(), id, input),
        _ => notifications.decide(tables, id, input),
    });
    again.idempotency(|_| IdempotencyKey::EachEvent)
}

fn takes_no_for_yes() -> Changed<Notifications> {
    use notifications::Outcome;
    Changed::new(notifications()).decide(|notifications, tables, id, input| match &input.body {
        Body::Outcome { effect, outcome: Outcome::Refused { .. } } => {
            let outcome = Outcome::Sent { message_id: "none".to_owned() };
            let body = Body::Outcome { effect: effect.clone(), outcome };
            notifications.decide(tables, id, &farandole::Input { id: input.id, at: input.at, body })
        }
        _ => notifications.decide(tables, id, input),
    })
}

fn tries_for_ever() -> Changed<Notifications> {
    Changed::new(notifications()).follow_up(|notifications, event| match event {
        Event::NotificationRequested(e) if e.kind == notifications::Kind::Taken => {
            let (customer, currency, lines, detail) = (e.customer.clone(), e.currency.clone(), e.lines.clone(), e.detail.clone());
            let (order_id, kind, attempt, total) = (e.order_id, e.kind, e.attempt, e.total);
            vec![Task::effect(SendTaken(Mail { order_id, kind, attempt, customer, currency, total, lines, detail }))]
        }
        _ => notifications.follow_up(event),
    })
}

fn waits_for_the_order() -> Changed<Notifications> {
    Changed::new(notifications()).decide(|notifications, tables, id, input| match &input.body {
        Body::Heard(Heard::ShipmentDispatched(_)) if tables.notifications.get(id).is_none() => {
            Err(Refusal::Retry(format!("order {id} isn't known here")))
        }
        _ => notifications.decide(tables, id, input),
    })
}

fn forgets_the_early() -> Changed<Notifications> {
    Changed::new(notifications()).decide(|notifications, tables, id, input| match &input.body {
        Body::Heard(Heard::ShipmentDispatched(_)) if tables.notifications.get(id).is_none() => Ok(Decision::nothing()),
        _ => notifications.decide(tables, id, input),
    })
}
