//! `farandole graph`: who tells whom what, from the descriptions of all services; and whether topics hold the same.
//!
//! A description is what `SERVICE describe --output json` prints, or a file of the same form for a program that has no such verb. What is
//! declared is drawn ([`mermaid`], [`dot`]), written for other tools ([`asyncapi`]) and for readers ([`pages`]). [`observed`] compares it with
//! the headers of every record.
//!
//! **Not declared**, so not drawn: which input leads to which events. Records say what led to them, and [`observed`] lists that.

pub mod asyncapi;
mod choreography;
pub mod declared;
mod dot;
pub mod mermaid;
pub mod observed;
pub mod pages;
mod run;
mod schemas;
mod text;
mod words;
mod yaml;

pub use choreography::{Choreography, Published};
pub use dot::dot;
pub use run::{Args, run};
pub use schemas::Schemas;
pub use text::text;
pub use yaml::yaml;
