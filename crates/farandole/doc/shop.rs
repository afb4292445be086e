// The service that the snippets of `mistakes.md` share.
use farandole::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! records {
    ($($topic:literal $name:ident,)*) => { $(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            pub order_id: Uuid,
        }
        impl $name {
            pub const NAME: &'static str = concat!($topic, ".", stringify!($name));
            pub const SCHEMA: &'static str = "";
            pub const TOPIC: &'static str = $topic;
        }
    )* };
}
records! {
    "orders" OrderPlaced,
    "orders" OrderCancelled,
    "payments" PaymentAuthorised,
    "payments" PaymentDeclined,
    "inventory" StockReserved,
}

farandole::messages! { pub enum Event { OrderPlaced, OrderCancelled } }
farandole::messages! { pub enum Heard { PaymentAuthorised } }
farandole::deadlines! { pub enum Deadline { Confirm } }
farandole::effects! { pub enum Effect -> Outcome { Notify } }
farandole::tables! { pub struct Tables { orders: Order in "orders" { order_id: Uuid, state: String } } }

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notify {
    pub order_id: Uuid,
}
#[derive(Debug, Serialize, Deserialize)]
pub enum Outcome {
    Notified,
}

#[derive(Debug)]
pub struct Orders;

/// The types of orders, and what is said beside them.
macro_rules! orders {
    ($($own:tt)*) => {
        impl Participant for Orders {
            const NAME: &'static str = "orders";
            type Id = Uuid;
            type Event = Event;
            type Heard = Heard;
            type Command = Never;
            type Deadline = Deadline;
            type Effect = Effect;
            type Tables = Tables;
            $($own)*
        }
    };
}
