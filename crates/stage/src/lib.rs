//! Starts, checks and stops the real parts on one machine: Apache Kafka, PostgreSQL, the schema registry and, when asked for, a mail catcher.
//!
//! The demo, the tests and the benchmarks run against what a user would run, never against a stand-in.
//!
//! ```no_run
//! # async fn example() -> Result<(), stage::Error> {
//! let stage = stage::Stage::shared();              // the one of `stage run -- …`, or one of this process's own
//! let sandbox = stage.sandbox().await?;            // topics and databases that no other test sees
//! let orders = sandbox.database("orders").await?;  // `orders.url` opens this database and no other
//! println!("{} {} {}orders.v1", stage.kafka(), orders.url, sandbox.prefix);
//! # Ok(()) }
//! ```
//!
//! **What it guarantees.** Everything listens on loopback only, lies in one folder ([`Options::dir`], `.stage`) and is gone at the end of
//! its owner, however that ends:
//! - [`Stage`] dropped, panic included: the parts are stopped, the run's folder is removed.
//! - owner killed: the kernel signals each part (parent-death signal), a janitor process kills what is left and removes the folder.
//! - janitor killed as well: the next start, or `stage clean`, sweeps it.
//!
//! Several stages run side by side; they share the downloaded jars and nothing else. Nothing here touches a server of the system's.
//!
//! **How it fails.** Each wait has a bound (180 s). A part that ends early or never answers is an [`Error`] with the last lines of its log;
//! a missing tool is one that names the Debian package.
//!
//! **Invariant:** no parameter of a part is there to make it faster than in production at the price of durability: `fsync` is on.

mod error;
mod folder;
mod janitor;
mod jars;
mod kafka;
pub mod mail;
mod part;
mod postgres;
pub mod process;
mod registry;
mod running;
mod runs;
mod sandbox;
mod sweep;

pub use error::Error;
pub use folder::{Options, free_port, tail};
pub use jars::fetched;
pub use running::Stage;
pub use sandbox::{Database, Sandbox};
pub use sweep::{Swept, clean, clean_all};
