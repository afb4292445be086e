#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod ambiguity;
mod compatibility;
mod error;
mod files;
mod generate;
mod names;
mod parse;
mod released;
mod rules;
mod schema;
mod schemas;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod topics;

pub use compatibility::differences;
pub use error::Error;
pub use rules::Rules;
pub use schemas::{Checked, Event, Noted, Schemas};
