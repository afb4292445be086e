//! What a case is called in the services' state tables.

use farandole::{Body, Message as _};
use farandole_check::World;
use inventory::{Id, Inventory};
use orders::tables::{Cancellation, Fulfilment, Money, Parcel};
use orders::{Command, Deadline, Orders};
use payments::tables::State;
use payments::{Outcome, Payments};
use schemas::orders::OrderLine;
use shipping::Shipping;

use crate::like::Like;

/// Of orders.
pub fn orders<O: Like<Orders>>(world: World) -> World {
    world.cases::<O>(|tables, id, body| {
        use orders::tables::State;
        let state = match tables.orders.get(id).map(|order| &*order.state) {
            None => "none".to_owned(),
            Some(State::Confirmed(now)) => under_way(now),
            Some(other) => other.name().to_owned(),
        };
        let input = match body {
            Body::Heard(heard) => heard.short_name(),
            Body::Deadline(Deadline::Confirm) => "deadline `confirm`",
            Body::Command(Command::Place(_)) => "command Place",
            Body::Command(Command::Cancel) => "command Cancel",
            Body::Outcome { .. } => "none",
        };
        (state, input.to_owned())
    })
}

/// A confirmed order: where its parcel and its money are. Once it has left, a cancellation that was refused is none.
fn under_way(now: &Fulfilment) -> String {
    let money = match now.money {
        Money::Held => "held",
        Money::Captured => "captured",
        Money::Unpaid => "unpaid",
        Money::Refunded => "refunded",
    };
    let place = match (now.parcel, now.money) {
        (Parcel::Awaited, Money::Held) => "confirmed".to_owned(),
        (Parcel::Prepared, Money::Held) => "prepared".to_owned(),
        (Parcel::Awaited | Parcel::Prepared, _) => format!("in the house, {money}"),
        (Parcel::Dispatched, _) => format!("dispatched, {money}"),
        (Parcel::Delivered, _) => format!("delivered, {money}"),
        (Parcel::Lost, _) => format!("lost, {money}"),
    };
    match now.cancellation {
        Cancellation::Requested(_) => format!("{place}, to be cancelled"),
        Cancellation::Refused if now.is_in_the_house() && now.money == Money::Held => format!("{place}, not cancelled"),
        Cancellation::None | Cancellation::Refused => place,
    }
}

/// Of inventory.
pub fn inventory<I: Like<Inventory>>(world: World) -> World {
    world.cases::<I>(|tables, id, body| {
        use inventory::tables::State;
        let id = match (id, body) {
            (Id::Order(id), _) => id,
            (Id::Article(sku), Body::Command(inventory::Command::Adjust { quantity, .. })) => {
                let available = tables.stock.get(sku).map_or(0, inventory::tables::Stock::available);
                let too_much = if available + quantity < 0 { ", more than is available" } else { "" };
                return ("none".to_owned(), format!("command Adjust{too_much}"));
            }
            (Id::Article(_), _) => return ("none".to_owned(), "command Receive".to_owned()),
        };
        let state = match tables.reservations.get(id).map(|reservation| &*reservation.state) {
            None => "none",
            Some(State::Reserved { .. }) => "reserved",
            Some(State::Short) => "short",
            Some(State::Released) => "released",
            Some(State::Shipped) => "shipped",
        };
        let input = match body {
            Body::Heard(inventory::Heard::OrderPlaced(placed)) => {
                let is_there =
                    |line: &OrderLine| tables.stock.get(&line.sku).is_some_and(|s| s.available() >= i64::from(line.quantity));
                let enough = placed.lines.iter().all(is_there);
                format!("OrderPlaced, {} there", if enough { "enough" } else { "too little" })
            }
            Body::Heard(heard) => heard.short_name().to_owned(),
            _ => "none".to_owned(),
        };
        (state.to_owned(), input)
    })
}

/// Of payments.
pub fn payments<P: Like<Payments>>(world: World) -> World {
    world.cases::<P>(|tables, id, body| {
        let state = match tables.payments.get(id).map(|payment| &*payment.state) {
            None => "none",
            Some(State::AwaitingStock { .. }) => "expected, order seen",
            Some(State::AwaitingOrder) => "expected, stock seen",
            Some(State::Abandoned { in_flight: true }) => "abandoned in flight",
            Some(State::VoidRequested(_)) => "void requested",
            Some(State::CaptureRequested { refund_expected: false, .. }) => "capture requested",
            Some(State::CaptureRequested { refund_expected: true, .. }) => "capture requested, refund expected",
            Some(State::WrittenOff { in_flight: true, .. }) => "written off in flight",
            Some(State::WrittenOff { in_flight: false, .. }) => "written off",
            Some(State::RefundRequested(_)) => "refund requested",
            Some(other) => other.name(),
        };
        let input = match body {
            Body::Heard(heard) => heard.short_name(),
            Body::Deadline(payments::Deadline::Expire) => "deadline `expire`",
            Body::Deadline(payments::Deadline::WriteOff) => "deadline `write_off`",
            Body::Outcome { outcome, .. } => match outcome {
                Outcome::Authorised { .. } => "outcome authorised",
                Outcome::Declined { .. } => "outcome declined",
                Outcome::Voided => "outcome voided",
                Outcome::VoidRefused { reason } if reason == "captured" => "outcome void refused: captured",
                Outcome::VoidRefused { reason } if reason == "expired" => "outcome void refused: expired",
                Outcome::VoidRefused { .. } => "outcome void refused: else",
                Outcome::Captured => "outcome captured",
                Outcome::CaptureRefused { reason } if reason == "captured" => "outcome capture refused: captured otherwise",
                Outcome::CaptureRefused { .. } => "outcome capture refused",
                Outcome::Refunded => "outcome refunded",
                Outcome::RefundRefused { .. } => "outcome refund refused",
            },
            Body::Command(none) => match *none {},
        };
        (state.to_owned(), input.to_owned())
    })
}

/// Of shipping.
pub fn shipping<S: Like<Shipping>>(world: World) -> World {
    world.cases::<S>(|tables, id, body| {
        use shipping::{Fate, Outcome};
        let state = tables.shipments.get(id).map_or("none", |shipment| shipment.state.name());
        let input = match body {
            Body::Heard(heard) => heard.short_name(),
            Body::Deadline(shipping::Deadline::Dispatch) => "deadline `dispatch`",
            Body::Deadline(shipping::Deadline::BookBy) => "deadline `book_by`",
            Body::Deadline(shipping::Deadline::Deliver) => "deadline `deliver`",
            Body::Deadline(shipping::Deadline::TrackBy) => "deadline `track_by`",
            Body::Outcome { outcome, .. } => match outcome {
                Outcome::Booked { .. } => "outcome booked",
                Outcome::Refused { .. } => "outcome refused",
                Outcome::Ended(Fate::Delivered) => "outcome delivered",
                Outcome::Ended(Fate::Lost) => "outcome lost",
                Outcome::Ended(Fate::Recalled) => "outcome recalled",
                Outcome::UnderWay => "outcome under way",
                Outcome::Unknown => "outcome unknown",
            },
            Body::Command(report) => match report.fate {
                Fate::Delivered => "report delivered",
                Fate::Lost => "report lost",
                Fate::Recalled => "report recalled",
            },
        };
        (state.to_owned(), input.to_owned())
    })
}
