//! Released versions: compared, noted, and never changed.

use crate::{Folder, event};

#[test]
fn a_release_is_noted_once() {
    let folder = Folder::new(&[("t/E.avsc", &event("\"int\"", ", \"default\": 0"))]);
    assert_eq!(
        folder.wrong(folder.released().check()),
        ["t/E.avsc isn't released yet; note it with `farandole schemas release`"]
    );
    folder.released().code().expect("that is no reason not to build");
    let noted = folder.released().release().unwrap();
    assert_eq!((noted.len(), noted[0].version, &noted[0].copy), (1, 1, &folder.path("released/t/E/1.avsc")));
    assert_eq!(std::fs::read_to_string(&noted[0].copy).unwrap(), std::fs::read_to_string(folder.path("t/E.avsc")).unwrap());
    assert_eq!(folder.released().release().unwrap(), []);
    let checked = folder.released().check().unwrap();
    assert_eq!((checked.schemas, checked.versions), (1, 1));

    folder.write("t/E.avsc", &event("\"int\"", ", \"default\": 0, \"doc\": \"Words.\""));
    assert_eq!(folder.released().release().unwrap(), [], "words are no change");
    folder.write("t/E.avsc", &event("\"int\"", ""));
    let said = folder.wrong(folder.released().check());
    assert!(said[0].starts_with("t/E.avsc has changed since version 1; note it with `farandole schemas release`"), "{said:?}");
    assert_eq!(folder.released().release().unwrap()[0].version, 2);
}

#[test]
fn an_incompatible_change_is_refused_everywhere_and_nothing_is_noted() {
    let folder =
        Folder::new(&[("t/E.avsc", &event("\"int\"", "")), ("t/F.avsc", &event("\"int\"", "").replace("\"E\"", "\"F\""))]);
    folder.released().release().unwrap();
    folder.write("t/E.avsc", &event("\"long\"", ""));
    folder.write("t/G.avsc", &event("\"int\"", "").replace("\"E\"", "\"G\""));
    let why = "t/E.avsc against released/t/E/1.avsc: E.it: was int and is long; give it its type back, and the new one to a new field with a default";
    assert_eq!(folder.wrong(folder.released().release()), [why]);
    assert_eq!(folder.wrong(folder.released().code()), [why]);
    let unnoted = "t/G.avsc isn't released yet; note it with `farandole schemas release`";
    assert_eq!(folder.wrong(folder.released().check()), [why, unnoted], "and not that the other is to be noted");
    assert!(!folder.path("released/t/G").exists());
}

/// Transitive: with the first version, too, when the one before is fine.
#[test]
fn every_version_counts() {
    let gone = |fields: &str| format!(r#"{{"type": "record", "name": "E", "fields": [{fields}]}}"#);
    let folder = Folder::new(&[("t/E.avsc", &gone(r#"{"name": "a", "type": "int", "default": 0}"#))]);
    folder.released().release().unwrap();
    folder.write("t/E.avsc", &gone(""));
    folder.released().release().unwrap();
    folder.write("t/E.avsc", &gone(r#"{"name": "a", "type": "string", "default": ""}"#));
    let said = folder.wrong(folder.released().release());
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("t/E.avsc against released/t/E/1.avsc: E.a: was int and is string"), "{said:?}");
}

#[test]
fn what_is_missing_or_odd_is_named() {
    let folder = Folder::new(&[("t/E.avsc", &event("\"int\"", "")), ("released/t/E/2.avsc", &event("\"int\"", ""))]);
    let said = folder.wrong(folder.released().release());
    assert!(said[0].ends_with("released/t/E: versions are 1, 2, … without a gap; restore the file that is missing"), "{said:?}");
    std::fs::remove_file(folder.path("t/E.avsc")).unwrap();
    folder.write("released/t/E/1.avsc", &event("\"int\"", ""));
    let said = folder.wrong(folder.released().check());
    assert!(said[0].starts_with("t/E.avsc is gone, but its events may be in a log"), "{said:?}");
    folder.write("released/t/E/01.avsc", &event("\"int\"", ""));
    let said = folder.wrong(folder.released().check());
    assert!(said[0].contains("released/t/E/01.avsc: isn't <schema>/<number>.avsc"), "{said:?}");
    let none = folder.wrong(folder.schemas().release());
    assert!(none[0].starts_with("no folder for released versions is named"), "{none:?}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = Folder::new(&[]);
    let said = farandole_build::Schemas::in_folder(folder.path("nowhere")).code().unwrap_err().to_string();
    assert!(said.contains("nowhere: can't be read") && said.contains("name the folder"), "{said}");
}
