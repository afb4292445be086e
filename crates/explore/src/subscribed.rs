//! Worlds of webhooks: each subscriber hears of an order in order, one message at a time, whatever is repeated, lost, given up or removed.

use farandole_check::{Ask, Seen, World};
use orders::Orders;
use schemas::orders::OrderStep;
use schemas::webhooks::SubscriptionRegistered;
use uuid::Uuid;
use webhooks::message::Message;
use webhooks::tables::{Queue, State, Subscription};
use webhooks::{Command, Event, Heard, Id, Outcome, Webhooks, kinds};

use crate::fulfilling::{ORDER, placed, progressed};
use crate::like::Like;

/// The subscribers.
const ANNA: Uuid = Uuid::from_u128(0xa);
const BEN: Uuid = Uuid::from_u128(0xb);

/// What has to hold of every message.
fn world<O: Like<Orders>, W: Like<Webhooks>>(
    name: &str,
    (o, w): (O, W),
    to: &[(Uuid, i32)],
    events: Vec<orders::Event>,
) -> World {
    let all = events.len();
    let subscribed: Vec<Event> = to.iter().map(|(id, slot)| registered(*id, *slot)).collect();
    World::new(name)
        .participant(o)
        .participant(w)
        .call(ORDER, "the order")
        .call(ANNA, "anna")
        .call(BEN, "ben")
        .given::<W>(Id::Subscriptions, subscribed)
        .given::<O>(ORDER, events)
        .outside::<W>(|_| vec![Outcome::Delivered { status: 204 }, Outcome::GivenUp { reason: "HTTP 500".to_owned() }])
        .always("a subscriber gets one message at a time", |s| {
            s.rows::<Queue>().all(|queue| queue.deliveries.iter().filter(|of| of.state == State::Sending).count() <= 1)
        })
        .always("a subscriber gets messages in the order of the events", |s| {
            let place = |kind: &str| LIFE.iter().position(|known| *known == kind);
            [ANNA, BEN].iter().all(|to| requested::<W>(s, *to).map(place).is_sorted())
        })
        .always("a message is asked for once, unless an operator asks", |s| {
            let mut asked: Vec<_> = s
                .events::<W>()
                .filter_map(|event| match event {
                    Event::DeliveryRequested(e) => Some((e.subscription_id, e.message_id.as_str(), e.attempt)),
                    _ => None,
                })
                .collect();
            let all = asked.len();
            asked.sort_unstable();
            asked.dedup();
            asked.len() == all
        })
        .always("what is told to be delivered was taken", |s| {
            s.events::<W>().all(|event| match event {
                Event::DeliverySucceeded(e) => s.done::<W>().any(|(webhooks::Effect::Deliver(of), outcome)| {
                    (of.subscription_id, &of.message_id) == (e.subscription_id, &e.message_id)
                        && matches!(outcome, Outcome::Delivered { .. })
                }),
                _ => true,
            })
        })
        .at_end("every message has ended", |s| s.rows::<Queue>().all(|queue| !queue.pending))
        .at_end("who is subscribed was told of everything", move |s| {
            let live = s.rows::<Subscription>().filter(|subscription| subscription.removed_at.is_none());
            let told =
                |id: Uuid| s.rows::<Queue>().filter(move |queue| queue.subscription_id == id).map(|queue| queue.deliveries.len());
            live.map(|subscription| told(subscription.subscription_id).sum::<usize>()).all(|told| told == all)
        })
}

/// What an order's subscribers hear, in order.
const LIFE: [&str; 3] = ["order.placed", "order.confirmed", "order.progressed"];

/// What was first asked of a subscriber, in order.
fn requested<'a, W: Like<Webhooks>>(s: &Seen<'a>, to: Uuid) -> impl Iterator<Item = &'a str> {
    s.events::<W>().filter_map(move |event| match event {
        Event::DeliveryRequested(e) if e.subscription_id == to && e.attempt == 1 => Some(e.kind.as_str()),
        _ => None,
    })
}

fn registered(subscription_id: Uuid, slot: i32) -> Event {
    let (url, secret) = ("https://shop.example/hooks".to_owned(), "1.sealed".to_owned());
    let types = kinds::ALL.iter().map(|kind| (*kind).to_owned()).collect();
    SubscriptionRegistered { subscription_id, url, types, secret, slot, registered_at: 0 }.into()
}

/// What the message on the order's placing is called.
fn first_message() -> String {
    let of = |event| match event {
        orders::Event::OrderPlaced(e) => Message::of(ORDER, &Heard::OrderPlaced(e)).ok().map(|message| message.id),
        _ => None,
    };
    placed().into_iter().find_map(of).unwrap_or_default()
}

/// Three messages to one subscriber, and an operator who has the first tried again.
pub fn tried_again<O: Like<Orders>, W: Like<Webhooks>>(who: (O, W)) -> World {
    let events = placed().into_iter().chain([progressed(OrderStep::Prepared)]).collect();
    world("messages to one subscriber", who, &[(ANNA, 0)], events)
        // Each request leads to the next: three, and one that an operator asks for.
        .endless(24, 5)
        .command::<W>(Ask::once("try it again", Id::Order(ORDER), || Command::Retry {
            subscription_id: ANNA,
            message_id: first_message(),
        }))
        .sometimes("a message is delivered by its second attempt", |s| {
            s.rows::<Queue>()
                .any(|queue| queue.deliveries.iter().any(|of| of.attempt == 2 && matches!(of.state, State::Delivered { .. })))
        })
}

/// A subscription that is removed at any moment, with messages under way.
pub fn removed<O: Like<Orders>, W: Like<Webhooks>>(who: (O, W)) -> World {
    world("a subscription is removed", who, &[(ANNA, 0)], placed().into())
        .command::<W>(Ask::once("remove it", Id::Subscriptions, || Command::Remove { subscription_id: ANNA }))
        .outside::<W>(|_| vec![Outcome::Delivered { status: 204 }, Outcome::Removed])
        .sometimes("two messages are dropped at once", |s| {
            s.rows::<Queue>().any(|queue| queue.deliveries.iter().filter(|of| of.state == State::Dropped).count() == 2)
        })
}

/// Two subscribers, of whom one takes what the other doesn't.
pub fn two_subscribers<O: Like<Orders>, W: Like<Webhooks>>(who: (O, W)) -> World {
    world("messages to two subscribers", who, &[(ANNA, 0), (BEN, 1)], placed().into()).losses(1, 0).sometimes(
        "one takes what the other doesn't",
        |s| {
            let is = |queue: &Queue, dead: bool| queue.dead == dead && queue.deliveries.len() == 2 && !queue.pending;
            s.rows::<Queue>().any(|queue| is(queue, true)) && s.rows::<Queue>().any(|queue| is(queue, false))
        },
    )
}
