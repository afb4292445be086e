//! Makes the Rust types of the events from `schemas/`, and refuses a schema that doesn't go with what was released.

fn main() -> std::process::ExitCode {
    farandole_build::Schemas::in_folder("schemas")
        .released("schemas/released")
        .wire_tests()
        .generate()
}
