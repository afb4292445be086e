//! What the services declare of each other, and whether the topics hold the same.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::shop::Shop;

/// How long `describe` and `graph` may take: they read a demo's topics.
const PATIENCE: Duration = Duration::from_secs(60);

/// What needs an acquirer that keeps no hold, or refuses to take what it holds; a carrier that is away for a day; or a loss in the
/// milliseconds between.
const RARE: [&str; 8] = [
    "AuthorisationExpired",
    "CaptureFailed",
    "PaymentWrittenOff",
    "RefundExpected",
    "CancellationRefused",
    "NotificationExpected",
    "RecallRequested",
    "RecallEnded",
];

/// How much of what is declared must have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// All of it but what is [rare](RARE): the shipped sample and the scripted orders go every other way.
    All,
    /// Whatever has: in other data no card may have been declined.
    Any,
}

/// Writes what each service says of itself to a file, and gives the files.
///
/// # Errors
/// When a service can't describe itself.
pub async fn descriptions(shop: &Shop) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for service in shop.sources().services() {
        let mut command = Command::new(shop.bin(service));
        command.args(["describe", "--output", "json"]).envs(shop.env(service, 0)?);
        let (code, description, said) = run(command).await.with_context(|| format!("asking {service} to describe itself"))?;
        if code != Some(0) {
            bail!("{service} describe: {said}");
        }
        let file = shop.folder().join(format!("{service}.json"));
        std::fs::write(&file, description).with_context(|| format!("writing {}", file.display()))?;
        files.push(file);
    }
    Ok(files)
}

/// What came of a comparison.
#[derive(Debug)]
pub struct Compared {
    /// Events and consumers that are declared.
    pub declared: usize,
    /// What isn't as declared, a sentence each.
    pub named: Vec<String>,
}

/// Compares the topics with the descriptions: `farandole graph --observed`.
///
/// # Errors
/// When they can't be read.
pub async fn compare(shop: &Shop, expected: Expected) -> anyhow::Result<Compared> {
    let mut command = Command::new(shop.bin("farandole"));
    command.args(["graph", "--observed", "--output", "json", "--quiet", "--bootstrap", &shop.parts.kafka]);
    command.args(descriptions(shop).await?);
    let (code, printed, said) = run(command).await.context("comparing the topics with the descriptions")?;
    let (Some(0 | 1), Ok(report)) = (code, serde_json::from_slice::<Value>(&printed)) else {
        bail!("farandole graph --observed: {said}");
    };
    let list = |name: &str| report[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_unseen = |finding: &Value| finding["what"].as_str().is_some_and(|what| what.starts_with("never-"));
    let is_rare = |finding: &Value| RARE.iter().any(|kind| finding["words"].as_str().is_some_and(|words| words.contains(kind)));
    let may_be = |finding: &Value| is_unseen(finding) && (expected == Expected::Any || is_rare(finding));
    let named = list("named").iter().filter(|finding| !may_be(finding));
    let named = named.map(|finding| finding["words"].as_str().unwrap_or_default().to_owned()).collect();
    Ok(Compared { declared: list("published").len() + list("consumed").len(), named })
}

/// Exit code, what was printed, what was said.
async fn run(mut command: Command) -> anyhow::Result<(Option<i32>, Vec<u8>, String)> {
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await.context("no answer in time")??;
    Ok((output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned()))
}
