//! The kinds of mail. Open tasks are told apart by order and name, and several mails of an order may be under way: so each kind has an
//! effect and a deadline of its own.

use farandole::{Task, Timestamp, snake_case};
pub use schemas::notifications::NotificationKind as Kind;
use schemas::notifications::NotificationLine;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A mail to send: all that it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mail {
    /// The order.
    pub order_id: Uuid,
    /// What it tells.
    pub kind: Kind,
    /// 1, and one more each time an operator has it tried again.
    pub attempt: i32,
    /// The customer's id, of which the address is made.
    pub customer: String,
    /// ISO 4217 code of every amount.
    pub currency: String,
    /// Minor units.
    pub total: i64,
    /// What was ordered.
    pub lines: Vec<NotificationLine>,
    /// What this kind has to say besides; may be empty.
    pub detail: String,
}

/// What became of a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The mail server has taken it.
    Sent {
        /// Its `Message-ID`.
        message_id: String,
    },
    /// It can't be sent to this customer, for good.
    Refused {
        /// The mail server's words, or what is wrong with the address.
        reason: String,
    },
}

macro_rules! kinds {
    ($($kind:ident: $send:ident, $give_up:ident;)+) => {
        $(
            #[doc = concat!("The mail of kind `", stringify!($kind), "`.")]
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $send(pub Mail);
        )+

        farandole::effects! {
            /// What is asked of the mail server.
            pub enum Effect -> Outcome { $($send),+ }
        }

        farandole::deadlines! {
            /// When a mail that isn't sent is given up.
            pub enum Deadline { $($give_up),+ }
        }

        /// All kinds that this build knows.
        pub const ALL: &[Kind] = &[$(Kind::$kind),+];

        /// A kind as paths and answers name it.
        pub fn name(kind: Kind) -> &'static str {
            match kind {
                $(Kind::$kind => snake_case!($kind),)+
                Kind::Other => "other",
            }
        }

        impl Effect {
            /// The mail.
            pub fn mail(&self) -> &Mail {
                match self { $(Self::$send($send(mail)))|+ => mail }
            }
        }

        impl Deadline {
            /// The mail's kind.
            pub fn kind(self) -> Kind {
                match self { $(Self::$give_up => Kind::$kind),+ }
            }
        }

        /// Has a mail sent, until then.
        pub fn open(mail: Mail, send_by: Timestamp) -> Vec<Task<Deadline, Effect>> {
            match mail.kind {
                $(Kind::$kind => vec![Task::effect($send(mail)), Task::deadline(Deadline::$give_up, send_by)],)+
                // One of a newer build, which sends it.
                Kind::Other => Vec::new(),
            }
        }

        /// A mail of this kind isn't to be sent any more, or again.
        pub fn close(kind: Kind) -> Vec<Task<Deadline, Effect>> {
            match kind {
                $(Kind::$kind => vec![Task::close_effect::<$send>(), Task::close(Deadline::$give_up)],)+
                Kind::Other => Vec::new(),
            }
        }
    };
}

kinds! {
    Taken: SendTaken, GiveUpTaken;
    Confirmed: SendConfirmed, GiveUpConfirmed;
    Rejected: SendRejected, GiveUpRejected;
    Cancelled: SendCancelled, GiveUpCancelled;
    Dispatched: SendDispatched, GiveUpDispatched;
    Delivered: SendDelivered, GiveUpDelivered;
    Refunded: SendRefunded, GiveUpRefunded;
}

/// The kind of that name.
pub fn named(text: &str) -> Option<Kind> {
    ALL.iter().copied().find(|kind| name(*kind) == text)
}
