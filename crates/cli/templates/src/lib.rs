//! {{name}}: takes items from callers and lets each expire in time.
//!
//! The item stands for what your service is about. Where to change it: the events in `schemas/{{name}}`, the table in `migrations`, the
//! decisions in [`participant`], the routes in [`api`].

pub mod api;
pub mod participant;

use std::time::Duration;

use farandole::Service;
use serde::{Deserialize, Serialize};

pub use participant::Items;

/// The Rust types of the events, made of `schemas/` at build time.
pub mod events {
    include!(concat!(env!("OUT_DIR"), "/events.rs"));
}

/// Settings of its own: section `[own]` of the configuration.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long an item lasts.
    pub expires_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            expires_after: Duration::from_secs(3600),
        }
    }
}

/// The service.
pub fn service(settings: &Settings) -> Service<Items> {
    let items = Items {
        expires_after: settings.expires_after,
    };
    Service::new(items, farandole::migrations!["0001_items.sql"]).routes(api::routes)
}
