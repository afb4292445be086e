//! The kit's own protocols as small models, each explored whole: every interleaving of its steps, with crashes at any point.
//!
//! A model has the steps of the kit and those of the world around it (a crash, a late record, an operator), each as small as the
//! world can come between. Where the kit has a function without I/O, the model calls that function, so that a change there changes the
//! model. Where the kit's step is SQL or I/O, the step's documentation says what it stands for, and `STANDS_FOR` quotes the line:
//! a test fails when it isn't there any more.
//!
//! - **Guards.** What the kit does against a failure is a field of the model's `Guards`. With all of them nothing is violated; with one
//!   taken out a named invariant must be, or that guard guards nothing here.
//! - **Nothing vacuous.** What has to happen somewhere (a late record lands, a commit fails) is noted as it happens; a world in which it
//!   never does says nothing of it.
//! - **Termination** is an invariant: a state that nothing leads out of has nothing unfinished. The worlds are bounded by budgets, of
//!   crashes for example, and a step that changes nothing isn't one. A circle of steps that change something wouldn't be seen.
//!
//! The tests print states, depth and time of each, and the shortest story of each guard that is taken out:
//! `cargo test --release -p protocols -- --nocapture`.

pub mod chain;
pub mod explore;
pub mod heal;
pub mod parking;
pub mod position;
pub mod relay;
pub mod swap;
