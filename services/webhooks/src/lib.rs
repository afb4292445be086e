//! Webhooks: tells subscribers over HTTP what becomes of orders.
//!
//! A subscriber registers an address, types of messages and a secret; each event of an order that it asked for is sent there, signed as
//! [Standard Webhooks](https://www.standardwebhooks.com) says. Nobody waits for it: with a subscriber down, orders go their way.
//!
//! **Invariants:** of one order, a subscriber gets one message at a time, in the order of the events; the next begins when the one before
//! has ended, taken or dead. A message may come twice, under the same `webhook-id`. A subscriber that is down delays no other. No secret
//! is in an event, a row or a log but sealed, and no message goes to an address that [`guard`] refuses.

pub mod address;
pub mod api;
pub mod deliver;
pub mod effects;
pub mod endpoints;
pub mod guard;
pub mod id;
pub mod kinds;
pub mod message;
pub mod messages;
pub mod participant;
pub mod seal;
pub mod sign;
pub mod tables;
pub mod targets;

pub use deliver::{Deliver, Effect, Outcome};
pub use id::Id;
pub use messages::{Event, Heard};
pub use participant::{Command, Webhooks};
