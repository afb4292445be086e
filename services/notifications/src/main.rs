//! The notifications service.

use std::process::ExitCode;
use std::time::Duration;

use farandole::Service;
use notifications::effects::Mailer;
use notifications::{Notifications, api};
use serde::{Deserialize, Serialize};

/// Settings of notifications, section `[own]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// The mail server: `smtp://host:port`, with `?tls=required` for STARTTLS, or `smtps://`; user and password as in any address.
    smtp_url: String,
    /// Who writes: `Name <address>`. Its domain is that of the `Message-ID`s, too.
    from: String,
    /// The address of a customer, by the id.
    address_of: String,
    /// How long the mail server may take for a mail; less than `agenda.timeout`.
    timeout: Duration,
    /// How long a mail is tried before it is given up.
    give_up_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            smtp_url: "smtp://127.0.0.1:1025".to_owned(),
            from: "The shop <orders@shop.example>".to_owned(),
            address_of: "{customer}@customers.example".to_owned(),
            timeout: Duration::from_secs(5),
            give_up_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

fn main() -> ExitCode {
    farandole::main(|_config, settings: Settings| {
        let mailer = Mailer::new(&settings.smtp_url, &settings.from, &settings.address_of, settings.timeout)?;
        let notifications = Notifications { give_up_after: settings.give_up_after };
        Ok(Service::new(notifications, farandole::migrations!["0001_tables.sql"])
            .effects(mailer)
            .routes(api::routes)
            .openapi(api::openapi))
    })
}
