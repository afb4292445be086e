//! What the program says of its settings. Needs no server.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Output, Stdio};

const DATABASE: (&str, &str) = ("FARANDOLE_DATABASE_URL", "postgres://me:hunter2@127.0.0.1:9/none");

fn orders(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_orders")).args(args).env_clear().envs(env.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All that is wrong is told at once, by whatever verb, and the exit code says that it is the settings.
#[test]
fn what_is_wrong_with_settings_is_told_at_once() {
    let wrong = [
        ("FARANDOLE_DATABASE_URL", "me:hunter2@localhost/orders"),
        ("FARANDOLE_LOG_LEVEL", "inof"),
        ("FARANDOLE_HTTP_LISTEN", "localhost"),
        ("FARANDOLE_HTTP_MAX_IN_FLIGHT", "0"),
        ("FARANDOLE_INTAKE_START", "{ stok = \"latest\" }"),
        ("FARANDOLE_INTAKE_LANES", "1000"),
        ("FARANDOLE_OWN_CONFIRM_WITHIN", "soon"),
        ("FARANDOLE_KAFKA_PROPERTIES_ACKS", "1"),
    ];
    for args in [&["--print-config"][..], &["serve"], &["migrate"], &["parked"]] {
        let output = orders(args, &wrong);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        for words in [
            "`database.url` from environment FARANDOLE_DATABASE_URL",
            "off, error, warn, info, debug or trace",
            "`http.listen`",
            "`http.max_in_flight`",
            "names `stok`",
            "`intake.lanes`",
            "`own.confirm_within`",
            "`acks`",
        ] {
            assert!(said.contains(words), "{words} is missing in {said}");
        }
        assert!(!said.contains("hunter2") && !text(&output.stdout).contains("hunter2"), "a password is shown: {said}");
    }
}

/// Guard: what `serve` would refuse, `--print-config` refuses. Without, a configuration that it was content with ends the service.
#[test]
fn print_config_checks() {
    let right = orders(&["--print-config"], &[DATABASE]);
    assert_eq!(right.status.code(), Some(0), "{}", text(&right.stderr));
    let none = orders(&["--print-config"], &[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("`database.url` is not set"), "{}", text(&none.stderr));
    assert!(text(&none.stdout).contains("[database]"), "what there is is shown all the same");
    assert!(text(&orders(&["--help"], &[]).stdout).contains("every check that needs no server"));
}

/// Guard: colours go to terminals alone. Without, files of logs have escapes between their words.
#[test]
fn logs_in_a_pipe_have_no_colours() {
    let env = [DATABASE, ("FARANDOLE_LOG_FORMAT", "text"), ("FARANDOLE_PROCESS_WAIT", "1ms")];
    let output = orders(&["migrate"], &env);
    let said = text(&output.stderr);
    assert!(said.contains("failed") && said.contains("process.wait"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

/// `orders openapi | head`.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for verb in ["openapi", "describe", "--print-config"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
        let mut child =
            command.arg(verb).env_clear().envs([DATABASE]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), text(&ended.stderr)), (Some(141), String::new()), "{verb}");
    }
}
