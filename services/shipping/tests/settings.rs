//! What the program says of its settings. Needs no server.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const DATABASE: (&str, &str) = ("FARANDOLE_DATABASE_URL", "postgres://me:hunter2@127.0.0.1:9/none");

/// The exit code, and all that is printed and said.
fn shipping(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let env = env.iter().copied().chain([DATABASE]);
    let output = Command::new(env!("CARGO_BIN_EXE_shipping")).args(args).env_clear().envs(env).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!said.contains("hunter2"), "{said}");
    (output.status.code(), said)
}

/// Guard: the secret isn't shown, be it right or wrong. Without, who may see the logs may have parcels delivered.
#[test]
fn the_carriers_secret_is_not_shown() {
    let variable = "FARANDOLE_OWN_CARRIER_SECRET";
    for args in [&["--print-config"][..], &["describe"], &["openapi"]] {
        let (code, said) = shipping(args, &[(variable, SECRET)]);
        assert!(code == Some(0) && !said.contains("whsec_C2FV"), "{args:?}: {said}");
        let (code, said) = shipping(args, &[(variable, "whsec_c2hvcnQ=")]);
        assert!(code == Some(2) && said.contains("own.carrier_secret") && !said.contains("c2hvcnQ"), "{args:?}: {said}");
        assert_eq!(shipping(args, &[]).0, Some(0), "{args:?}: without a secret all but reports is there");
    }
    let (_, said) = shipping(&["--print-config"], &[(variable, SECRET)]);
    assert!(said.contains(&format!("carrier_secret = \"********\"  # environment {variable}")), "{said}");
    let (code, said) = shipping(&["describe"], &[(variable, SECRET), ("FARANDOLE_OWN_CARRIER_SECRET_FILE", "/nowhere/at/all")]);
    assert!(code == Some(2) && said.contains("both set"), "{said}");
}
