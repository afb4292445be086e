//! Notifications: tells customers by e-mail what becomes of their orders.
//!
//! It follows orders, shipping and payments, and nobody waits for it: with the mail server down, orders go their way, and mail follows.
//! **Invariant:** one mail an order and kind, however often its inputs come. Only a crash between the mail server's 250 and the commit
//! sends it again, under the same `Message-ID`.

pub mod api;
pub mod content;
pub mod effects;
pub mod kinds;
pub mod messages;
pub mod money;
pub mod participant;
pub mod tables;
pub mod words;

pub use kinds::{Deadline, Effect, Kind, Mail, Outcome};
pub use messages::{Event, Heard};
pub use participant::{Command, Notifications};
