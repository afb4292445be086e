//! What the program says of itself and of its settings. Needs no server.

use std::path::Path;
use std::process::Command;

use farandole::testing::committed;

/// The exit code, what is printed, and what is said.
fn webhooks(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let database = ("FARANDOLE_DATABASE_URL", "postgres://me:hunter2@127.0.0.1:9/none");
    let env = env.iter().copied().chain([database]);
    let output = Command::new(env!("CARGO_BIN_EXE_webhooks")).args(args).env_clear().envs(env).output().unwrap();
    let [printed, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!printed.contains("hunter2") && !said.contains("hunter2"), "{printed}{said}");
    (output.status.code(), printed, said)
}

/// The documents on the choreography are made from this file, for no program of the demo's can be asked.
#[test]
fn the_committed_description_is_what_the_program_says() {
    let (code, printed, said) = webhooks(&["describe", "--output", "json"], &[]);
    assert_eq!(code, Some(0), "{said}");
    committed(Path::new(env!("CARGO_MANIFEST_DIR")).join("description.json"), &printed);
}

/// Guard: a key that is there and is wrong is told at the start, and not shown. Without, the first message tells.
#[test]
fn wrong_settings_are_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let right = file("right", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n");
    let short = file("short", "c2hvcnQgYnV0IHNlY3JldA==");
    for args in [&["--print-config"][..], &["describe"], &["openapi"]] {
        for (variable, value, why) in [
            ("KEY_FILE", short.as_str(), "own.key_file"),
            ("KEY_FILE", "/nowhere/at/all", "own.key_file"),
            ("TIMEOUT", "10s", "agenda.timeout"),
            ("TIMEOUT", "0s", "own.timeout"),
            ("ALLOW_PRIVATE", r#"["10.0.0.1/8"]"#, "own.allow_private"),
            ("ALLOW_PRIVATE", r#"["anywhere"]"#, "own.allow_private"),
        ] {
            let (code, _, said) = webhooks(args, &[(&format!("FARANDOLE_OWN_{variable}"), value)]);
            assert!(code == Some(2) && said.contains(why) && !said.contains("c2hvcnQ"), "{args:?} {variable}={value}: {said}");
        }
        let (code, printed, said) =
            webhooks(args, &[("FARANDOLE_OWN_KEY_FILE", &right), ("FARANDOLE_OWN_ALLOW_PRIVATE", r#"["10.0.0.0/8"]"#)]);
        assert!(code == Some(0) && !printed.contains("AQEB"), "{args:?}: {said}");
    }
}
