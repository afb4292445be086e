//! Bugs of webhooks.

use farandole::{Body, Decision, IdempotencyKey, Participant};
use uuid::Uuid;
use webhooks::id::SUBSCRIPTIONS;
use webhooks::message::Message;
use webhooks::tables::Tables;
use webhooks::{Event, Heard, Id, Outcome, Webhooks};

use crate::bug::Bug;
use crate::changed::Changed;
use crate::shop::orders;
use crate::subscribed::{removed, tried_again, two_subscribers};

/// Of messages to subscribers.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "a message is sent although the one before hasn't ended",
        violates: "a subscriber gets one message at a time",
        world: || tried_again((orders(), waits_for_nobody())),
    },
    Bug {
        name: "what has waited longest comes last",
        violates: "a subscriber gets messages in the order of the events",
        world: || tried_again((orders(), last_in_first_out())),
    },
    Bug {
        name: "a repeated event is told again",
        violates: "a message is asked for once, unless an operator asks",
        world: || tried_again((orders(), tells_again())),
    },
    Bug {
        name: "what nobody took is noted as delivered",
        violates: "what is told to be delivered was taken",
        world: || tried_again((orders(), takes_no_for_yes())),
    },
    Bug {
        name: "a dead message holds up those behind it",
        violates: "every message has ended",
        world: || tried_again((orders(), stalls_behind_the_dead())),
    },
    Bug {
        name: "of a removed subscription only what was being sent is dropped",
        violates: "every message has ended",
        world: || removed((orders(), drops_the_first_alone())),
    },
    Bug {
        name: "only the first subscriber is told",
        violates: "who is subscribed was told of everything",
        world: || two_subscribers((orders(), tells_the_first_alone())),
    },
];

/// Decides as it should, and changes the events.
fn then(change: impl Fn(&Body<Webhooks>, &mut Vec<Event>) + Send + Sync + 'static) -> Changed<Webhooks> {
    Changed::new(Webhooks).decide(move |webhooks, tables, id, input| {
        let Decision { mut events, answer } = webhooks.decide(tables, id, input)?;
        change(&input.body, &mut events);
        Ok(Decision { events, answer })
    })
}

fn waits_for_nobody() -> Changed<Webhooks> {
    then(|_, events| {
        for event in events {
            if let Event::DeliveryQueued(e) = event.clone() {
                *event = requested(e);
            }
        }
    })
}

fn requested(e: schemas::webhooks::DeliveryQueued) -> Event {
    let schemas::webhooks::DeliveryQueued { order_id, subscription_id, message_id, slot, kind, body, attempt, queued_at } = e;
    let requested_at = queued_at;
    schemas::webhooks::DeliveryRequested { order_id, subscription_id, message_id, slot, kind, body, attempt, requested_at }.into()
}

fn last_in_first_out() -> Changed<Webhooks> {
    Changed::new(Webhooks).evolve(|webhooks, tables, event| {
        webhooks.evolve(tables, event);
        if let Event::DeliveryQueued(e) = event
            && let Some(queue) = tables.queues.get_mut(&(e.order_id, e.subscription_id))
        {
            queue.deliveries.rotate_right(1);
        }
    })
}

fn tells_again() -> Changed<Webhooks> {
    let again = Changed::new(Webhooks).decide(|webhooks, tables, id, input| match (id, &input.body) {
        (Id::Order(order_id), Body::Heard(heard)) => webhooks.decide(&without(tables, *order_id, heard), id, input),
        _ => webhooks.decide(tables, id, input),
    });
    again.idempotency(|_| IdempotencyKey::EachEvent)
}

/// As if nothing had been told of this event yet.
fn without(tables: &Tables, order_id: Uuid, heard: &Heard) -> Tables {
    let (mut forgetful, directory) = (Tables::default(), SUBSCRIPTIONS.to_owned());
    let subscribed = tables.directory.get(&directory).cloned();
    let message_id = Message::of(order_id, heard).map_or_else(|_| String::new(), |message| message.id);
    for live in subscribed.iter().flat_map(|directory| directory.live.iter()) {
        let key = (order_id, live.subscription_id);
        let mut queue = tables.queues.get(&key).cloned();
        if let Some(queue) = &mut queue {
            queue.deliveries.retain(|delivery| delivery.message_id != message_id);
        }
        forgetful.queues.given(&key, queue);
    }
    forgetful.directory.given(&directory, subscribed);
    forgetful
}

fn takes_no_for_yes() -> Changed<Webhooks> {
    Changed::new(Webhooks).decide(|webhooks, tables, id, input| match &input.body {
        Body::Outcome { effect, outcome: Outcome::GivenUp { .. } } => {
            let body = Body::Outcome { effect: effect.clone(), outcome: Outcome::Delivered { status: 200 } };
            webhooks.decide(tables, id, &farandole::Input { id: input.id, at: input.at, body })
        }
        _ => webhooks.decide(tables, id, input),
    })
}

fn stalls_behind_the_dead() -> Changed<Webhooks> {
    then(|body, events| {
        if let Body::Outcome { outcome: Outcome::GivenUp { .. }, .. } = body {
            events.truncate(1);
        }
    })
}

fn drops_the_first_alone() -> Changed<Webhooks> {
    then(|body, events| {
        if let Body::Outcome { outcome: Outcome::Removed, .. } = body {
            events.truncate(1);
        }
    })
}

fn tells_the_first_alone() -> Changed<Webhooks> {
    then(|body, events| {
        if let Body::Heard(_) = body {
            events.truncate(1);
        }
    })
}
