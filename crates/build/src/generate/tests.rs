//! The tests that generated code may have.

use std::fmt::Write as _;

use crate::names::{Scope, snake};

/// An event to be tested.
pub(crate) struct Tested {
    /// Its path in Rust: `orders::OrderPlaced`.
    pub rust: String,
    /// Where its released versions lie, and their texts.
    pub released: Vec<(String, String)>,
}

/// The module `wire_tests`: a test an event, and one of whether every release is noted.
pub(crate) fn module(events: &[Tested], folder: &str, released: Option<&str>) -> String {
    let mut scope = Scope::default();
    // Without `#[cfg(test)]`, which a test has by itself: Clippy wants nothing behind a module that has it.
    let mut code = "mod wire_tests {\n".to_owned();
    if let Some(released) = released {
        let name = scope.add("every_release_is_noted");
        let _ = writeln!(
            code,
            "#[test]\nfn {name}() -> ::std::result::Result<(), ::farandole_build::Error> {{\n\
             ::farandole_build::Schemas::in_folder({folder:?}).released({released:?}).check().map(|_| ())\n}}"
        );
    }
    for Tested { rust, released } in events {
        let name = scope.add(&snake(&rust.replace("r#", "").replace("::", "_")));
        let _ = writeln!(
            code,
            "#[test]\nfn {name}() -> ::std::result::Result<(), ::std::string::String> {{\n\
             ::farandole_build::testing::keeps_its_bytes::<super::{rust}>(super::{rust}::SCHEMA, &{released:?})\n}}"
        );
    }
    code.push_str("}\n");
    code
}
