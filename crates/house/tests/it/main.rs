//! The workspace holds to what ARCHITECTURE.md says of its structure.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod excerpts;
mod floors;
mod layers;
mod links;
mod migrations;
mod outside;
mod supply;

use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
