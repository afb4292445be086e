//! What has to hold in the shop's worlds.

use std::collections::{BTreeMap, BTreeSet};

use farandole_check::{Seen, World};
use inventory::Inventory;
use inventory::tables::{Reservation, Stock};
use orders::Orders;
use orders::tables::Order;
use payments::tables::Payment;
use payments::{Effect, Outcome, Payments};
use schemas::orders::Completion;
use shipping::Shipping;
use uuid::Uuid;

use crate::like::Like;

/// From the placing of an order to its confirmation or its end.
pub fn placing<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(world: World) -> World {
    stock(world)
        .always("at most one hold an order at the acquirer", |s| books::<P>(s).into_values().all(|book| book.holds <= 1))
        .always("what is confirmed is reserved and held", |s| {
            let reserved: BTreeSet<Uuid> = s
                .events::<I>()
                .filter_map(|event| match event {
                    inventory::Event::StockReserved(e) => Some(e.order_id),
                    _ => None,
                })
                .collect();
            let books = books::<P>(s);
            s.events::<O>().all(|event| match event {
                orders::Event::OrderConfirmed(e) => {
                    reserved.contains(&e.order_id) && books.get(&e.order_id).is_some_and(|book| book.holds == 1)
                }
                _ => true,
            })
        })
        .always("an order is placed once, and ends once", |s| ends_once::<O>(s))
        .always("no deadline is open for what is settled", settled_has_no_deadline::<O>)
        .at_end("every order is settled", is_settled)
        .at_end("what ended without goods holds neither stock nor money", |s| nothing_is_left::<P>(s))
        .at_end("every payment has ended", every_payment_has_ended)
}

/// From the confirmation of an order to its end.
pub fn fulfilling<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(world: World) -> World {
    world
        .always("at most one capture and one refund an order at the acquirer", |s| {
            books::<P>(s).into_values().all(|book| book.captures <= 1 && book.refunds <= 1)
        })
        .always("an order is placed once, and ends once", |s| ends_once::<O>(s))
        .always("at most one parcel an order, and none of one that is cancelled", |s| {
            let (mut sent, mut cancelled) = (BTreeSet::new(), BTreeSet::new());
            let once = s.events::<S>().all(|event| match event {
                shipping::Event::ShipmentDispatched(e) => sent.insert(e.order_id),
                _ => true,
            });
            s.events::<O>().for_each(|event| {
                if let orders::Event::OrderCancelled(e) = event {
                    cancelled.insert(e.order_id);
                }
            });
            once && sent.is_disjoint(&cancelled)
        })
        .at_end("every order has ended", |s| {
            s.rows::<Order>().all(|order| matches!(order.state.name(), "rejected" | "cancelled" | "completed"))
        })
        .at_end("what ended without goods holds neither stock nor money", |s| nothing_is_left::<P>(s))
        .at_end("who was delivered has paid, and who lost has the money back", |s| {
            let books = books::<P>(s);
            s.events::<O>().try_for_each(|event| {
                let orders::Event::OrderCompleted(e) = event else { return Ok(()) };
                let book = books.get(&e.order_id).copied().unwrap_or_default();
                let kept = book.captures - book.refunds;
                let is_fair = match e.how {
                    Completion::Delivered => kept == 1,
                    Completion::Refunded => book.captures == 1 && kept == 0,
                    Completion::Unpaid | Completion::Other => kept == 0,
                };
                if is_fair { Ok(()) } else { Err(format!("{}: {:?}, and {book:?}", e.order_id, e.how)) }
            })
        })
        .at_end("every payment has ended", every_payment_has_ended)
}

/// Whatever happens, per article.
pub fn stock(world: World) -> World {
    world.always("stock adds up, and no count is negative", |s| {
        let mut held = BTreeMap::<&str, i64>::new();
        for reservation in s.rows::<Reservation>() {
            if let inventory::tables::State::Reserved { lines, .. } = &*reservation.state {
                lines.iter().for_each(|line| *held.entry(&line.sku).or_default() += line.quantity);
            }
        }
        s.rows::<Stock>().try_for_each(|stock| {
            let held = held.get(stock.sku.as_str()).copied().unwrap_or(0);
            let Stock { sku, reserved, shipped, .. } = stock;
            if held == *reserved && *reserved >= 0 && *shipped >= 0 && stock.available() >= 0 {
                return Ok(());
            }
            Err(format!("{sku}: {stock:?}, {held} reserved for orders"))
        })
    })
}

pub fn is_settled(s: &Seen<'_>) -> bool {
    s.rows::<Order>().all(|order| order.state.name() != "placed")
}

pub fn settled_has_no_deadline<O: Like<Orders>>(s: &Seen<'_>) -> bool {
    let open: BTreeSet<&str> = s.open::<O>().map(|(_, key)| key).collect();
    open.is_empty()
        || s.rows::<Order>()
            .filter(|order| order.state.name() != "placed")
            .all(|order| !open.contains(order.order_id.to_string().as_str()))
}

pub fn is_reserved(reservation: &Reservation) -> bool {
    matches!(*reservation.state, inventory::tables::State::Reserved { .. })
}

fn ends_once<O: Like<Orders>>(s: &Seen<'_>) -> bool {
    let (mut placed, mut ended) = (BTreeSet::new(), BTreeSet::new());
    s.events::<O>().all(|event| match event {
        orders::Event::OrderPlaced(e) => placed.insert(e.order_id),
        orders::Event::OrderRejected(e) => ended.insert(e.order_id),
        orders::Event::OrderCancelled(e) => ended.insert(e.order_id),
        orders::Event::OrderCompleted(e) => ended.insert(e.order_id),
        // Nothing comes after its end.
        orders::Event::OrderConfirmed(e) => !ended.contains(&e.order_id),
        orders::Event::OrderCancellationRequested(e) => !ended.contains(&e.order_id),
        orders::Event::OrderProgressed(e) => !ended.contains(&e.order_id),
    })
}

fn nothing_is_left<P: Like<Payments>>(s: &Seen<'_>) -> Result<(), String> {
    let reserved: BTreeSet<Uuid> = s.rows::<Reservation>().filter(|r| is_reserved(r)).map(|r| r.order_id).collect();
    let books = books::<P>(s);
    s.rows::<Order>().filter(|order| matches!(order.state.name(), "rejected" | "cancelled")).try_for_each(|order| {
        let id = &order.order_id;
        let stock = reserved.contains(id);
        let money = books.get(id).is_some_and(|book| book.holds > book.undone || book.captures > book.refunds);
        if stock || money { Err(format!("{id}: stock {stock}, money {money}")) } else { Ok(()) }
    })
}

fn every_payment_has_ended(s: &Seen<'_>) -> bool {
    let is_open = |name| matches!(name, "expected" | "requested" | "void_requested" | "capture_requested" | "refund_requested");
    s.rows::<Payment>().all(|payment| !is_open(payment.state.name()))
}

/// What the acquirer has done for an order.
#[derive(Debug, Default, Clone, Copy)]
struct Book {
    holds: usize,
    /// Holds that were voided or had ended by themselves.
    undone: usize,
    captures: usize,
    refunds: usize,
}

/// By order. A hold that the world was given stands in no book, but in an event.
fn books<P: Like<Payments>>(s: &Seen<'_>) -> BTreeMap<Uuid, Book> {
    let (mut books, mut of) = (BTreeMap::<Uuid, Book>::new(), BTreeMap::<String, Uuid>::new());
    for (effect, outcome) in s.done::<P>() {
        if let (Effect::Authorise(asked), Outcome::Authorised { authorisation_id }) = (effect, outcome) {
            books.entry(asked.order_id).or_default().holds += 1;
            of.insert(authorisation_id.clone(), asked.order_id);
        }
    }
    for event in s.events::<P>() {
        match event {
            payments::Event::PaymentAuthorised(e) if of.insert(e.authorisation_id.clone(), e.order_id).is_none() => {
                books.entry(e.order_id).or_default().holds += 1;
            }
            payments::Event::CaptureRequested(e) => {
                of.insert(e.authorisation_id.clone(), e.order_id);
            }
            // A hold that ran out holds nothing.
            payments::Event::AuthorisationExpired(e) => books.entry(e.order_id).or_default().undone += 1,
            _ => {}
        }
    }
    for (effect, outcome) in s.done::<P>() {
        let (id, change): (_, fn(&mut Book)) = match (effect, outcome) {
            (Effect::Void(e), Outcome::Voided) => (&e.authorisation_id, |book| book.undone += 1),
            // What was taken is held no more.
            (Effect::Void(e), Outcome::VoidRefused { reason }) if reason == "captured" => (&e.authorisation_id, |book| {
                book.undone += 1;
                book.captures += 1;
            }),
            (Effect::Capture(e), Outcome::Captured) => (&e.authorisation_id, |book| book.captures += 1),
            (Effect::Refund(e), Outcome::Refunded) => (&e.authorisation_id, |book| book.refunds += 1),
            _ => continue,
        };
        if let Some(order) = of.get(id) {
            change(books.entry(*order).or_default());
        }
    }
    books
}
