//! The command line: what it takes, and that it says what is wrong.

use std::process::Command;

use acquirer::server::Cli;
use clap::Parser as _;

#[test]
fn it_says_what_is_wrong() {
    for (args, wrong) in [
        (&["--data", "d"][..], None),
        (&["--data", "d", "--key-retention", "15m"], None),
        (&["--data", "d", "--key-retention", "0s"], Some("must be longer than nothing")),
        (&["--data", "d", "--key-retention", "soon"], Some("--key-retention")),
        (&["--data", "d", "--faults", r#"{"fail_rate":0.5}"#], None),
        (&["--data", "d", "--faults", r#"{"fail_rate":1.5}"#], Some("fail_rate must be a number from 0 to 1")),
        (&["--data", "d", "--listen", "nowhere"], Some("--listen")),
        (&[], Some("--data")),
    ] {
        let said = Cli::try_parse_from(["acquirer", "serve"].iter().chain(args)).err().map(|error| error.to_string());
        assert_eq!(said.is_some(), wrong.is_some(), "{args:?}: {said:?}");
        assert!(said.unwrap_or_default().contains(wrong.unwrap_or_default()), "{args:?}");
    }
}

#[test]
fn wrong_arguments_are_two() {
    let status = Command::new(env!("CARGO_BIN_EXE_acquirer")).arg("serve").output().unwrap().status;
    assert_eq!(status.code(), Some(2));
}
