//! What is outside the shop, acquirer and carrier: each behind a front, which sees what is asked of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use demo::shop::{STANDINS, Shop};
use serde_json::{Value, json};

use super::effects::Effects;
use super::front::Front;
use crate::target::Process;

/// How long one may take to be told something.
const ANSWER: Duration = Duration::from_secs(60);
/// Between two tries.
const LOOK: Duration = Duration::from_millis(50);
/// What the carrier does with its reports all the time: some come twice, late, forged, and in another order.
const UNRULY: &str =
    r#"{"webhook_repeat_rate": 0.05, "webhook_shuffle_ms": 300, "webhook_forge_rate": 0.03, "webhook_late_rate": 0.03}"#;

/// All of them. Dropping it kills them.
pub struct Standins {
    all: BTreeMap<&'static str, Standin>,
    client: reqwest::Client,
}

struct Standin {
    process: Process,
    _front: Front,
    url: String,
}

impl Standins {
    /// Starts them: `seen` comes through their fronts, `direct` past them.
    ///
    /// # Errors
    /// When one doesn't start.
    pub async fn start(
        direct: &mut Shop,
        seen: &mut Shop,
        effects: &Arc<Effects>,
        mut port: impl FnMut() -> anyhow::Result<u16>,
    ) -> anyhow::Result<Self> {
        let mut all = BTreeMap::new();
        for name in STANDINS {
            let (at, front) = (port()?, Front::open(Arc::<Effects>::clone(effects)).await?);
            direct.expect(name, at);
            seen.expect(name, front.port());
            front.lead_to([format!("127.0.0.1:{at}")]);
            let process = Process::new(seen.standin_command(name, at)?.0);
            process.start()?;
            all.insert(name, Standin { process, _front: front, url: direct.url(name) });
        }
        Ok(Self { all, client: reqwest::Client::new() })
    }

    /// Tells one what to do wrong with requests.
    ///
    /// # Errors
    /// When it doesn't take that.
    pub async fn set(&self, name: &str, mut faults: Value) -> anyhow::Result<()> {
        let url = &self.all.get(name).with_context(|| format!("there is no {name}"))?.url;
        if name == "carrier" {
            let unruly: Value = serde_json::from_str(UNRULY).context("reading the carrier's usual faults")?;
            unruly.as_object().into_iter().flatten().for_each(|(fault, value)| faults[fault] = value.clone());
        }
        let until = Instant::now() + ANSWER;
        loop {
            match self.client.put(format!("{url}/faults")).json(&faults).send().await {
                Ok(answer) => {
                    let status = answer.status();
                    ensure!(status.is_success(), "the {name} doesn't take its faults: {status}");
                    return Ok(());
                }
                Err(error) => ensure!(Instant::now() < until, "the {name} can't be told its faults: {error}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// From now on they do nothing wrong with requests.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn well(&self) -> anyhow::Result<()> {
        for name in STANDINS {
            self.set(name, json!({})).await?;
        }
        Ok(())
    }

    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.all.values().map(|standin| &standin.process)
    }
}
