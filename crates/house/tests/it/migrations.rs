//! Every file of a folder `migrations` is named where its crate makes them: a file that isn't is applied nowhere, and says nothing.

use std::path::Path;

use crate::workspace;

/// All Rust sources below `folder`, one after the other.
fn sources(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = entries.map(|path| if path.is_dir() { sources(&path) } else { std::fs::read_to_string(path).unwrap_or_default() });
    text.collect()
}

#[test]
fn every_file_of_migrations_is_named() {
    let mut seen = 0;
    for folder in ["crates", "services", "examples"] {
        for of in std::fs::read_dir(workspace().join(folder)).unwrap().map(|entry| entry.unwrap().path()) {
            let Ok(files) = std::fs::read_dir(of.join("migrations")) else { continue };
            let sources = sources(&of.join("src"));
            for file in files.map(|entry| entry.unwrap().file_name()) {
                let name = format!("\"{}\"", file.to_str().unwrap());
                assert!(sources.contains(&name), "{name} of {} is in no `migrations!`", of.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "the folders weren't found: {seen} files");
}
