//! The audit: reads topics, databases and the books of the outside world back, and checks what must be true of every order and article.
//!
//! The demo, the tests, the fault runner and the drills use it, and `scripts/audit` runs it on a shop that runs.

pub mod allowed;
pub mod books;
pub mod check;
pub mod facts;
pub mod history;
pub mod invariants;
pub mod sources;
pub mod tables;
pub mod topics;

mod run;

pub use check::Check;
pub use run::{Audit, audit, audit_with};
pub use sources::Sources;
