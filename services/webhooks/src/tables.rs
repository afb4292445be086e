//! Subscriptions and deliveries as rows.

use farandole::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

farandole::tables! {
    /// What webhooks keeps.
    pub struct Tables {
        /// Who is told of orders: one row, which every event of an order is decided by.
        directory: Directory in "directory" { id: String, live: Json<Vec<Live>> },
        /// One subscription. Its secret is sealed, and gone once it is removed.
        subscriptions: Subscription in "subscriptions" {
            subscription_id: Uuid, url: String, types: Json<Vec<String>>, secret: String, slot: i32, registered_at: i64,
            removed_at: Option<i64>
        },
        /// What of an order goes to one subscriber. `pending`: something is sent or waits; `dead`: something was given up.
        queues: Queue in "queues" {
            [order_id: Uuid, subscription_id: Uuid], deliveries: Json<Vec<Delivery>>, pending: bool, dead: bool
        },
    }
}

/// A live subscription, as far as orders' events need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The subscription.
    pub subscription_id: Uuid,
    /// Its place among the live ones.
    pub slot: i32,
    /// What it wants to be told.
    pub types: Vec<String>,
    /// Since when: it isn't told of what happened before, however late that is read.
    #[serde(default)]
    pub since: i64,
}

impl Live {
    /// Whether it is told of this.
    pub fn wants(&self, kind: &str) -> bool {
        self.types.iter().any(|wanted| wanted == kind)
    }
}

/// One message to one subscriber.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// As `webhook-id` says it.
    pub message_id: String,
    /// Its type.
    pub kind: String,
    /// The subscriber's place.
    pub slot: i32,
    /// What is sent; empty once nobody needs it.
    pub body: String,
    /// 1, and one more each time an operator had it tried again.
    pub attempt: i32,
    /// How far it has come.
    #[serde(flatten)]
    pub state: State,
    /// Since when.
    pub since: Timestamp,
}

/// How far a message has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Its turn comes after those before it.
    Waiting,
    /// It is its turn.
    Sending,
    /// The subscriber has taken it.
    Delivered {
        /// With which status.
        status: i32,
    },
    /// It was given up; an operator can have it tried again.
    Dead {
        /// How the last attempt ended.
        reason: String,
    },
    /// Its subscription was removed first.
    Dropped,
}

impl State {
    /// The state in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Delivered { .. } => "delivered",
            Self::Dead { .. } => "dead",
            Self::Dropped => "dropped",
        }
    }

    /// Whether it is still to end.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Waiting | Self::Sending)
    }
}

impl Queue {
    /// One in which nothing is.
    pub fn new(order_id: Uuid, subscription_id: Uuid) -> Self {
        Self { order_id, subscription_id, deliveries: Json(Vec::new()), pending: false, dead: false }
    }

    /// The delivery of this message.
    pub fn find(&self, message_id: &str) -> Option<&Delivery> {
        self.deliveries.iter().find(|delivery| delivery.message_id == message_id)
    }

    /// Whether something is being sent.
    pub fn is_sending(&self) -> bool {
        self.deliveries.iter().any(|delivery| delivery.state == State::Sending)
    }

    /// Those that wait, in order.
    pub fn waiting(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter().filter(|delivery| delivery.state == State::Waiting)
    }

    /// It waits, behind all that are there.
    pub fn append(&mut self, delivery: Delivery) {
        self.deliveries.retain(|had| had.message_id != delivery.message_id);
        self.deliveries.push(delivery);
        self.count();
    }

    /// It is this far now, where it stands.
    pub fn put(&mut self, delivery: Delivery) {
        match self.deliveries.iter_mut().find(|had| had.message_id == delivery.message_id) {
            Some(had) => *had = delivery,
            None => self.deliveries.push(delivery),
        }
        self.count();
    }

    /// It ended so. Nobody needs the body any more but who tries a dead one again.
    pub fn end(&mut self, message_id: &str, state: State, since: Timestamp) {
        if let Some(delivery) = self.deliveries.iter_mut().find(|delivery| delivery.message_id == message_id) {
            if !matches!(state, State::Dead { .. }) {
                delivery.body = String::new();
            }
            (delivery.state, delivery.since) = (state, since);
        }
        self.count();
    }

    fn count(&mut self) {
        self.pending = self.deliveries.iter().any(|delivery| delivery.state.is_pending());
        self.dead = self.deliveries.iter().any(|delivery| matches!(delivery.state, State::Dead { .. }));
    }
}
