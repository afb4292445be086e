//! The shipping service.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use farandole::Service;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use shipping::effects::Carrier;
use shipping::webhook::Secrets;
use shipping::{Shipping, api};

/// Settings of shipping, section `[own]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How long a parcel waits before it is handed over; until then its order can be cancelled.
    dispatch_after: Duration,
    /// How long the carrier is asked to take a parcel; then the parcel fails, and is called back in case it was taken.
    book_within: Duration,
    /// How long the carrier may say nothing of a parcel before it is asked.
    deliver_within: Duration,
    /// How long it is asked; then the parcel is taken for lost.
    track_within: Duration,
    /// Where the carrier listens.
    carrier_url: String,
    /// How long the carrier surely remembers an idempotency key. Ours promises 24 hours; the rest is for clocks that differ.
    key_retention: Duration,
    /// What the carrier signs its reports with; several, with spaces in between, while it changes. Without one no report is taken.
    #[serde(skip_serializing)]
    carrier_secret: SecretString,
    /// A file with the same, in place of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier_secret_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dispatch_after: Duration::from_secs(10),
            book_within: Duration::from_secs(24 * 60 * 60),
            deliver_within: Duration::from_secs(7 * 24 * 60 * 60),
            track_within: Duration::from_secs(24 * 60 * 60),
            carrier_url: "http://127.0.0.1:8091".to_owned(),
            key_retention: Duration::from_secs(23 * 60 * 60),
            carrier_secret: SecretString::default(),
            carrier_secret_file: None,
        }
    }
}

fn main() -> ExitCode {
    farandole::main(|_config, settings: Settings| {
        let carrier = Carrier::new(&settings.carrier_url, settings.key_retention)?;
        let secrets = Secrets::of(&settings.carrier_secret, settings.carrier_secret_file.as_deref())?;
        let Settings { dispatch_after, book_within, deliver_within, track_within, .. } = settings;
        let shipping = Shipping { dispatch_after, book_within, deliver_within, track_within };
        Ok(Service::new(shipping, farandole::migrations!["0001_tables.sql"])
            .effects(carrier)
            .routes(api::routes(secrets))
            .openapi(api::openapi))
    })
}
