//! Types of a stranger's schemas: their names, and their values in the kit's codec.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod codec;
mod names;
