//! Explores what may become of farandole's participants before they run.
//!
//! Sagas by choreography fail in interleavings that no test thinks of: a payment that comes when the order is cancelled, a deadline that falls
//! due while a card is being charged, an input that comes once more after a restore. Participants are pure functions, so a machine can try
//! all of it. You write a small [`World`]: which participants, what callers may ask, what the outside world may answer, and what has to
//! hold. [`explore`](World::explore) tries every order of things, breadth first, and prints the shortest way to what doesn't hold.
//!
//! ```
//! # mod rooms { #![allow(dead_code, unused_imports)] include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/rooms.rs")); }
//! # use rooms::*;
//! use farandole_check::{Ask, Bounds, World};
//!
//! let report = World::new("a room and its payment")
//!     .participant(Hotel)
//!     .participant(Till { refunds_late: false })
//!     .command::<Hotel>(Ask::once("hold a room", "anna".to_owned(), || Hold))
//!     .outside::<Till>(|effect| match effect {
//!         till::Effect::Charge(_) => vec![till::Outcome::Charged, till::Outcome::Declined],
//!         till::Effect::Refund(_) => vec![till::Outcome::Refunded],
//!     })
//!     .at_end("who paid has a room", |s| {
//!         let paid = s.done::<Till>().any(|(_, outcome)| matches!(outcome, till::Outcome::Charged));
//!         !paid || s.rows::<hotel::Room>().any(|room| room.state == "booked")
//!     })
//!     .explore(Bounds::ci());
//! let violation = report.violation.unwrap();
//! assert_eq!(violation.violated, "who paid has a room");
//! println!("{violation}"); // the card was charged after the deadline had freed the room
//! ```
//!
//! # What is tried
//!
//! - **Records** of one topic and key come in order; between topics and keys in any. A participant takes them one by one: what a batch of the
//!   engine does is what its inputs do one after the other.
//! - **Commands** come at any moment, and again under the same `Idempotency-Key` or as a new request.
//! - **Deadlines** fire at any moment after they are due. Time is logical: it goes from one deadline to the next, and to a microsecond past one
//!   that hasn't fired, where some input would come out otherwise then: other events, other numbers than the moment itself, another answer.
//!   [`World::moments`] names others. A deadline at `Timestamp::MAX` never fires.
//! - **Effects** start at any moment after they were opened, and get each of their possible answers. An answer may be lost on the way; who
//!   asks again under the same key gets the same answer. One that was closed after it had started is still answered. One without answers never is.
//! - **Positions are lost**, so that any suffix of a key's records comes again, or all that was read of a topic, and answers come again. What
//!   comes again has another `input.id`. By default this repeats also what had led
//!   to events, as an operator's `inputs again` does; [the kit itself](World::redelivers_only_what_led_to_nothing) recognises those.
//! - **Parked inputs** are tried again at any moment; what comes later for their aggregate waits behind them. An operator who
//!   [drops](World::drops) one is tried if you say so.
//!
//! What decides is the engine's own code: `touches`, `decide`, `evolve`, `follow_up` of the real participants, with the same rules for
//! idempotency keys, refusals, parking, and what tasks one event may open. What it doesn't try: the kit's own protocols (relay, chain,
//! positions, heal), which have models of their own; and anything that your participants get told by nobody, such as their configuration.
//!
//! # What is found without being asked
//!
//! A row that `touches` doesn't name; a decision that depends on anything but its input ([`Fault::Undetermined`]); an `evolve` whose result
//! depends on the order of events of different keys, or that a rebuild wouldn't repeat ([`Fault::Order`]); a panic; an event that leads to
//! its own kind again and again, or an aggregate that only grows ([`Fault::Endless`]); an input that stays parked at the end; an event that nobody
//! consumes; a subscriber that would park an event since it neither subscribes to nor ignores it, or that looks for it in another topic.
//!
//! Two of these cost as much as exploring itself, and are tried less as a world grows. Each input is decided five times in the first 1,000 states,
//! twice in the first 10,000, and then twice in one state of sixteen. All events are folded again in each end, in the first 2,000 states, and
//! then in one of sixteen.
//!
//! A state in which nothing more happens by itself is an *end*: all records are delivered, nothing is open. There
//! [`at_end`](World::at_end) is checked, whether or not a caller might ask for more.
//!
//! # No vacuous proof
//!
//! An invariant that never looked at anything, and a [`sometimes`](World::sometimes) that is never so, make a report
//! [not hold](Report::holds). [`Covered`] compares what worlds reach with a participant's committed state table.
//!
//! # What really ran
//!
//! A [`Recording`] holds what topics say of a run; [`World::replay`] makes each decision again and says which of them the participants don't
//! make, and [`Replayed::violated`] checks the world's invariants on it. The ids of records, deadlines and outcomes as inputs aren't recorded, so
//! an event that holds one is refused.
//!
//! # Cost
//!
//! Some 20,000 to 30,000 states a second and core with small participants, 40 bytes for a state that was seen and some kilobytes for one that
//! waits. Names that can be [exchanged](World::interchangeable) divide the number of states. Begin with one aggregate, one command
//! and one loss; grow until [`Bounds::ci`] no longer exhausts it.

#![warn(missing_docs)]

mod actor;
mod agenda;
#[cfg(test)]
mod agrees;
mod ask;
mod clock;
mod covered;
#[cfg(test)]
mod edges;
mod endless;
mod explore;
mod fault;
mod follow;
mod invariant;
mod look;
mod model;
mod parked;
mod prints;
mod quiet;
mod reached;
mod recording;
mod refold;
mod replay;
mod report;
mod same;
mod seen;
mod state;
mod step;
mod story;
mod tell;
mod typed;
mod walk;
mod world;

pub use ask::Ask;
pub use covered::Covered;
pub use explore::Bounds;
pub use fault::Fault;
pub use follow::Story;
pub use invariant::Holds;
pub use recording::{Recorded, Recording, Unreadable};
pub use replay::Replayed;
pub use report::Report;
pub use seen::Seen;
pub use story::{Chapter, Counterexample};
pub use walk::Walked;
pub use world::World;
