//! `farandole new`: what it writes, and what it refuses. That it builds and passes its tests is seen by `scripts/outside`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn new(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_farandole")).arg("new").args(args).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The files below `folder`, by their paths in it.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn what_is_written_is_whole_and_says_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let output = new(folder.path(), &["parcel-post", "--namespace", "com.acme", "--kit", root.to_str().unwrap()]);
    assert!(output.status.success() && said(&output).contains("cd parcel-post"), "{}", said(&output));
    let files = files(&folder.path().join("parcel-post"));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            ".gitignore",
            "Cargo.toml",
            "README.md",
            "build.rs",
            "migrations/0001_items.sql",
            "parcel-post.toml",
            "schemas/parcel-post/ItemAdded.avsc",
            "schemas/parcel-post/ItemExpired.avsc",
            "schemas/released/parcel-post/ItemAdded/1.avsc",
            "schemas/released/parcel-post/ItemExpired/1.avsc",
            "src/api.rs",
            "src/lib.rs",
            "src/main.rs",
            "src/participant.rs",
            "tests/servers.rs",
            "tests/stories.rs",
        ]
    );
    for (name, text) in &files {
        assert!(!text.contains("{{") && !text.contains("}}"), "a placeholder is left in {name}");
    }
    for (name, words) in [
        ("Cargo.toml", "name = \"parcel-post\""),
        ("Cargo.toml", &format!("farandole = {{ path = \"{}/crates/farandole\"", root.display())),
        ("Cargo.toml", &format!("farandole-build = {{ path = \"{}/crates/build\"", root.display())),
        ("schemas/parcel-post/ItemAdded.avsc", "\"namespace\": \"com.acme.parcel_post\""),
        ("src/participant.rs", "crate::events::parcel_post::{ItemAdded, ItemExpired}"),
        ("src/participant.rs", "const NAME: &'static str = \"parcel-post\""),
    ] {
        assert!(files[name].contains(words), "{words} is missing in {name}:\n{}", files[name]);
    }
    assert_eq!(files["schemas/parcel-post/ItemAdded.avsc"], files["schemas/released/parcel-post/ItemAdded/1.avsc"]);
}

#[test]
fn without_a_checkout_it_depends_on_a_release_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = new(folder.path(), &["parcels", "sub/folder"]);
    assert!(output.status.success() && said(&output).contains("--kit"), "{}", said(&output));
    let files = files(&folder.path().join("sub/folder"));
    let version = format!("farandole = {{ version = \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(files["Cargo.toml"].contains(&version), "{}", files["Cargo.toml"]);
    assert!(files["schemas/parcels/ItemAdded.avsc"].contains("\"namespace\": \"parcels\""));
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("full")).unwrap();
    fs::write(folder.path().join("full/file"), "").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (args, words) in [
        (&["Parcels"][..], "lower-case letters"),
        (&["serde"], "choose another one"),
        (&["parcels", "--namespace", "com.my-team"], "as in com.acme"),
        (&["parcels", "full"], "is not empty"),
        (&["parcels", "--kit", "empty"], "no checkout of Farandole"),
        (&["parcels", "--kit", "nowhere"], "No such file"),
    ] {
        let output = new(folder.path(), args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{words} is missing in {}", said(&output));
    }
    assert!(!folder.path().join("parcels").exists());
    assert!(new(folder.path(), &["parcels", "empty"]).status.success(), "an empty folder is as good as none");
}
