//! The orders service.

use std::process::ExitCode;
use std::time::Duration;

use farandole::Service;
use orders::{Orders, api};
use serde::{Deserialize, Serialize};

/// Settings of orders, section `[own]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How long stock and card may take before an order is cancelled.
    confirm_within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { confirm_within: Duration::from_secs(60) }
    }
}

fn main() -> ExitCode {
    farandole::main(|_config, settings: Settings| {
        let orders = Orders { confirm_within: settings.confirm_within };
        Ok(Service::new(orders, farandole::migrations!["0001_tables.sql"]).routes(api::routes).openapi(api::openapi))
    })
}
