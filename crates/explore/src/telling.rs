//! Worlds of notifications: one mail of each kind, whatever is repeated, refused, late or never answered.

use farandole_check::{Ask, World};
use notifications::kinds::Outcome;
use notifications::tables::{Notification, State};
use notifications::{Command, Event, Kind, Notifications};
use orders::Orders;
use schemas::orders::{OrderRejected, RejectionReason};
use shipping::Shipping;

use crate::fulfilling::{ORDER, placed, sent};
use crate::like::Like;

/// What has to hold of every mail.
fn world<N: Like<Notifications>>(world: World) -> World {
    world
        .call(ORDER, "the order")
        .outside::<N>(|effect| {
            let mail = effect.mail();
            let message_id = format!("{:?} {} of {}", mail.kind, mail.attempt, mail.order_id);
            vec![Outcome::Sent { message_id }, Outcome::Refused { reason: "550 no such user".to_owned() }]
        })
        .always("a mail is sent once, unless an operator asks", |s| {
            let taken = s.done::<N>().filter(|(_, outcome)| matches!(outcome, Outcome::Sent { .. }));
            let mut mails: Vec<_> = taken.map(|(effect, _)| (effect.mail().kind, effect.mail().attempt)).collect();
            let all = mails.len();
            mails.sort_unstable_by_key(|(kind, attempt)| (format!("{kind:?}"), *attempt));
            mails.dedup();
            mails.len() == all
        })
        .always("what is told to be sent was taken", |s| {
            s.events::<N>().all(|event| match event {
                Event::NotificationSent(e) => s.done::<N>().any(|(effect, outcome)| {
                    effect.mail().kind == e.kind && matches!(outcome, Outcome::Sent { message_id } if *message_id == e.message_id)
                }),
                _ => true,
            })
        })
        .at_end("every mail is sent, or has failed", |s| {
            let has_ended = |state: &State| matches!(state, State::Sent { .. } | State::Failed { .. });
            s.rows::<Notification>().all(|order| order.mails.iter().all(|mail| has_ended(&mail.state)))
        })
}

fn rejected() -> orders::Event {
    let (reason, detail, skus) = (RejectionReason::CardDeclined, "lost_card".to_owned(), Vec::new());
    OrderRejected { order_id: ORDER, reason, detail, skus, rejected_at: 0 }.into()
}

/// An order that is rejected, and an operator who has a mail tried again.
pub fn mails<O: Like<Orders>, N: Like<Notifications>>((o, n): (O, N)) -> World {
    world::<N>(World::new("an order's mails").participant(o).participant(n))
        .given::<O>(ORDER, placed().into_iter().take(1).chain([rejected()]))
        .command::<N>(Ask::once("try it again", ORDER, || Command::Retry(Kind::Taken)))
        .losses(1, 0)
        .sometimes("a mail is sent by its second attempt", |s| {
            let is_second =
                |mail: &notifications::tables::MailState| mail.attempt == 2 && matches!(mail.state, State::Sent { .. });
            s.rows::<Notification>().any(|order| order.mails.iter().any(is_second))
        })
}

/// No mail server ever answers.
pub fn no_mail_server<O: Like<Orders>, N: Like<Notifications>>((o, n): (O, N)) -> World {
    world::<N>(World::new("no mail server answers").participant(o).participant(n))
        .given::<O>(ORDER, placed().into_iter().take(1).chain([rejected()]))
        .outside::<N>(|_| Vec::new())
        .without("a mail is sent once, unless an operator asks")
        .without("what is told to be sent was taken")
        .losses(0, 0)
}

/// Shipping's topic is read before orders' own.
pub fn early_mails<O: Like<Orders>, S: Like<Shipping>, N: Like<Notifications>>((o, s, n): (O, S, N)) -> World {
    world::<N>(World::new("the parcel is heard of before its order").participant(o).participant(s).participant(n))
        .given::<O>(ORDER, placed().into_iter().take(1).chain([rejected()]))
        .given::<S>(ORDER, sent())
        // Nobody hears of the parcel again.
        .outside::<S>(|_| Vec::new())
        .outside::<N>(|_| Vec::new())
        .without("a mail is sent once, unless an operator asks")
        .without("what is told to be sent was taken")
        .losses(0, 0)
        .at_end("three mails are told of", |s| s.rows::<Notification>().map(|order| order.mails.len()).sum::<usize>() == 3)
}
