//! The shop, as the runner drives it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ::audit::Check;
use anyhow::{Context as _, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio_util::sync::CancellationToken;

use super::Shop;
use super::audit::{self, Audited};
use super::shapes::{BROKERS, NOTIFICATIONS};
use crate::run::System;
use crate::services::WITHOUT_MAIL;
use crate::target::Target;

/// How long brokers may take to catch up: they notice a lost one after 4 s, and a loaded machine is slow.
const IN_SYNC: Duration = Duration::from_secs(120);

impl System for Shop {
    fn targets(&self) -> &[Target] {
        &self.targets
    }

    async fn load(&self, stop: CancellationToken) -> anyhow::Result<String> {
        let told = self.load.run(stop).await?;
        let all = self.direct.parts.databases.contains_key(NOTIFICATIONS);
        Ok(if all { told } else { format!("{told}\n{WITHOUT_MAIL}") })
    }

    async fn probe(&self) {
        self.load.probe().await;
    }

    /// Every replica of every partition is in sync.
    async fn whole(&self) -> anyhow::Result<()> {
        let brokers = self.stage.kafka().to_owned();
        tokio::task::spawn_blocking(move || in_sync(&brokers)).await.context("the look at the brokers ended early")?
    }

    async fn audit(&self) -> anyhow::Result<Vec<Check>> {
        let restored = self.restored.iter().filter(|(_, restored)| restored.load(Ordering::Relaxed)).map(|(name, _)| *name);
        let audited =
            Audited { direct: &self.direct, strays: &self.strays, registry: Some(&self.registry), restored: restored.collect() };
        audit::settle(&audited, &self.load.ledger()).await
    }
}

/// Waits until all replicas are in sync. Blocks.
fn in_sync(brokers: &str) -> anyhow::Result<()> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("reconnect.backoff.max.ms", "200")
        .create()
        .context("making a Kafka client")?;
    let until = Instant::now() + IN_SYNC;
    loop {
        let behind = match client.fetch_metadata(None, Duration::from_secs(5)) {
            Ok(cluster) => {
                let topics = cluster.topics().iter().flat_map(|t| t.partitions().iter().map(move |p| (t.name(), p)));
                // A topic with fewer copies than brokers would be one that a fault takes away whole.
                let lagging = topics.filter(|(_, p)| p.isr().len() < usize::from(BROKERS) || p.leader() < 0);
                let names: Vec<String> = lagging.map(|(topic, p)| format!("{topic}/{}", p.id())).collect();
                if names.is_empty() && cluster.brokers().len() == usize::from(BROKERS) {
                    return Ok(());
                }
                format!("{} of {BROKERS} brokers; not in sync: {}", cluster.brokers().len(), names.join(", "))
            }
            Err(error) => error.to_string(),
        };
        if Instant::now() > until {
            bail!("the brokers are not in sync within {} s: {behind}", IN_SYNC.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
