//! The inventory service.

use std::process::ExitCode;

use farandole::{NoSettings, Service};
use inventory::{Inventory, api};

fn main() -> ExitCode {
    farandole::main(|_config, NoSettings {}| {
        let migrations = farandole::migrations!["0001_tables.sql", "0002_shipped.sql"];
        Ok(Service::new(Inventory, migrations).routes(api::routes).openapi(api::openapi))
    })
}
