//! Makes the Rust types of the events, by the rules of this house.

use std::process::ExitCode;

use farandole_build::{Rules, Schemas};

fn main() -> ExitCode {
    Schemas::in_folder(".").released("released").rules(Rules::house().namespaces("farandole")).wire_tests().generate()
}
