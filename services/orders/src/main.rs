//! The orders service.

use std::process::ExitCode;
use std::time::Duration;

use farandole::Service;
use orders::prices::Rules;
use orders::{Orders, api};
use serde::{Deserialize, Serialize};

/// Settings of orders, section `[own]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How long stock and card may take before an order is cancelled.
    confirm_within: Duration,
    /// How long orders are taken with a price that another one has replaced.
    prices_kept_for: Duration,
    /// Whether articles without a price are refused. Otherwise they cost what the caller says.
    prices_required: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            confirm_within: Duration::from_secs(60),
            prices_kept_for: Duration::from_secs(24 * 60 * 60),
            prices_required: false,
        }
    }
}

fn main() -> ExitCode {
    farandole::main(|_config, settings: Settings| {
        let orders = Orders { confirm_within: settings.confirm_within };
        let rules = Rules { kept_for: settings.prices_kept_for, required: settings.prices_required };
        Ok(Service::new(orders, farandole::migrations!["0001_tables.sql", "0002_prices.sql"])
            .routes(move |api| api::routes(api, rules))
            .openapi(api::openapi))
    })
}
