//! `SETTINGS.md` has every setting with its default, and no other; ARCHITECTURE.md every check of `/readyz`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use farandole::config::{Config, NoSettings};

/// The settings of the code, `section.key`, each with its default as TOML.
fn in_code() -> BTreeMap<String, String> {
    let loaded = Config::load::<NoSettings>(None, Vec::new()).unwrap();
    let (mut section, mut settings) = ("", BTreeMap::new());
    for line in loaded.printed.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some(key) = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set")) {
            settings.insert(format!("{section}.{key}"), "not set".to_owned());
        } else {
            let (key, rest) = line.split_once(" = ").expect("a key and its value");
            let default = rest.strip_suffix("  # default").expect("nothing but defaults");
            settings.insert(format!("{section}.{key}"), default.to_owned());
        }
    }
    settings
}

/// The cells of a document's rows whose first cell is one piece of code.
fn rows(document: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect()).collect()
}

#[test]
fn every_setting_is_described_with_its_default() {
    let code = in_code();
    assert!(code.len() > 40, "{code:?}");
    let documented: Vec<_> = rows("SETTINGS.md").into_iter().filter(|cells| cells.len() == 4).collect();
    for [name, default] in documented.iter().map(|cells| [&cells[0], &cells[2]]) {
        let Some(right) = code.get(name) else { panic!("SETTINGS.md has `{name}`, which is no setting") };
        assert_eq!(default.replace(' ', ""), right.replace(' ', ""), "the default of `{name}` in SETTINGS.md, and in the code");
    }
    let names: BTreeSet<&String> = documented.iter().map(|cells| &cells[0]).collect();
    assert_eq!(names.len(), documented.len(), "a setting is there twice");
    let lacking: Vec<&String> = code.keys().filter(|name| !names.contains(name)).collect();
    assert!(lacking.is_empty(), "SETTINGS.md lacks {lacking:?}");
}

#[test]
fn every_check_is_described() {
    let source = include_str!("../../src/service/run.rs");
    let list = source.split("const CHECKS").nth(1).and_then(|rest| rest.split(';').nth(1)).expect("the list of checks");
    let listed = list.split('"').skip(1).step_by(2);
    let said = ["checks.probe(\"", "checks.failing(\"", "checks.ok(\""].into_iter().flat_map(|call| source.split(call).skip(1));
    let code: BTreeSet<String> = listed.chain(said.filter_map(|rest| rest.split('"').next())).map(str::to_owned).collect();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md")).unwrap();
    let table = text.split("| check | ").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("the table of checks");
    let rows = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.map(str::to_owned).collect::<BTreeSet<_>>(), code);
}
