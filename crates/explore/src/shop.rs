//! Worlds of orders, inventory and payments, with what has to hold in them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use farandole::{Body, Participant};
use farandole_check::{Ask, Recording, Seen, World};
use inventory::tables::{Reservation, Stock};
use inventory::{Id, Inventory};
use orders::basket::Basket;
use orders::tables::Order;
use orders::{Command, Deadline, Orders};
use payments::tables::{Payment, State};
use payments::{Effect, Outcome, Payments};
use schemas::inventory::StockReceived;
use schemas::orders::OrderLine;
use uuid::Uuid;

/// The two orders.
pub const ORDERS: [Uuid; 2] = [Uuid::from_u128(1), Uuid::from_u128(2)];
/// The articles.
pub const TEA: &str = "tea";
const MILK: &str = "milk";

/// `P`, or one like it: the same in all but what its functions do.
pub trait Like<P: Participant>:
    Participant<
        Id = P::Id,
        Event = P::Event,
        Heard = P::Heard,
        Command = P::Command,
        Deadline = P::Deadline,
        Effect = P::Effect,
        Tables = P::Tables,
    >
{
}
impl<P: Participant, Q> Like<P> for Q where
    Q: Participant<
            Id = P::Id,
            Event = P::Event,
            Heard = P::Heard,
            Command = P::Command,
            Deadline = P::Deadline,
            Effect = P::Effect,
            Tables = P::Tables,
        >
{
}

/// Orders as it runs.
pub fn orders() -> Orders {
    Orders { confirm_within: Duration::from_secs(60) }
}

/// Within which time orders were to be confirmed, by the orders themselves.
pub fn confirm_within(recording: &Recording) -> Duration {
    let placed = recording.events.get("orders").into_iter().flatten().find(|event| event.kind.ends_with(".OrderPlaced"));
    let micros = placed.and_then(|event| Some(event.value["confirm_by"].as_i64()? - event.value["placed_at"].as_i64()?));
    Duration::from_micros(micros.and_then(|micros| u64::try_from(micros).ok()).unwrap_or(0))
}

fn basket(lines: &[(&str, i32)]) -> Basket {
    let line = |(sku, quantity): &(&str, i32)| OrderLine { sku: (*sku).to_owned(), quantity: *quantity, unit_price: 250 };
    Basket {
        customer: "anna".to_owned(),
        card_token: "tok_1".to_owned(),
        currency: "EUR".to_owned(),
        lines: lines.iter().map(line).collect(),
    }
}

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
        });
    ORDERS.iter().enumerate().fold(world, |world, (i, id)| world.call(id, format!("order {}", i + 1)))
}

/// The three services and what has to hold of them.
fn services<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(name: &str, (o, i, p): (O, I, P)) -> World {
    let world = World::new(name).participant(o).participant(i).participant(p);
    cases::<O, I, P>(invariants::<O, I, P>(world))
}

/// The shop as it really ran: which command, and which answer of the acquirer, led to events. Orders are to be confirmed within this time.
pub fn ran(confirm_within: Duration) -> World {
    services("the shop as it ran", (Orders { confirm_within }, Inventory, Payments))
        .asked_by::<Orders>(|events| match events {
            [orders::Event::OrderPlaced(e)] => Some(Command::Place(Basket {
                customer: e.customer.clone(),
                card_token: e.card_token.clone(),
                currency: e.currency.clone(),
                lines: e.lines.clone(),
            })),
            [orders::Event::OrderCancelled(_)] => Some(Command::Cancel),
            _ => None,
        })
        .asked_by::<Inventory>(|events| match events {
            [inventory::Event::StockReceived(e)] => Some(inventory::Command::Receive { quantity: e.quantity }),
            _ => None,
        })
        .answered_by::<Payments>(|_, events| match events.first()? {
            payments::Event::PaymentAuthorised(e) => Some(Outcome::Authorised { authorisation_id: e.authorisation_id.clone() }),
            payments::Event::PaymentDeclined(e) => Some(Outcome::Declined { reason: e.reason.clone() }),
            payments::Event::PaymentVoided(_) => Some(Outcome::Voided),
            _ => None,
        })
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
        .interchangeable(ORDERS)
        .sometimes("both are reserved", |s| s.rows::<Reservation>().filter(|r| is_reserved(r)).count() == 2)
        .sometimes("one is short", |s| s.rows::<Reservation>().any(|r| matches!(*r.state, inventory::tables::State::Short)));
    let world = ORDERS.iter().enumerate().fold(world, |world, (i, id)| world.call(id, format!("order {}", i + 1)));
    let world = ORDERS.iter().fold(world, |world, order| place::<O>(world, *order, &[(TEA, 1), (MILK, 1), (TEA, 1)]));
    stock(world)
        .always("no deadline is open for what is settled", settled_has_no_deadline::<O>)
        .at_end("nothing is reserved once every order has ended", |s| s.rows::<Stock>().all(|stock| stock.reserved == 0))
        .at_end("every order is settled", is_settled)
}

fn is_settled(s: &Seen<'_>) -> bool {
    s.rows::<Order>().all(|order| order.state.name() != "placed")
}

fn settled_has_no_deadline<O: Like<Orders>>(s: &Seen<'_>) -> bool {
    let open: BTreeSet<&str> = s.open::<O>().map(|(_, key)| key).collect();
    open.is_empty()
        || s.rows::<Order>()
            .filter(|order| order.state.name() != "placed")
            .all(|order| !open.contains(order.order_id.to_string().as_str()))
}

/// Whatever happens, per article.
fn stock(world: World) -> World {
    world.always("stock adds up, and no count is negative", |s| {
        let mut held = BTreeMap::<&str, i64>::new();
        for reservation in s.rows::<Reservation>() {
            if let inventory::tables::State::Reserved { lines } = &*reservation.state {
                lines.iter().for_each(|line| *held.entry(&line.sku).or_default() += line.quantity);
            }
        }
        s.rows::<Stock>().try_for_each(|Stock { sku, received, reserved }| {
            let held = held.get(sku.as_str()).copied().unwrap_or(0);
            if held == *reserved && *reserved >= 0 && reserved <= received {
                return Ok(());
            }
            Err(format!("{sku}: {received} received, {reserved} counted as reserved, {held} reserved for orders"))
        })
    })
}

/// What the design promises of the shop.
fn invariants<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(world: World) -> World {
    stock(world)
        .always("at most one hold an order at the acquirer", |s| holds::<P>(s).into_values().all(|(made, _)| made <= 1))
        .always("what is confirmed is reserved and held", |s| {
            let reserved: BTreeSet<Uuid> = s
                .events::<I>()
                .filter_map(|event| match event {
                    inventory::Event::StockReserved(e) => Some(e.order_id),
                    _ => None,
                })
                .collect();
            let holds = holds::<P>(s);
            s.events::<O>().all(|event| match event {
                orders::Event::OrderConfirmed(e) => {
                    reserved.contains(&e.order_id) && holds.get(&e.order_id).is_some_and(|(made, _)| *made == 1)
                }
                _ => true,
            })
        })
        .always("an order is placed once, and ends once", |s| {
            let (mut placed, mut ended) = (BTreeSet::new(), BTreeSet::new());
            s.events::<O>().all(|event| match event {
                orders::Event::OrderPlaced(e) => placed.insert(e.order_id),
                orders::Event::OrderRejected(e) => ended.insert(e.order_id),
                orders::Event::OrderCancelled(e) => ended.insert(e.order_id),
                orders::Event::OrderConfirmed(_) => true,
            })
        })
        .always("no deadline is open for what is settled", settled_has_no_deadline::<O>)
        .at_end("every order is settled", is_settled)
        .at_end("what ended without goods holds neither stock nor money", |s| {
            let reserved: BTreeSet<Uuid> = s.rows::<Reservation>().filter(|r| is_reserved(r)).map(|r| r.order_id).collect();
            let holds = holds::<P>(s);
            s.rows::<Order>().filter(|order| matches!(order.state.name(), "rejected" | "cancelled")).try_for_each(|order| {
                let id = &order.order_id;
                let stock = reserved.contains(id);
                let money = holds.get(id).is_some_and(|(made, undone)| made != undone);
                if stock || money { Err(format!("{id}: stock {stock}, money {money}")) } else { Ok(()) }
            })
        })
        .at_end("every payment has ended", |s| {
            s.rows::<Payment>().all(|payment| !matches!(payment.state.name(), "expected" | "requested" | "void_requested"))
        })
}

fn is_reserved(reservation: &Reservation) -> bool {
    matches!(*reservation.state, inventory::tables::State::Reserved { .. })
}

/// By order: how many holds the acquirer made, and how many of those it has undone.
fn holds<P: Like<Payments>>(s: &Seen<'_>) -> BTreeMap<Uuid, (usize, usize)> {
    let (mut holds, mut orders) = (BTreeMap::<Uuid, (usize, usize)>::new(), BTreeMap::new());
    for (effect, outcome) in s.done::<P>() {
        if let (Effect::Authorise(asked), Outcome::Authorised { authorisation_id }) = (effect, outcome) {
            holds.entry(asked.order_id).or_default().0 += 1;
            orders.insert(authorisation_id, asked.order_id);
        }
    }
    for (effect, outcome) in s.done::<P>() {
        if let (Effect::Void(void), Outcome::Voided) = (effect, outcome)
            && let Some(order) = orders.get(&void.authorisation_id)
        {
            holds.entry(*order).or_default().1 += 1;
        }
    }
    holds
}

/// What a case is called in the services' state tables.
fn cases<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(world: World) -> World {
    world
        .cases::<O>(|tables, id, body| {
            let state = tables.orders.get(id).map_or("none", |order| order.state.name());
            let input = match body {
                Body::Heard(heard) => farandole::Message::short_name(heard).to_owned(),
                Body::Deadline(Deadline::Confirm) => "deadline `confirm`".to_owned(),
                Body::Command(Command::Place(_)) => "command Place".to_owned(),
                Body::Command(Command::Cancel) => "command Cancel".to_owned(),
                Body::Outcome { .. } => "none".to_owned(),
            };
            (state.to_owned(), input)
        })
        .cases::<I>(|tables, id, body| {
            use inventory::tables::State;
            let Id::Order(order) = id else { return ("none".to_owned(), "command Receive".to_owned()) };
            let state = match tables.reservations.get(order).map(|reservation| &*reservation.state) {
                None => "none",
                Some(State::Reserved { .. }) => "reserved",
                Some(State::Short) => "short",
                Some(State::Released) => "released",
            };
            let input = match body {
                Body::Heard(inventory::Heard::OrderPlaced(placed)) => {
                    let is_there = |line: &OrderLine| {
                        tables.stock.get(&line.sku).is_some_and(|stock| stock.available() >= i64::from(line.quantity))
                    };
                    let enough = placed.lines.iter().all(is_there);
                    format!("OrderPlaced, {} there", if enough { "enough" } else { "too little" })
                }
                Body::Heard(heard) => farandole::Message::short_name(heard).to_owned(),
                _ => "none".to_owned(),
            };
            (state.to_owned(), input)
        })
        .cases::<P>(|tables, id, body| {
            let state = match tables.payments.get(id).map(|payment| &*payment.state) {
                None => "none",
                Some(State::AwaitingStock { .. }) => "expected, order seen",
                Some(State::AwaitingOrder) => "expected, stock seen",
                Some(State::Abandoned { in_flight: true }) => "abandoned in flight",
                Some(State::VoidRequested(_)) => "void requested",
                Some(other) => other.name(),
            };
            let input = match body {
                Body::Heard(heard) => farandole::Message::short_name(heard).to_owned(),
                Body::Outcome { outcome, .. } => match outcome {
                    Outcome::Authorised { .. } => "outcome authorised",
                    Outcome::Declined { .. } => "outcome declined",
                    Outcome::Voided => "outcome voided",
                    Outcome::VoidRefused { .. } => "outcome void refused",
                }
                .to_owned(),
                _ => "none".to_owned(),
            };
            (state.to_owned(), input)
        })
}

/// Two orders that can both be had or not, of the same article, either of which may be cancelled, with every loss.
pub fn two_orders<O: Like<Orders>, I: Like<Inventory>, P: Like<Payments>>(who: (O, I, P)) -> World {
    let world = shop("two orders, cancelled and lost", who, 3, true);
    let world = ORDERS.iter().fold(world, |world, order| place::<O>(world, *order, &[(TEA, 2)]));
    ORDERS.iter().fold(world, |world, order| cancel::<O>(world, *order, 1)).interchangeable(ORDERS)
}

/// The worlds of the shop as it runs; the `deep` ones are for hours.
pub fn worlds(deep: bool) -> Vec<World> {
    let who = || (orders(), Inventory, Payments);
    let small = [one_order(who()), silent_acquirer(who()), reservations((orders(), Inventory)), one_and_a_half(who())];
    let large = deep.then(|| [one_order(who()).losses(3, 2), two_orders(who())]);
    small.into_iter().chain(large.into_iter().flatten()).collect()
}
