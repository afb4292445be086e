//! Inventory, told as stories.

use farandole::testing::{Story, Tell, Told, committed, state_table};
use proptest::prelude::*;
use schemas::orders::{CancellationReason, OrderLine, RejectionReason};

use super::*;

const ID: Uuid = Uuid::from_u128(7);
const RECEIPT: Uuid = Uuid::from_u128(1);

fn given(events: impl IntoIterator<Item = Event>) -> Story<Inventory> {
    let rows =
        farandole::rows![Tables; reservations: Reservation[ID], stock: Stock["cup".to_owned()], stock: Stock["tea".to_owned()]];
    Story::new(Inventory, Id::Order(ID), rows).given(events)
}

fn received(sku: &str, quantity: i64) -> Event {
    Event::from(StockReceived { receipt_id: RECEIPT, sku: sku.into(), quantity, received_at: 0 })
}
fn lines(lines: &[(&str, i64)]) -> Vec<StockLine> {
    lines.iter().map(|(sku, quantity)| StockLine { sku: (*sku).into(), quantity: *quantity }).collect()
}
fn reserved(of: &[(&str, i64)]) -> Event {
    Event::from(StockReserved { order_id: ID, lines: lines(of), reserved_at: 0 })
}
fn released(of: &[(&str, i64)]) -> Event {
    Event::from(StockReleased { order_id: ID, lines: lines(of), released_at: 0 })
}
fn shipped(of: &[(&str, i64)]) -> Event {
    Event::from(StockShipped { order_id: ID, lines: lines(of), shipped_at: 0 })
}
fn adjusted(sku: &str, quantity: i64) -> Event {
    Event::from(StockAdjusted { adjustment_id: RECEIPT, sku: sku.into(), quantity, reason: "counted".into(), adjusted_at: 0 })
}
fn short(missing: &[(&str, i64, i64, bool)]) -> Event {
    let line = |&(sku, requested, available, known): &(&str, i64, i64, bool)| MissingLine {
        sku: sku.into(),
        requested,
        available,
        known,
    };
    Event::from(StockShort { order_id: ID, missing: missing.iter().map(line).collect(), decided_at: 0 })
}

fn placed_by(order_id: Uuid, wanted: &[(&str, i32)]) -> Heard {
    let line = |(sku, quantity): &(&str, i32)| OrderLine { sku: (*sku).into(), quantity: *quantity, unit_price: 1 };
    Heard::OrderPlaced(OrderPlaced {
        order_id,
        customer: "anna".into(),
        currency: "EUR".into(),
        total: 1,
        lines: wanted.iter().map(line).collect(),
        card_token: "tok_1".into(),
        placed_at: 0,
        confirm_by: 1,
    })
}
fn placed(wanted: &[(&str, i32)]) -> Heard {
    placed_by(ID, wanted)
}
fn cancelled_of(order_id: Uuid) -> Heard {
    OrderCancelled { order_id, reason: CancellationReason::CustomerRequest, cancelled_at: 0 }.into()
}
fn cancelled() -> Heard {
    cancelled_of(ID)
}
fn dispatched_of(order_id: Uuid) -> Heard {
    ShipmentDispatched { order_id, tracking: "t-1".into(), deliver_by: 1, dispatched_at: 0 }.into()
}
fn dispatched() -> Heard {
    dispatched_of(ID)
}
fn rejected() -> Heard {
    let (reason, detail) = (RejectionReason::CardDeclined, String::new());
    OrderRejected { order_id: ID, reason, detail, skus: vec![], rejected_at: 0 }.into()
}
fn receive(story: &mut Story<Inventory>, sku: &str, quantity: i64) -> Told<Inventory> {
    let told = story.about(Id::Article(sku.into())).asked(Command::Receive { quantity });
    story.about(Id::Order(ID));
    told
}

fn adjust(story: &mut Story<Inventory>, sku: &str, quantity: i64) -> Told<Inventory> {
    let told = story.about(Id::Article(sku.into())).asked(Command::Adjust { quantity, reason: "counted".into() });
    story.about(Id::Order(ID));
    told
}

#[test]
fn a_count_is_put_right_but_never_below_what_is_set_aside() {
    let story = || given([received("tea", 5), reserved(&[("tea", 3)])]);
    adjust(&mut story(), "tea", -2).then([adjusted("tea", -2)]);
    adjust(&mut story(), "tea", 4).then([adjusted("tea", 4)]);
    adjust(&mut story(), "tea", -3).refused("reserved");
    adjust(&mut story(), "tea", i64::MIN).refused("reserved");
    adjust(&mut story(), "tea", i64::MAX).refused("invalid-request");
    adjust(&mut story(), "tea", 0).refused("invalid-request");
    adjust(&mut story(), "cup", 1).refused("not-found");
    // What has left counts no more for those who come.
    adjust(&mut given([received("tea", 5), reserved(&[("tea", 3)]), shipped(&[("tea", 3)])]), "tea", -3).refused("reserved");
}

#[test]
fn what_is_reserved_leaves_with_the_parcel() {
    let mut story = given([received("tea", 5), reserved(&[("tea", 3)])]);
    story.hears(dispatched()).then([shipped(&[("tea", 3)])]);
    story.hears(dispatched()).nothing();
    let stock = story.tables.stock.get(&"tea".to_owned()).unwrap();
    assert_eq!((stock.reserved, stock.shipped, stock.available()), (0, 3, 2));
    // Nobody may take it for here again.
    assert!(matches!(story.hears(cancelled()).decided, Err(Refusal::Park(_))));
    assert!(matches!(given([short(&[])]).hears(dispatched()).decided, Err(Refusal::Park(_))));
}

#[test]
fn goods_come_in() {
    receive(&mut given([]), "tea", 5).then([received("tea", 5)]);
    receive(&mut given([received("tea", i64::MAX)]), "tea", 1).refused("invalid-request");
    receive(&mut given([]), "tea", 0).refused("invalid-request");
    receive(&mut given([received("tea", i64::MAX - 1), adjusted("tea", 1)]), "tea", 1).refused("invalid-request");
}

#[test]
fn all_lines_are_reserved_summed_and_sorted() {
    let story = || given([received("tea", 5), received("cup", 1)]);
    story().hears(placed(&[("tea", 2), ("cup", 1), ("tea", 3)])).then([reserved(&[("cup", 1), ("tea", 5)])]);
}

#[test]
fn or_none_is() {
    let story = || given([received("tea", 5)]);
    story().hears(placed(&[("tea", 3), ("tea", 3)])).then([short(&[("tea", 6, 5, true)])]);
    story().hears(placed(&[("tea", 5), ("cup", 1)])).then([short(&[("cup", 1, 0, false)])]);
    let mut unknown = story();
    unknown.hears(placed(&[("cup", 1)]));
    assert_eq!(unknown.tables.stock.get(&"cup".to_owned()), None, "an unknown article gets no row");
}

#[test]
fn what_is_reserved_is_released_once() {
    let mut story = given([received("tea", 5), reserved(&[("tea", 5)])]);
    story.hears(rejected()).then([released(&[("tea", 5)])]);
    story.hears(cancelled()).nothing();
    assert_eq!(story.tables.stock.get(&"tea".to_owned()).unwrap().available(), 5);
}

#[test]
fn a_line_of_nothing_parks() {
    let told = given([received("tea", 5)]).hears(placed(&[("tea", -1)]));
    assert!(matches!(told.decided, Err(Refusal::Park(_))));
}

#[test]
fn every_state_answers_every_input() {
    let states = [
        ("none", vec![received("tea", 5)]),
        ("reserved", vec![received("tea", 5), reserved(&[("tea", 3)])]),
        ("short", vec![received("tea", 5), short(&[("tea", 9, 5, true)])]),
        ("released", vec![received("tea", 5), reserved(&[("tea", 3)]), released(&[("tea", 3)])]),
        ("shipped", vec![received("tea", 5), reserved(&[("tea", 3)]), shipped(&[("tea", 3)])]),
    ];
    let inputs: [(&str, Tell<'_, Inventory>); 8] = [
        ("OrderPlaced, enough there", &|story| story.hears(placed(&[("tea", 3)]))),
        ("OrderPlaced, too little there", &|story| story.hears(placed(&[("tea", 9)]))),
        ("OrderRejected", &|story| story.hears(rejected())),
        ("OrderCancelled", &|story| story.hears(cancelled())),
        ("ShipmentDispatched", &|story| story.hears(dispatched())),
        ("command Receive", &|story| receive(story, "tea", 1)),
        ("command Adjust", &|story| adjust(story, "tea", -1)),
        ("command Adjust, more than is available", &|story| adjust(story, "tea", -9)),
    ];
    let story = || given([]);
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/STATES.md"), &state_table(story, &states, &inputs));
}

proptest! {
    /// Whatever comes in whatever order, repeated or not: received + adjusted = available + reserved + shipped, and none is negative.
    #[test]
    fn stock_adds_up(steps in proptest::collection::vec((0_u8..6, 0_usize..3, 0_usize..2, 1_i32..6), 0..60)) {
        let orders = [Uuid::from_u128(11), Uuid::from_u128(12), Uuid::from_u128(13)];
        let mut rows = farandole::rows![Tables; stock: Stock["cup".to_owned()], stock: Stock["tea".to_owned()]];
        for order in orders {
            rows.extend(farandole::rows![Tables; reservations: Reservation[order]]);
        }
        let mut story = Story::new(Inventory, Id::Order(ID), rows);
        let (mut counted, mut left) = (BTreeMap::<String, i64>::new(), BTreeMap::<String, i64>::new());
        for (kind, order, sku, n) in steps {
            let sku = ["cup", "tea"][sku];
            let held = held_by(&story, orders[order]);
            story.about(Id::Order(orders[order]));
            let told = match kind {
                0 => receive(&mut story, sku, n.into()),
                1 => story.hears(placed_by(orders[order], &[(sku, n)])),
                2 => story.hears(placed_by(orders[order], &[("tea", n), ("cup", 1), ("tea", 1)])),
                3 => adjust(&mut story, sku, -i64::from(n)),
                4 => story.hears(dispatched_of(orders[order])),
                _ => story.hears(cancelled_of(orders[order])),
            };
            match kind {
                0 if told.decided.is_ok() => *counted.entry(sku.to_owned()).or_default() += i64::from(n),
                3 if told.decided.is_ok() => *counted.entry(sku.to_owned()).or_default() -= i64::from(n),
                4 if told.decided.is_ok() => held.into_iter().for_each(|l| *left.entry(l.sku).or_default() += l.quantity),
                _ => {}
            }
            for sku in ["cup".to_owned(), "tea".to_owned()] {
                let none = Stock { sku: sku.clone(), received: 0, reserved: 0, adjusted: 0, shipped: 0 };
                let stock = story.tables.stock.get(&sku).cloned().unwrap_or(none);
                let held: i64 = orders.iter().flat_map(|id| held_by(&story, *id)).filter(|l| l.sku == sku).map(|l| l.quantity).sum();
                prop_assert_eq!(stock.counted(), counted.get(&sku).copied().unwrap_or(0));
                prop_assert_eq!(stock.shipped, left.get(&sku).copied().unwrap_or(0));
                prop_assert_eq!(stock.reserved, held);
                prop_assert_eq!(stock.counted(), stock.available() + stock.reserved + stock.shipped);
                prop_assert!(stock.available() >= 0 && stock.reserved >= 0 && stock.shipped >= 0);
            }
        }
    }
}

/// What is set aside for an order.
fn held_by(story: &Story<Inventory>, order: Uuid) -> Vec<StockLine> {
    match story.tables.reservations.get(&order).map(|r| &r.state.0) {
        Some(State::Reserved { lines, .. }) => lines.clone(),
        _ => Vec::new(),
    }
}
