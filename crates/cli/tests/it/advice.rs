//! What the kit's messages tell an operator to run is there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn quoted(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            quoted(&entry, found);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&entry).unwrap();
            let text = text.lines().map(|line| line.trim().trim_end_matches('\\').trim()).collect::<Vec<_>>().join(" ");
            found.extend(text.split('`').filter(|part| part.starts_with("farandole ")).map(str::to_owned));
        }
    }
}

/// Guard: a verb that messages name is one of the tool's, with the options that they name.
#[test]
fn commands_of_the_tool_that_messages_name_can_be_run() {
    let mut found = BTreeSet::new();
    for sources in ["../farandole/src", "../outbox/src", "../build/src"] {
        quoted(&Path::new(env!("CARGO_MANIFEST_DIR")).join(sources), &mut found);
    }
    // And what the guide for operators does.
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md")).unwrap();
    found.extend(guide.split('`').skip(1).step_by(2).filter(|part| part.starts_with("farandole ")).map(str::to_owned));
    let mut seen = BTreeSet::new();
    for text in &found {
        let words: Vec<&str> = text.split_whitespace().skip(1).collect();
        let verb = words[0];
        let asked = Command::new(env!("CARGO_BIN_EXE_farandole")).args([verb, "--help"]).output().unwrap();
        let help = String::from_utf8(asked.stdout).unwrap();
        assert!(asked.status.success(), "`{text}` names no verb of the tool");
        // What a verb can't do without is named as well.
        let whole = match verb {
            "verify" => words.len() > 1,
            "heal" => words.contains(&"--service"),
            "schemas" => words.get(1).is_some_and(|verb| help.contains(&format!("  {verb} "))),
            _ => true,
        };
        assert!(whole, "`{text}` lacks what it is about");
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "`{text}`: {verb} has no {option}");
        }
        seen.insert(verb.to_owned());
    }
    assert!(["heal", "schemas", "verify", "parked", "migrate"].iter().all(|verb| seen.contains(*verb)), "{seen:?}");
    // The command that intake messages are put together from.
    let set = Command::new(env!("CARGO_BIN_EXE_farandole")).args(["positions", "set", "--help"]).output().unwrap();
    let help = String::from_utf8(set.stdout).unwrap();
    assert!(
        ["--topic", "--partition", "--to", "--reader", "--execute", "--reason"].iter().all(|option| help.contains(option)),
        "{help}"
    );
}
