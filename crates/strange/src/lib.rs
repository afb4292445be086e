//! Schemas as a stranger may have them, and every type of Avro in every place: what `farandole-build` is tested with.
//!
//! The tests in here are those that it generates; `tests/` has the values go through the kit's codec.
#![deny(missing_docs, nonstandard_style, unused, rustdoc::all, reason = "what is generated has none of that")]
#![deny(clippy::all, clippy::pedantic)]

include!(concat!(env!("OUT_DIR"), "/events.rs"));

/// A record for each type of Avro, with that type in every place where one can be.
pub mod every {
    include!(concat!(env!("OUT_DIR"), "/every.rs"));
}
