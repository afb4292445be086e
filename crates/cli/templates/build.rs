//! Makes the Rust types of the events from `schemas/`, and refuses a schema that doesn't go with what was released.

// Events of others that you subscribe to: copies of their schemas in a folder of their own, `heard/<topic>/<Event>.avsc`. Make both, and
// return the first failure:
//     let own = …; let heard = Schemas::in_folder("heard").output("heard.rs").generate();
//     if own == ExitCode::SUCCESS { heard } else { own }
fn main() -> std::process::ExitCode {
    farandole_build::Schemas::in_folder("schemas")
        .released("schemas/released")
        .wire_tests()
        .generate()
}
