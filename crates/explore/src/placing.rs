//! Worlds from the placing of an order to its confirmation or its end.

use farandole_check::{Ask, World};
use inventory::tables::{Reservation, Stock};
use inventory::{Id, Inventory};
use orders::tables::Order;
use orders::{Command, Orders};
use payments::tables::{Payment, State};
use payments::{Effect, Outcome, Payments};
use schemas::inventory::StockReceived;
use schemas::orders::{OrderCancellationRequested, OrderConfirmed};
use uuid::Uuid;

use crate::like::Like;
use crate::shop::{MILK, ORDERS, TEA, basket};
use crate::{cases, invariants};

/// The three services, before anything is asked: so many pieces of tea have been received.
fn shop<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(
    name: &str,
    (o, i, p): (O, I, P),
    tea: i64,
    declines: bool,
) -> World {
    let received = StockReceived { receipt_id: Uuid::from_u128(9), sku: TEA.to_owned(), quantity: tea, received_at: 0 };
    let world = services(name, (o, i, p))
        .given::<I>(Id::Article(TEA.to_owned()), (tea > 0).then(|| received.into()))
        .outside::<P>(move |effect| match effect {
            Effect::Authorise(asked) => {
                let held = Outcome::Authorised { authorisation_id: format!("auth of {}", asked.order_id) };
                let declined = Outcome::Declined { reason: "lost_card".to_owned() };
                if declines { vec![held, declined] } else { vec![held] }
            }
            Effect::Void(_) => vec![Outcome::Voided],
            Effect::Capture(_) => vec![Outcome::Captured],
            Effect::Refund(_) => vec![Outcome::Refunded],
        });
    ORDERS.iter().enumerate().fold(world, |world, (i, id)| world.call(id, format!("order {}", i + 1)))
}

/// The three services and what has to hold of them.
fn services<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(name: &str, (o, i, p): (O, I, P)) -> World {
    let world = World::new(name).participant(o).participant(i).participant(p);
    let world = cases::payments::<P>(cases::inventory::<I>(cases::orders::<O>(world)));
    // What follows is in the worlds of fulfilling.
    invariants::placing::<O, I, P>(world).ends_with(OrderConfirmed::NAME).ends_with(OrderCancellationRequested::NAME)
}

fn place<O: Like<Orders>>(world: World, order: Uuid, lines: &'static [(&'static str, i32)]) -> World {
    world.command::<O>(Ask::once("place it", order, move || Command::Place(basket(lines))))
}

fn cancel<O: Like<Orders>>(world: World, order: Uuid, times: u8) -> World {
    world.command::<O>(Ask::once("cancel it", order, || Command::Cancel).times(times))
}

/// One order: enough tea, a card that is held or declined, a caller who repeats and cancels.
pub fn one_order<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(who: (O, I, P)) -> World {
    let world = shop("one order", who, 3, true)
        .command::<O>(Ask::once("place it", ORDERS[0], || Command::Place(basket(&[(TEA, 2)]))).repeated(1))
        .sometimes("an order is confirmed", |s| s.rows::<Order>().any(|order| order.state.name() == "confirmed"))
        .sometimes("a hold is undone", |s| s.rows::<Payment>().any(|payment| matches!(*payment.state, State::Voided(_))));
    cancel::<O>(world, ORDERS[0], 2)
}

/// The same, placed twice: its service takes no `Idempotency-Key`.
pub fn one_order_without_key<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(who: (O, I, P)) -> World {
    let place = Ask::once("place it", ORDERS[0], || Command::Place(basket(&[(TEA, 2)]))).times(2);
    shop("one order, asked twice", who, 3, false).command::<O>(place)
}

/// Two orders of two pieces each, and three pieces: one of them, at most, is confirmed.
pub fn one_and_a_half<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(who: (O, I, P)) -> World {
    let world = shop("two orders, stock for one and a half", who, 3, false);
    let world = ORDERS.iter().fold(world, |world, order| place::<O>(world, *order, &[(TEA, 2)]));
    world.interchangeable(ORDERS).losses(0, 0).sometimes("one is confirmed and the other rejected", |s| {
        let mut states: Vec<&str> = s.rows::<Order>().map(|order| order.state.name()).collect();
        states.sort_unstable();
        states == ["confirmed", "rejected"]
    })
}

/// The same with an acquirer that takes what it is asked and never answers.
pub fn silent_acquirer<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(who: (O, I, P)) -> World {
    let world = shop("an acquirer that never answers", who, 3, true)
        .outside::<P>(|_| Vec::new())
        .without("at most one hold an order at the acquirer");
    let world = place::<O>(world, ORDERS[0], &[(TEA, 2)]).sometimes("an order is cancelled while the card is being asked", |s| {
        s.rows::<Payment>().any(|payment| matches!(*payment.state, State::Abandoned { in_flight: true }))
    });
    cancel::<O>(world, ORDERS[0], 1)
}

/// Orders and inventory alone: two orders that can both be had, more goods that arrive, and the orders' ends.
pub fn reservations<O: Like<Orders>, I: Like<Inventory>>((o, i): (O, I)) -> World {
    let (tea, milk) = (Id::Article(TEA.to_owned()), Id::Article(MILK.to_owned()));
    let received =
        |sku: &str| StockReceived { receipt_id: Uuid::from_u128(9), sku: sku.to_owned(), quantity: 2, received_at: 0 }.into();
    let world = World::new("reservations")
        .participant(o)
        .participant(i)
        .given::<I>(tea.clone(), [received(TEA)])
        .given::<I>(milk, [received(MILK)])
        .command::<I>(Ask::once("receive 2", tea, || inventory::Command::Receive { quantity: 2 }).repeated(1))
        .ends_with("farandole.inventory.StockReserved")
        .ends_with(OrderConfirmed::NAME)
        .ends_with(OrderCancellationRequested::NAME)
        .interchangeable(ORDERS)
        .sometimes("both are reserved", |s| s.rows::<Reservation>().filter(|r| invariants::is_reserved(r)).count() == 2)
        .sometimes("one is short", |s| s.rows::<Reservation>().any(|r| matches!(*r.state, inventory::tables::State::Short)));
    let world = ORDERS.iter().enumerate().fold(world, |world, (i, id)| world.call(id, format!("order {}", i + 1)));
    let world = ORDERS.iter().fold(world, |world, order| place::<O>(world, *order, &[(TEA, 1), (MILK, 1), (TEA, 1)]));
    invariants::stock(world)
        .always("no deadline is open for what is settled", invariants::settled_has_no_deadline::<O>)
        .at_end("nothing is reserved once every order has ended", |s| s.rows::<Stock>().all(|stock| stock.reserved == 0))
        .at_end("every order is settled", invariants::is_settled)
}

/// Two orders that can both be had or not, of the same article, either of which may be cancelled, with every loss.
pub fn two_orders<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(who: (O, I, P)) -> World {
    let world = shop("two orders, cancelled and lost", who, 3, true);
    let world = ORDERS.iter().fold(world, |world, order| place::<O>(world, *order, &[(TEA, 2)]));
    ORDERS.iter().fold(world, |world, order| cancel::<O>(world, *order, 1)).interchangeable(ORDERS)
}
