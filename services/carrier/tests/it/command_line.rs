//! The command line: what it takes, and that it says what is wrong.

use std::process::Command;

use carrier::server::Cli;
use clap::Parser as _;

use crate::kit::SECRET;

#[test]
fn it_says_what_is_wrong() {
    for (args, wrong) in [
        (&["--data", "d"][..], None),
        (&["--data", "d", "--transit", "3d", "--key-retention", "15m"], None),
        (&["--data", "d", "--transit", "0s"], Some("must be longer than nothing")),
        (&["--data", "d", "--webhook-url", "nowhere"], Some("--webhook-url")),
        (&["--data", "d", "--faults", r#"{"webhook_repeat_rate":0.5}"#], None),
        (
            &["--data", "d", "--faults", r#"{"webhook_repeat_rate":1.5}"#],
            Some("webhook_repeat_rate must be a number from 0 to 1"),
        ),
        (&[], Some("--data")),
    ] {
        let said = Cli::try_parse_from(["carrier", "serve"].iter().chain(args)).err().map(|error| error.to_string());
        assert_eq!(said.is_some(), wrong.is_some(), "{args:?}: {said:?}");
        assert!(said.unwrap_or_default().contains(wrong.unwrap_or_default()), "{args:?}");
    }
}

/// None of them starts, and none says the secret.
#[test]
fn a_secret_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let start = |variable: Option<&str>, in_file: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carrier"));
        command.args(["serve", "--webhook-url", "http://127.0.0.1:1", "--data"]).arg(dir.path().join("data"));
        if let Some(secret) = variable {
            command.env("CARRIER_WEBHOOK_SECRET", secret);
        }
        if let Some(secret) = in_file {
            std::fs::write(&file, secret).unwrap();
            command.env("CARRIER_WEBHOOK_SECRET_FILE", &file);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    for (variable, in_file, wrong) in [
        (None, None, "--webhook-url needs --webhook-secret-file or CARRIER_WEBHOOK_SECRET"),
        (Some(SECRET), Some(SECRET), "not both"),
        (Some("hunter2"), None, "must begin with whsec_"),
        (None, Some("whsec_c2hvcnQ="), "must have at least 24 bytes"),
        (None, Some("whsec_this is no base64, but it is long enough"), "as base64"),
    ] {
        let said = start(variable, in_file);
        assert!(said.contains(wrong), "{said}");
        for secret in variable.into_iter().chain(in_file) {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

#[test]
fn wrong_arguments_are_two() {
    let status = Command::new(env!("CARGO_BIN_EXE_carrier")).arg("serve").output().unwrap().status;
    assert_eq!(status.code(), Some(2));
}
