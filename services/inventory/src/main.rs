//! The inventory service.

use std::process::ExitCode;
use std::time::Duration;

use farandole::Service;
use inventory::{Inventory, api, overdue};
use serde::{Deserialize, Serialize};

/// Settings of inventory, section `[own]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How long goods may be set aside before that is an alarm: twice what an order takes until it ends or its parcel leaves, which is
    /// orders' `confirm_within` and shipping's `dispatch_after`, and some time for the carrier.
    overdue_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { overdue_after: Duration::from_secs(10 * 60) }
    }
}

fn main() -> ExitCode {
    farandole::main(|_config, settings: Settings| {
        let after = settings.overdue_after;
        let migrations = farandole::migrations!["0001_tables.sql", "0002_shipped.sql", "0003_overdue.sql"];
        Ok(Service::new(Inventory, migrations)
            .alarm(overdue::NAME, overdue::WHAT, move |pool| Box::pin(overdue::count(pool, after)))
            .routes(move |api| api::routes(api, after))
            .openapi(api::openapi))
    })
}
