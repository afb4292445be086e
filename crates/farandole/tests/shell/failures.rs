//! `FAILURES.md` names tests that are there.

use std::path::{Path, PathBuf};

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(kit.join("FAILURES.md")).unwrap();
    let mut files = Vec::new();
    for folder in [
        "src",
        "../outbox/src",
        "tests",
        "../demo/tests",
        "../cli",
        "../importer",
        "../listener",
        "../../examples",
        "../../schemas/src",
        "../../services",
    ] {
        rust_files(&kit.join(folder), &mut files);
    }
    let sources: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
    assert!(named.len() > 40, "{}", named.len());
    for test in named {
        let name = test.rsplit("::").next().unwrap();
        assert!(sources.contains(&format!("fn {name}(")), "{test} is named and isn't there");
    }
}
