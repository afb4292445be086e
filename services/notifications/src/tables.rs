//! Notifications as rows.

use farandole::Timestamp;
use schemas::notifications::NotificationLine;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::kinds::Kind;

farandole::tables! {
    /// What notifications keeps.
    pub struct Tables {
        /// One order: what its mails need, once it is known, and how far each has come. `failed`: one of them at least has failed.
        notifications: Notification in "notifications" {
            order_id: Uuid, details: Json<Option<Details>>, mails: Json<Vec<MailState>>, failed: bool
        },
    }
}

/// What all mails of an order need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The customer's id.
    pub customer: String,
    /// ISO 4217 code of every amount.
    pub currency: String,
    /// Minor units.
    pub total: i64,
    /// What was ordered.
    pub lines: Vec<NotificationLine>,
}

/// How far one mail has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailState {
    /// What it tells.
    pub kind: Kind,
    /// 0 while it is expected, then 1, and one more each time an operator had it tried again.
    pub attempt: i32,
    /// What this kind has to say besides.
    pub detail: String,
    /// How far it has come.
    #[serde(flatten)]
    pub state: State,
    /// Since when.
    pub since: Timestamp,
}

/// How far a mail has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It is to be requested once the order is known.
    Expected,
    /// It is to be sent.
    Requested,
    /// The mail server has taken it.
    Sent {
        /// Its `Message-ID`.
        message_id: String,
    },
    /// It couldn't be sent.
    Failed {
        /// Why.
        reason: String,
    },
}

impl State {
    /// The state in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Requested => "requested",
            Self::Sent { .. } => "sent",
            Self::Failed { .. } => "failed",
        }
    }
}

impl Notification {
    /// An order of which nothing is known yet.
    pub fn new(order_id: Uuid) -> Self {
        Self { order_id, details: Json(None), mails: Json(Vec::new()), failed: false }
    }

    /// The mail of this kind, if it was requested.
    pub fn mail(&self, kind: Kind) -> Option<&MailState> {
        self.mails.iter().find(|mail| mail.kind == kind)
    }

    /// The mail of its kind is this far now.
    pub fn put(&mut self, mail: MailState) {
        match self.mails.iter_mut().find(|had| had.kind == mail.kind) {
            Some(had) => *had = mail,
            None => self.mails.push(mail),
        }
        self.failed = self.mails.iter().any(|mail| matches!(mail.state, State::Failed { .. }));
    }
}
