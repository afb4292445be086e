use std::time::Duration;

use farandole::{Body, Decision, Input, Message as _, Never, Participant, Problem, Refusal, Task, Tasks};
use farandole_check::{Ask, World};
use serde::{Deserialize, Serialize};

macro_rules! records { ($topic:literal: $($name:ident { $($field:ident: $ty:ty),* })*) => { $(
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct $name { $(pub $field: $ty),* }
    impl $name {
        pub const NAME: &str = concat!($topic, ".", stringify!($name));
        pub const SCHEMA: &str = "";
        pub const TOPIC: &str = $topic;
    }
)* } }

// The hotel holds a room for ten minutes; it is booked once it is paid, and free again if it isn't by then.
records! { "hotel": RoomHeld { booking: String, until: i64 } RoomBooked { booking: String } RoomFreed { booking: String } }
// The till charges the guest's card.
records! { "till": ChargeRequested { booking: String } Charged { booking: String } ChargeFailed { booking: String }
    RefundRequested { booking: String } Refunded { booking: String } }

pub mod hotel {
    use super::*;

    farandole::messages! { pub enum Event { RoomHeld, RoomBooked, RoomFreed } ends { RoomBooked } }
    farandole::messages! {
        pub enum Heard { Charged, ChargeFailed }
        ignores { ChargeRequested, RefundRequested, Refunded }
    }
    farandole::deadlines! { pub enum Deadline { Pay } }
    farandole::tables! { pub struct Tables { rooms: Room in "rooms" { booking: String, state: String } } }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Hold;

#[derive(Debug)]
pub struct Hotel;

impl Participant for Hotel {
    const NAME: &'static str = "hotel";
    type Id = String;
    type Event = hotel::Event;
    type Heard = hotel::Heard;
    type Command = Hold;
    type Deadline = hotel::Deadline;
    type Effect = Never;
    type Tables = hotel::Tables;

    fn decide(&self, tables: &hotel::Tables, id: &String, input: &Input<Self>) -> Result<Decision<hotel::Event>, Refusal> {
        let booking = id.clone();
        let state = tables.rooms.get(id).map(|room| room.state.as_str());
        Ok(match (&input.body, state) {
            (Body::Command(Hold), None) => {
                Decision::event(RoomHeld { booking, until: input.at.plus(Duration::from_secs(600)).micros() })
            }
            (Body::Command(Hold), Some(_)) => return Err(Problem::conflict("held", "this booking is there already").into()),
            (Body::Heard(hotel::Heard::Charged(_)), Some("held")) => Decision::event(RoomBooked { booking }),
            (Body::Heard(hotel::Heard::ChargeFailed(_)) | Body::Deadline(_), Some("held")) => {
                Decision::event(RoomFreed { booking })
            }
            _ => Decision::nothing(),
        })
    }
    fn evolve(&self, tables: &mut hotel::Tables, event: &hotel::Event) {
        let (booking, state) = match event {
            hotel::Event::RoomHeld(e) => (&e.booking, "held"),
            hotel::Event::RoomBooked(e) => (&e.booking, "booked"),
            hotel::Event::RoomFreed(e) => (&e.booking, "free"),
        };
        tables.rooms.put(hotel::Room { booking: booking.clone(), state: state.to_owned() });
    }
    fn follow_up(&self, event: &hotel::Event) -> Tasks<Self> {
        match event {
            hotel::Event::RoomHeld(e) => {
                vec![Task::deadline(hotel::Deadline::Pay, farandole::Timestamp::from_micros(e.until))]
            }
            _ => vec![Task::close(hotel::Deadline::Pay)],
        }
    }
}

pub mod till {
    use super::*;

    farandole::messages! {
        pub enum Event { ChargeRequested, Charged, ChargeFailed, RefundRequested, Refunded }
        ends { ChargeRequested, RefundRequested, Refunded }
    }
    farandole::messages! { pub enum Heard { RoomHeld, RoomFreed } ignores { RoomBooked } }
    farandole::effects! { pub enum Effect -> Outcome { Charge, Refund } }
    farandole::tables! { pub struct Tables { bills: Bill in "bills" { booking: String, state: String } } }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Charge {
        pub booking: String,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Refund {
        pub booking: String,
    }
    #[derive(Debug, Serialize, Deserialize)]
    pub enum Outcome {
        Charged,
        Declined,
        Refunded,
    }
}

/// The till; `refunds_late` is what was forgotten at first.
#[derive(Debug)]
pub struct Till {
    pub refunds_late: bool,
}

impl Participant for Till {
    const NAME: &'static str = "till";
    type Id = String;
    type Event = till::Event;
    type Heard = till::Heard;
    type Command = Never;
    type Deadline = Never;
    type Effect = till::Effect;
    type Tables = till::Tables;

    fn decide(&self, tables: &till::Tables, id: &String, input: &Input<Self>) -> Result<Decision<till::Event>, Refusal> {
        use till::{Event, Heard, Outcome};
        let booking = id.clone();
        let state = tables.bills.get(id).map(|bill| bill.state.as_str());
        Ok(match (&input.body, state) {
            (Body::Heard(Heard::RoomHeld(_)), None) => Decision::event(ChargeRequested { booking }),
            // The room is free again: give back what was paid.
            (Body::Heard(Heard::RoomFreed(_)), Some("paid")) => Decision::event(RefundRequested { booking }),
            // Nobody knows yet whether it was paid.
            (Body::Heard(Heard::RoomFreed(_)), Some("asked")) if self.refunds_late => Decision::event(ChargeFailed { booking }),
            (Body::Outcome { outcome: Outcome::Charged, .. }, Some("asked")) => Decision::event(Charged { booking }),
            (Body::Outcome { outcome: Outcome::Charged, .. }, Some("failed")) if self.refunds_late => {
                Decision::events([Event::from(Charged { booking: booking.clone() }), RefundRequested { booking }.into()])
            }
            (Body::Outcome { outcome: Outcome::Declined, .. }, Some("asked")) => Decision::event(ChargeFailed { booking }),
            (Body::Outcome { outcome: Outcome::Refunded, .. }, Some("refunding")) => Decision::event(Refunded { booking }),
            _ => Decision::nothing(),
        })
    }
    fn evolve(&self, tables: &mut till::Tables, event: &till::Event) {
        let (booking, state) = match event {
            till::Event::ChargeRequested(e) => (&e.booking, "asked"),
            till::Event::Charged(e) => (&e.booking, "paid"),
            till::Event::ChargeFailed(e) => (&e.booking, "failed"),
            till::Event::RefundRequested(e) => (&e.booking, "refunding"),
            till::Event::Refunded(e) => (&e.booking, "refunded"),
        };
        tables.bills.put(till::Bill { booking: booking.clone(), state: state.to_owned() });
    }
    fn follow_up(&self, event: &till::Event) -> Tasks<Self> {
        match event {
            till::Event::ChargeRequested(e) => vec![Task::effect(till::Charge { booking: e.booking.clone() })],
            till::Event::RefundRequested(e) => vec![Task::effect(till::Refund { booking: e.booking.clone() })],
            _ => Vec::new(),
        }
    }
}

/// One guest, who asks for a room; the card is charged or declined.
pub fn world(till: Till) -> World {
    World::new("a room and its payment")
        .participant(Hotel)
        .participant(till)
        .command::<Hotel>(Ask::once("hold a room", "anna".to_owned(), || Hold).repeated(1))
        .outside::<Till>(|effect| match effect {
            till::Effect::Charge(_) => vec![till::Outcome::Charged, till::Outcome::Declined],
            till::Effect::Refund(_) => vec![till::Outcome::Refunded],
        })
        .cases::<Hotel>(|tables, id, body| {
            let state = tables.rooms.get(id).map_or("none", |room| room.state.as_str());
            let input = match body {
                Body::Heard(heard) => heard.short_name(),
                Body::Deadline(_) => "deadline `pay`",
                Body::Command(_) | Body::Outcome { .. } => "command Hold",
            };
            (state.to_owned(), input.to_owned())
        })
        .always("who is charged twice is nobody", |s| {
            s.events::<Till>().filter(|event| matches!(event, till::Event::Charged(_))).count() <= 1
        })
        .at_end("who paid has a room, or the money back", |s| {
            let booked = s.rows::<hotel::Room>().any(|room| room.state == "booked");
            let charged = s.done::<Till>().any(|(_, outcome)| matches!(outcome, till::Outcome::Charged));
            let refunded = s.done::<Till>().any(|(_, outcome)| matches!(outcome, till::Outcome::Refunded));
            charged == (booked || refunded)
        })
        .sometimes("a room is booked", |s| s.rows::<hotel::Room>().any(|room| room.state == "booked"))
}
