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
    /// How long the acquirer holds what isn't captured; ours does for seven days. Zero where a hold doesn't end by itself. When it is over, the
    /// order is cancelled, unless its parcel has left.
    hold_for: Duration,
    /// How long a capture may take before the money is written off; what is taken after that is given back. Days rather than hours, for
    /// the goods have left; shorter than a hold, since what has expired is refused.
    write_off_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
        let acquirer_url = "http://127.0.0.1:8090".to_owned();
        Self { acquirer_url, key_retention: hours(23), hold_for: hours(7 * 24), write_off_after: hours(3 * 24) }
    }
}

fn main() -> ExitCode {
    farandole::main(|_config, settings: Settings| {
        let Settings { acquirer_url, key_retention, hold_for, write_off_after } = settings;
        let (payments, acquirer) = (Payments { hold_for, write_off_after }, Acquirer::new(&acquirer_url, key_retention)?);
        Ok(Service::new(payments, farandole::migrations!["0001_tables.sql"])
            .effects(acquirer)
            .routes(api::routes)
            .openapi(api::openapi))
    })
}
