//! Orders: takes them, and ends each of them as rejected, cancelled or completed.
//!
//! It learns from inventory that stock is short, from payments how the card went and from shipping where the parcel is; nobody tells it
//! what to do. Whether a confirmed order can still be cancelled is shipping's to decide.
//! **Invariant:** an order that was placed is confirmed or ended within its `confirm_by`, whatever the others do or don't; and ends once
//! parcel and money are settled, which shipping's and payments' own deadlines see to.

pub mod api;
pub mod basket;
pub mod fields;
pub mod messages;
pub mod participant;
pub mod price_change;
pub mod price_list;
pub mod prices;
pub mod tables;

pub use messages::{Event, Heard};
pub use participant::{Command, Deadline, Orders};
