//! The inventory service.

use std::process::ExitCode;

use farandole::{NoSettings, Service};
use inventory::{Inventory, api};

fn main() -> ExitCode {
    farandole::main(|_config, NoSettings {}| {
        Ok(Service::new(Inventory, farandole::migrations!["0001_tables.sql"]).routes(api::routes).openapi(api::openapi))
    })
}
