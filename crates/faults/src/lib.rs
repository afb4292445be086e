//! Breaks a running system on purpose, and audits what it holds afterwards.
//!
//! A [plan](plan::plan) is drawn from a seed: processes killed and paused, servers taken away, connections cut, frozen, slowed, their
//! answers lost, replicas added and removed; and of what surrounds a system what its subjects know ([`Harm`]). [`run`] puts load on the
//! system, carries the plan out, measures after each fault how long the system takes to do a whole piece of work again, lets it come to
//! rest and audits it. The same seed gives the same plan; what happens in between is as the machine has it.
//!
//! The shop is one such system: [`shop::Shop`]. To break your own, implement [`System`]: the [targets](Target) are processes that are
//! started here ([`Process`]), proxies between them and what they need ([`Door`]), parts of a stage ([`Part`]) or whatever else
//! implements [`Subject`]; load, probe and audit are functions of yours.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//! use faults::{Door, Harm, Process, Shape, System, Target, plan, run};
//! # struct Mine { targets: Vec<Target> }
//! # impl System for Mine {
//! #     fn targets(&self) -> &[Target] { &self.targets }
//! #     async fn load(&self, _: tokio_util::sync::CancellationToken) -> anyhow::Result<String> { Ok(String::new()) }
//! #     async fn probe(&self) {}
//! #     async fn whole(&self) -> anyhow::Result<()> { Ok(()) }
//! #     async fn audit(&self) -> anyhow::Result<Vec<audit::Check>> { Ok(vec![]) }
//! # }
//! # async fn example() -> anyhow::Result<()> {
//! let database = Arc::new(Door::open().await?);
//! database.lead_to(["127.0.0.1:5432".to_owned()]);
//! let command = stage::process::Command::new("billing", "target/release/billing")
//!     .env([("FARANDOLE_DATABASE_URL", format!("postgres://billing@{}/billing", database.address()))])
//!     .log("billing.log");
//! let billing = Arc::new(Process::new(command));
//! billing.start()?;
//! let mine = Mine { targets: vec![
//!     Target::new(Shape::new("billing", &[Harm::Kill, Harm::Pause]), billing),
//!     Target::new(Shape::new("billing/postgres", &[Harm::Cut, Harm::LoseAnswers]), database),
//! ] };
//! let shapes: Vec<_> = mine.targets().iter().map(|target| target.shape.clone()).collect();
//! let report = run(Arc::new(mine), &plan::plan(7, Duration::from_secs(300), &shapes)).await?;
//! println!("{report}");
//! # Ok(()) }
//! ```
//!
//! What an operator does to get state back is drilled beside the same load: see [`drills`].
//!
//! **How it fails:** what is found wrong is in the [`Report`]; an error means that the run itself could not go on.

pub mod drills;
pub mod plan;
mod proxy;
mod report;
mod run;
mod services;
pub mod shop;
mod target;

pub use plan::{Fault, Harm, Shape};
pub use proxy::Door;
pub use report::{Report, Row};
pub use run::{RECOVERY, System, run};
pub use services::services;
pub use target::{Part, Process, Subject, Target};
