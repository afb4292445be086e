//! The shop that is measured: services on a stage, in databases and topics of their own, with stock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use audit::Check;
use demo::shop::{Parts, SERVICES, Shop};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stage::Stage;

use super::basket::Range;
use super::http::Server;
use super::timeline::Timeline;
use super::usage::{Kind, Processes};

/// What an order needs until it is confirmed.
const CONFIRMS: [&str; 3] = ["orders", "inventory", "payments"];
/// How long orders may take to be delivered and paid.
const ENDS: Duration = Duration::from_secs(180);
/// Receipts at once.
const RECEIPTS: usize = 32;
/// A day at the warehouse takes seconds, as in the demo: service, variable, value.
const QUICK: [(&str, &str, &str); 2] =
    [("shipping", "FARANDOLE_OWN_DISPATCH_AFTER", "1s"), ("shipping", "FARANDOLE_OWN_DELIVER_WITHIN", "60s")];

/// The running shop.
pub struct Running {
    shop: Shop,
    services: Vec<&'static str>,
    prefix: String,
    pub orders: Arc<Server>,
    inventory: Arc<Server>,
    pub acquirer: String,
    pub kafka: String,
    postgres: String,
    parts: Vec<(String, u32)>,
    _folder: tempfile::TempDir,
}

impl Running {
    /// Starts what confirms an order, or the `whole` shop, and waits until all of it is ready.
    ///
    /// # Errors
    /// When something doesn't start; then nothing of it is left.
    pub async fn start(stage: &Stage, whole: bool) -> anyhow::Result<Self> {
        let has_mail = !stage.smtp().is_empty();
        ensure!(has_mail || !whole, "the whole shop sends mails, and the stage in use has no mail catcher; unset STAGE_KAFKA");
        let sandbox = stage.sandbox().await?;
        let services: Vec<&'static str> = if whole { SERVICES.to_vec() } else { CONFIRMS.to_vec() };
        let mut databases = BTreeMap::new();
        for service in &services {
            databases.insert(*service, sandbox.database(service).await?);
        }
        let folder = tempfile::tempdir().context("making a folder for the services' logs")?;
        let parts = Parts::on(stage, sandbox.prefix.clone(), databases);
        let mut shop = Shop::on(parts, folder.path().to_owned())?;
        if whole {
            shop.settings.extend(QUICK.map(|(service, name, value)| (service, name, value.to_owned())));
            shop.start_standins().await?;
        } else {
            shop.start_standin("acquirer", 0).await?;
        }
        for service in &services {
            shop.spawn(service)?;
        }
        for service in &services {
            shop.ready(service).await?;
        }
        let server = |service| Arc::new(Server::new(&shop.url(service)));
        let (orders, inventory, acquirer) = (server("orders"), server("inventory"), shop.url("acquirer"));
        Ok(Self {
            shop,
            services,
            prefix: sandbox.prefix,
            orders,
            inventory,
            acquirer,
            kafka: stage.kafka().to_owned(),
            postgres: stage.postgres().to_owned(),
            parts: stage.pids(),
            _folder: folder,
        })
    }

    /// What its topics tell of all orders.
    ///
    /// # Errors
    /// When one can't be read.
    pub async fn timeline(&self) -> anyhow::Result<Timeline> {
        let (kafka, prefix, services) = (self.kafka.clone(), self.prefix.clone(), self.services.clone());
        tokio::task::spawn_blocking(move || Timeline::read(&kafka, &prefix, &services)).await.context("reading the topics")?
    }

    /// The topic of `service`.
    pub fn topic(&self, service: &str) -> String {
        format!("{}{service}", self.prefix)
    }

    /// The address of a service's database.
    pub fn database(&self, service: &str) -> &str {
        self.shop.parts.databases.get(service).map_or("", |database| &database.url)
    }

    /// Takes goods in: pieces of each article.
    ///
    /// # Errors
    /// When a receipt isn't taken.
    pub async fn receive(&self, range: &Range) -> anyhow::Result<()> {
        let receipt = async |n| {
            let answer = self.inventory.post("/receipts", None, range.receipt(n)).await?;
            ensure!((200..300).contains(&answer.status), "a receipt isn't taken: {answer:?}");
            Ok(())
        };
        stream::iter(0..range.articles).map(receipt).buffer_unordered(RECEIPTS).try_collect().await
    }

    /// Everything that works here.
    pub fn processes(&self) -> Processes {
        let own = self.shop.pids().into_iter().map(|(name, pid)| {
            let is_service = SERVICES.contains(&name.as_str());
            (if is_service { Kind::Service } else { Kind::Outside }, name, pid)
        });
        let parts = self.parts.iter().filter(|(name, _)| name != "postgres").map(|(name, pid)| {
            let (kind, name) = match name.as_str() {
                "kafka-1" => (Kind::Part, "broker"),
                "mail" => (Kind::Outside, "mail catcher"),
                other => (Kind::Part, other),
            };
            (kind, name.to_owned(), *pid)
        });
        Processes {
            named: own.chain(parts).collect(),
            postgres: Some(self.postgres.clone()),
            databases: format!("{}_", self.prefix.trim_end_matches('.')),
            services: self
                .services
                .iter()
                .map(|name| ((*name).to_owned(), Arc::new(Server::new(&self.shop.url(name)))))
                .collect(),
            postmaster: self.parts.iter().find(|(name, _)| name == "postgres").map(|(_, pid)| *pid),
        }
    }

    /// Waits until nothing of the whole shop is under way, and audits all of it.
    ///
    /// # Errors
    /// When something stays open, or isn't right.
    pub async fn audit(&self) -> anyhow::Result<usize> {
        let sources = self.shop.sources();
        let until = Instant::now() + ENDS;
        let mut open = audit::tables::open_matters(&sources).await?;
        while !open.is_empty() {
            ensure!(Instant::now() < until, "not at rest after {ENDS:?}: {}", open.join(", "));
            tokio::time::sleep(Duration::from_millis(500)).await;
            open = audit::tables::open_matters(&sources).await?;
        }
        let audit = audit::audit(&sources).await?;
        let wrong: Vec<String> = audit.checks.iter().filter(|check| check.violations > 0).map(Check::to_string).collect();
        ensure!(wrong.is_empty(), "the audit found:\n{}", wrong.join("\n"));
        Ok(audit.checks.iter().map(|check| check.checked).sum())
    }

    /// Asks all of it to stop, and waits until it has.
    pub async fn stop(self) {
        self.shop.stop().await;
    }
}
