//! The statements that run by a clock, and one of a heal's, for the test of what they cost; ARCHITECTURE.md lists the former in words.

pub use crate::agenda::sample::{COUNT as TASKS, COUNT_TO as TASKS_TO};
pub use crate::agenda::scan::PAGE as DUE_TASKS;
pub use crate::consume::release::{COUNT as PARKED, COUNT_TO as PARKED_TO, DUE as DUE_PARKED, HEADS};
pub use crate::consume::tidy::{
    ANSWERS_SQL as OLD_ANSWERS, APPLIED_SQL as OLD_APPLIED, ROWS as TIDIED, STRANGERS_SQL as OLD_STRANGERS,
};
pub use crate::consume::tidy::{What, forget};
pub use crate::database::step::TRIM;
pub use crate::heal::tasks::WAITS as HEALED_WAITS;
pub use crate::parking::queue::mend as mend_heads;
pub use crate::publish::relay::partitions::UNSENT_OF;
pub use crate::publish::relay::read::{HEAD as UNSENT_HEAD, SETTINGS as RELAY};
pub use crate::publish::relay::state::Snapshot;
pub use crate::publish::relay::upkeep::{COUNT_TO as UNSENT_TO, HOLDER, SETTINGS as UPKEEP, UNSENT};
