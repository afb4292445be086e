//! The webhooks service.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use farandole::Service;
use serde::{Deserialize, Serialize};
use webhooks::address::Rules;
use webhooks::effects::{self, Sender};
use webhooks::endpoints::Stored;
use webhooks::guard::Guard;
use webhooks::seal::Sealer;
use webhooks::{Webhooks, api};

/// Settings of webhooks, section `[own]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// A file with the key that subscribers' secrets are sealed with: base64 of 32 bytes. Without one nobody can subscribe, and nothing is
    /// sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<PathBuf>,
    /// How long a message is tried before it is dead.
    give_up_after: Duration,
    /// How long an attempt may take; less than `agenda.timeout`.
    timeout: Duration,
    /// Whether a subscriber may be at an address that begins with `http://`.
    allow_http: bool,
    /// Ranges that are not public, and may be sent to all the same: `["10.1.0.0/16"]`.
    allow_private: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key_file: None,
            give_up_after: Duration::from_secs(24 * 60 * 60),
            timeout: Duration::from_secs(5),
            allow_http: false,
            allow_private: Vec::new(),
        }
    }
}

fn main() -> ExitCode {
    farandole::main(|config, settings: Settings| {
        if settings.timeout.is_zero() || settings.timeout >= config.agenda.timeout {
            return Err("`own.timeout` has to be more than nothing and less than `agenda.timeout`".into());
        }
        let sealer = settings.key_file.as_deref().map(Sealer::from_file).transpose()?.map(Arc::new);
        let rules = Rules { allow_http: settings.allow_http, guard: Arc::new(Guard::new(&settings.allow_private)?) };
        let (timeout, give_up_after, longest_wait) = (settings.timeout, settings.give_up_after, config.agenda.longest_wait);
        let sending = effects::Settings { timeout, give_up_after, longest_wait, rules: rules.clone() };
        let endpoints = Stored::default();
        let sender = Sender::new(sending, sealer.clone(), endpoints.clone())?;
        Ok(Service::new(Webhooks, farandole::migrations!["0001_tables.sql"])
            .effects(sender)
            .routes(api::routes(rules, sealer, endpoints))
            .openapi(api::openapi))
    })
}
