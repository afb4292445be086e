//! Bugs from the placing of an order to its confirmation or its end.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use farandole::{Answer, Body, Decision, IdempotencyKey, Input, Keys, Participant, Refusal};
use inventory::Inventory;
use inventory::tables::Reservation;
use orders::{Command, Orders};
use payments::tables::State;
use payments::{Heard, Outcome, Payments};
use schemas::inventory::StockReleased;
use schemas::orders::OrderConfirmed;
use schemas::payments::PaymentRequested;
use uuid::Uuid;

use crate::bug::Bug;
use crate::changed::Changed;
use crate::placing::{one_and_a_half, one_order, one_order_without_key, reservations, silent_acquirer};
use crate::shop::{orders, payments};

/// Of an order, before it is confirmed.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "the hold isn't undone when the card is authorised after the order was cancelled",
        violates: "what ended without goods holds neither stock nor money",
        world: || one_order((orders(), Inventory, forgets_the_void())),
    },
    Bug {
        name: "stock is released twice",
        violates: "stock adds up",
        world: || one_order((orders(), releases_twice(), payments())),
    },
    Bug {
        name: "an order is confirmed although stock is short",
        violates: "what is confirmed is reserved and held",
        world: || one_and_a_half((orders(), Inventory, takes_short_for_reserved())),
    },
    Bug {
        name: "the deadline isn't closed when the order is confirmed",
        violates: "no deadline is open for what is settled",
        world: || one_order((leaves_the_deadline(), Inventory, payments())),
    },
    Bug {
        name: "a cancellation after the confirmation is ignored",
        violates: "what ended without goods holds neither stock nor money",
        world: || one_order((orders(), Inventory, ignores_the_late_cancellation())),
    },
    Bug {
        name: "the card is asked for before the stock is reserved",
        violates: "what is confirmed is reserved and held",
        world: || one_and_a_half((orders(), Inventory, asks_before_stock())),
    },
    Bug {
        name: "the card is authorised twice, since each request has a key of its own",
        violates: "at most one hold an order at the acquirer",
        world: || one_order((orders(), Inventory, asks_twice())),
    },
    Bug {
        name: "an end that overtakes the reservation is forgotten",
        violates: "what ended without goods holds neither stock nor money",
        world: || one_order((orders(), Inventory, forgets_an_early_end())),
    },
    Bug {
        name: "a declined card is asked for again, for ever",
        violates: "a cycle without progress",
        world: || one_order((orders(), Inventory, never_gives_up())),
    },
    Bug {
        name: "a shared row is set instead of added to",
        violates: "stock adds up",
        world: || reservations((orders(), sets_the_stock())),
    },
    Bug {
        name: "a command's repeated key is decided again",
        violates: "an order is placed once, and ends once",
        world: || one_order_without_key((orders(), Inventory, payments())),
    },
    Bug {
        name: "the outcome of a closed effect is dropped",
        violates: "what ended without goods holds neither stock nor money",
        world: || one_order((orders(), Inventory, drops_late_outcomes())),
    },
    Bug {
        name: "touches() forgets the articles",
        violates: "touches() doesn't name stock[tea]",
        world: || one_order((orders(), forgets_the_articles(), payments())),
    },
    Bug {
        name: "a decision depends on what the participant remembers",
        violates: "decided twice on the same rows",
        world: || one_order((remembers(), Inventory, payments())),
    },
    Bug {
        name: "a request for stock waits until there is some, and the order's end waits behind it",
        violates: "unfinished business",
        world: || one_and_a_half((orders(), waits_for_stock(), payments())),
    },
    Bug {
        name: "an order is placed without its deadline, and waits for an acquirer that never answers",
        violates: "every order is settled",
        world: || silent_acquirer((sets_no_deadline(), Inventory, payments())),
    },
    Bug {
        name: "that a hold is undone isn't noted",
        violates: "every payment has ended",
        world: || one_order((orders(), Inventory, forgets_that_it_is_undone())),
    },
    Bug {
        name: "stock that was set aside stays so when its order is cancelled",
        violates: "nothing is reserved once every order has ended",
        world: || reservations((orders(), keeps_the_stock())),
    },
    Bug {
        name: "a cancelled order is confirmed when the card is authorised after all",
        violates: "an order is placed once, and ends once",
        world: || one_order((confirms_the_cancelled(), Inventory, payments())),
    },
];

/// How far the order's payment has come.
fn state<'a>(tables: &'a payments::tables::Tables, order: &Uuid) -> Option<&'a State> {
    tables.payments.get(order).map(|payment| &*payment.state)
}

/// Has the card asked for.
fn asks(order: Uuid, amount: i64, currency: &str, card: &str, input: &Input<Payments>) -> Decision<payments::Event> {
    let (currency, card_token) = (currency.to_owned(), card.to_owned());
    Decision::event(PaymentRequested { order_id: order, amount, currency, card_token, requested_at: input.at.micros() })
}

fn forgets_the_void() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| {
        let mut decision = payments.decide(tables, id, input)?;
        if decision.events.len() == 2 {
            decision.events.truncate(1);
        }
        Ok(decision)
    })
}

fn releases_twice() -> Changed<Inventory> {
    Changed::new(Inventory).evolve(|inventory, tables, event| {
        let before = match event {
            inventory::Event::StockReleased(StockReleased { order_id, .. }) => tables.reservations.get(order_id).cloned(),
            _ => None,
        };
        inventory.evolve(tables, event);
        if let Some(reservation) = before {
            tables.reservations.put(reservation);
        }
    })
}

fn takes_short_for_reserved() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match &input.body {
        Body::Heard(Heard::StockShort(_)) => match state(tables, id) {
            Some(State::AwaitingStock { terms }) => Ok(asks(*id, terms.amount, &terms.currency, &terms.card_token, input)),
            _ => Ok(Decision::nothing()),
        },
        _ => payments.decide(tables, id, input),
    })
}

fn leaves_the_deadline() -> Changed<Orders> {
    Changed::new(orders()).follow_up(|orders, event| match event {
        orders::Event::OrderConfirmed(_) => Vec::new(),
        _ => orders.follow_up(event),
    })
}

fn ignores_the_late_cancellation() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match &input.body {
        Body::Heard(Heard::OrderCancelled(_)) if matches!(state(tables, id), Some(State::Authorised(_))) => {
            Ok(Decision::nothing())
        }
        _ => payments.decide(tables, id, input),
    })
}

fn asks_before_stock() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match &input.body {
        Body::Heard(Heard::OrderPlaced(placed)) if tables.payments.get(id).is_none() => {
            Ok(asks(*id, placed.total, &placed.currency, &placed.card_token, input))
        }
        _ => payments.decide(tables, id, input),
    })
}

fn asks_twice() -> Changed<Payments> {
    let twice = Changed::new(payments()).decide(|payments, tables, id, input| match &input.body {
        Body::Heard(Heard::OrderPlaced(placed)) if matches!(state(tables, id), Some(State::Requested { .. })) => {
            Ok(asks(*id, placed.total, &placed.currency, &placed.card_token, input))
        }
        _ => payments.decide(tables, id, input),
    });
    twice.idempotency(|_| IdempotencyKey::EachEvent)
}

fn forgets_an_early_end() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match &input.body {
        Body::Heard(Heard::OrderCancelled(_) | Heard::OrderRejected(_))
            if matches!(state(tables, id), Some(State::AwaitingStock { .. })) =>
        {
            Ok(Decision::nothing())
        }
        _ => payments.decide(tables, id, input),
    })
}

fn never_gives_up() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match (&input.body, state(tables, id)) {
        (
            Body::Outcome { outcome: Outcome::Declined { .. }, effect: payments::Effect::Authorise(asked) },
            Some(State::Requested { .. }),
        ) => Ok(asks(*id, asked.amount, &asked.currency, &asked.card_token, input)),
        _ => payments.decide(tables, id, input),
    })
}

fn sets_the_stock() -> Changed<Inventory> {
    Changed::new(Inventory).evolve(|inventory, tables, event| {
        inventory.evolve(tables, event);
        if let inventory::Event::StockReserved(reserved) = event {
            for line in &reserved.lines {
                if let Some(stock) = tables.stock.get_mut(&line.sku) {
                    stock.reserved = line.quantity;
                }
            }
        }
    })
}

fn drops_late_outcomes() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match &input.body {
        Body::Outcome { .. } if matches!(state(tables, id), Some(State::Abandoned { .. })) => Ok(Decision::nothing()),
        _ => payments.decide(tables, id, input),
    })
}

fn forgets_the_articles() -> Changed<Inventory> {
    Changed::new(Inventory).touches(|inventory, id, input| match id {
        inventory::Id::Order(order) => Keys::of::<Reservation>([order]),
        inventory::Id::Article(_) => inventory.touches(id, input),
    })
}

fn remembers() -> Changed<Orders> {
    let asked = AtomicUsize::new(0);
    Changed::new(orders()).decide(move |orders, tables, id, input| match &input.body {
        Body::Command(Command::Cancel) if asked.fetch_add(1, Relaxed) % 2 == 1 => {
            Ok(Decision::answered(Answer::ok(serde_json::json!({}))))
        }
        _ => orders.decide(tables, id, input),
    })
}

fn waits_for_stock() -> Changed<Inventory> {
    Changed::new(Inventory).decide(|inventory, tables, id, input| {
        let decision = inventory.decide(tables, id, input)?;
        match decision.events.first() {
            Some(inventory::Event::StockShort(_)) => Err(Refusal::Retry("there is too little".to_owned())),
            _ => Ok(decision),
        }
    })
}

fn sets_no_deadline() -> Changed<Orders> {
    Changed::new(orders()).follow_up(|orders, event| match event {
        orders::Event::OrderPlaced(_) => Vec::new(),
        _ => orders.follow_up(event),
    })
}

fn forgets_that_it_is_undone() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match &input.body {
        Body::Outcome { outcome: Outcome::Voided, .. } => Ok(Decision::nothing()),
        _ => payments.decide(tables, id, input),
    })
}

fn keeps_the_stock() -> Changed<Inventory> {
    Changed::new(Inventory).decide(|inventory, tables, id, input| match &input.body {
        Body::Heard(inventory::Heard::OrderCancelled(_)) if tables_know(tables, id) => Ok(Decision::nothing()),
        _ => inventory.decide(tables, id, input),
    })
}

fn tables_know(tables: &inventory::tables::Tables, id: &inventory::Id) -> bool {
    matches!(id, inventory::Id::Order(order) if tables.reservations.get(order).is_some())
}

fn confirms_the_cancelled() -> Changed<Orders> {
    Changed::new(orders()).decide(|orders, tables, &id, input| match &input.body {
        Body::Heard(orders::Heard::PaymentAuthorised(_)) if tables.orders.get(&id).is_some() => {
            Ok(Decision::event(OrderConfirmed { order_id: id, customer: "anna".to_owned(), confirmed_at: input.at.micros() }))
        }
        _ => orders.decide(tables, &id, input),
    })
}
