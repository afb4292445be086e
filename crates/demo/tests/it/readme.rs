//! Every command block of README.md and ARCHITECTURE.md does what it says.
//!
//! A block's info string says what it needs: `sh` nothing, `sh shop` a running shop, `sh stage` a stage, `sh demo` a
//! machine to itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::kit;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The command blocks of both documents: info string and commands.
fn blocks() -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let mut fences = text.split("\n```");
        fences.next();
        for (i, part) in fences.enumerate().filter(|(i, _)| i % 2 == 0) {
            let (info, body) = part.split_once('\n').unwrap_or_else(|| panic!("block {i} of {document} is not closed"));
            if info.starts_with("sh") {
                blocks.push((info.to_owned(), body.to_owned()));
            }
        }
    }
    blocks
}

fn of_kind(kind: &str) -> Vec<String> {
    blocks().into_iter().filter(|(info, _)| info == kind).map(|(_, body)| body).collect()
}

fn run(commands: &str, env: &[(&str, String)]) -> Output {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", commands]).current_dir(root()).envs(env.iter().map(|(k, v)| (*k, v.as_str())));
    bash.output().unwrap()
}

fn succeeded(commands: &str, output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{commands}\n{out}\n{err}");
    out.into_owned()
}

#[test]
fn every_block_is_of_a_known_kind() {
    for (info, body) in blocks() {
        assert!(["sh", "sh shop", "sh stage", "sh demo"].contains(&info.as_str()), "{info}: {body}");
    }
    assert!(!of_kind("sh shop").is_empty() && !of_kind("sh demo").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_by_hand() {
    let own = kit::open_shipping("3s").await;
    let exports = demo::report::exports(&own.shop).unwrap();
    // One after the other in one shell, as they are read: a later one uses the order of the first.
    let commands = of_kind("sh shop").join("\n");
    // A test's topics have a prefix, the demo's have none.
    let prefix = &own.shop.parts.prefix;
    let commands = commands.replace("-t \"$topic\"", &format!("-t \"{prefix}$topic\""));
    let commands = commands.replace("--quiet orders", &format!("--quiet {prefix}orders"));
    // It would build what is built. What the last order led to may take a moment yet.
    let commands = commands.replace("scripts/audit", "target/release/audit || { sleep 2; target/release/audit; }");
    let (shown, output) = tokio::task::spawn_blocking(move || {
        let env: Vec<_> = exports.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let output = run(&commands, &env);
        (commands, output)
    })
    .await
    .unwrap();
    let said = succeeded(&shown, &output);
    for words in [
        "\"state\":\"confirmed\"",
        "ce_type=farandole.orders.OrderPlaced",
        "farandole.orders.OrderConfirmed",
        "0 violations",
        "\"reason\":\"DELIVERED\"",
        "\"state\":\"delivered\"",
        "\"state\":\"captured\"",
        "ce_type=farandole.shipping.ShipmentDelivered",
        "ce_type=farandole.payments.PaymentCaptured",
        "\"voided\"",
        "holds    1. money: ",
        // State is had back.
        "it differs",
        "mended: the live rows are those that its events make",
        "they differ",
        "stock: 1 live, 1 rebuilt, 1 differ",
        "it is live again",
        "1 row(s) differed",
        "as of number 1",
        "farandole_until_1: 1 table(s)",
    ] {
        assert!(said.contains(words), "{words} is missing in:\n{said}");
    }
}

#[test]
fn commands_that_need_nothing() {
    for block in of_kind("sh") {
        // Running all tests from a test would never end. What takes long is run by the tests of its own crate; here it only says
        // what it would do.
        let commands: String =
            block.lines().filter(|line| line.trim() != "scripts/test").map(|line| format!("{line}\n")).collect();
        let commands =
            commands.replace("scripts/faults ", "scripts/faults --plan ").replace("scripts/bench ", "scripts/bench --help ");
        let commands = commands.replace("scripts/explore\n", "scripts/explore --states 2000 --no-bugs\n");
        if !commands.trim().is_empty() {
            // `describe` and `--print-config` ask no server, but want a database to be named.
            let env = [("FARANDOLE_DATABASE_URL", "postgres://orders:hunter2@127.0.0.1/orders".to_owned())];
            let said = succeeded(&commands, &run(&commands, &env));
            assert!(!said.contains("hunter2"), "a password is printed:\n{said}");
        }
    }
}

#[test]
fn a_service_by_hand() {
    // A topic prefix, since other tests' records are none of its business.
    let env = [("FARANDOLE_TOPICS_PREFIX", "readme.".to_owned())];
    let mut expected = BTreeSet::from([
        "\"points\":0",
        "farandole=l=",
        "anna: invoice 1 of 12.00",
        "from nothing but its topics",
        "apply with `loyalty rebuild --from-nothing --execute`",
    ]);
    for block in of_kind("sh stage") {
        // The stage that this test runs on has told where it is as `stage up` would.
        assert!(std::env::var("STAGE_POSTGRES").is_ok(), "run this with `stage run -- cargo test`");
        let said = succeeded(&block, &run(&block, &env));
        expected.retain(|words| !said.contains(words));
    }
    assert!(expected.is_empty(), "no block has printed {expected:?}");
}

/// The whole demo with a service killed, and once more: the second run must find nothing in its way.
#[test]
fn the_demo_holds_its_audit() {
    for block in of_kind("sh demo") {
        let commands = block.trim().replace("scripts/demo --once", "scripts/demo --once --json");
        for kill in ["", " --kill payments"] {
            let commands = format!("{commands}{kill}");
            let said = succeeded(&commands, &run(&commands, &[]));
            let account: serde_json::Value = serde_json::from_str(said.trim_end().lines().last().unwrap()).unwrap();
            let n = |name: &str| account[name].as_u64().unwrap_or_else(|| panic!("{name} is missing in {account}"));
            assert_eq!(account["audit"], true, "{said}");
            assert!(said.contains("holds    topics hold what the services declare, and all of it that isn't rare ("), "{said}");
            let ends = ["delivered", "refunded", "unpaid", "rejected", "cancelled"];
            assert_eq!(ends.map(n).iter().sum::<u64>(), n("placed"), "{account}");
            assert_eq!(n("rows_taken") + n("rows_turned_away"), n("rows_read"), "{account}");
            assert_eq!(n("rows_read"), 19_632, "{account}");
        }
    }
}
