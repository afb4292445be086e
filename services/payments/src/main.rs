//! The payments service.

use std::process::ExitCode;
use std::time::Duration;

use farandole::Service;
use payments::effects::Acquirer;
use payments::{Payments, api};
use serde::{Deserialize, Serialize};

/// Settings of payments, section `[own]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Where the card acquirer listens.
    acquirer_url: String,
    /// How long the acquirer surely remembers an idempotency key. Ours promises 24 hours; the rest is for clocks that differ.
    key_retention: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { acquirer_url: "http://127.0.0.1:8090".to_owned(), key_retention: Duration::from_secs(23 * 60 * 60) }
    }
}

fn main() -> ExitCode {
    farandole::main(|_config, settings: Settings| {
        let acquirer = Acquirer::new(&settings.acquirer_url, settings.key_retention)?;
        Ok(Service::new(Payments, farandole::migrations!["0001_tables.sql"])
            .effects(acquirer)
            .routes(api::routes)
            .openapi(api::openapi))
    })
}
