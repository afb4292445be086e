//! The peer: Debezium's PostgreSQL connector with its outbox router, in a standalone Kafka Connect worker.
//!
//! It is tuned (`poll.interval.ms`, `max.batch.size`, `max.queue.size`, the producer's batches, lz4), has the heap and the
//! collector of Connect's own start script, and is warmed up before anything is measured; between runs its connector is stopped and
//! its JVM stays, so nothing of its start is counted. Its records have seven headers: `id`, which the router writes, and by
//! `table.fields.additional.placement` type, subject, time, cause, correlation and trace context. What ours have beside those
//! (versions, source, content type, and the chain) it doesn't write.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use stage::process::{Child, Command};
use stage::{Options, Sandbox, Stage, tail};
use tempfile::TempDir;
use tokio::task::{block_in_place, spawn_blocking};

use crate::check::Shape;
use crate::machine::between;
use crate::rows::{ROUTER_TABLE, Rows, Table};
use crate::topics::{self, Ends};

const POM: &str = include_str!("../peers/debezium.xml");
const CONNECTOR: &str = include_str!("../peers/debezium.properties");
/// What Connect's start script gives a worker.
const JVM: [&str; 7] = [
    "-Xms256M",
    "-Xmx2G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];
/// How long the worker or its connector may take to change its state.
const READY: Duration = Duration::from_secs(180);

/// A running worker.
pub struct Debezium {
    /// The database with its outbox, as the superuser: it reads the log.
    pub url: String,
    kafka: String,
    admin: String,
    sandbox: Sandbox,
    topics: Vec<String>,
    worker: Child,
    log: PathBuf,
    rest: String,
    client: reqwest::Client,
    slot: String,
    _folder: TempDir,
}

impl Debezium {
    /// What its records look like.
    pub const SHAPE: Shape =
        Shape { headers: &["id", "ce_type", "ce_subject", "ce_time", "cause", "correlation", "traceparent"], chained: false };

    /// Its version, for the report.
    pub fn version() -> &'static str {
        between(POM, "<debezium.version>", "</").unwrap_or("?")
    }

    /// Starts a worker, fetching it first if it isn't there.
    pub async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let admin = stage.postgres().to_owned();
        let mut conn = PgConnection::connect(&admin).await?;
        let level: String = sqlx::query_scalar("show wal_level").fetch_one(&mut conn).await?;
        ensure!(
            level == "logical",
            "Debezium needs wal_level=logical, and this PostgreSQL has {level}; run without STAGE_POSTGRES"
        );
        let what = "Kafka Connect and Debezium (once, about 60 MB)";
        let jars = spawn_blocking(move || stage::fetched(&Options::default().dir, "debezium", POM, what)).await??;
        let sandbox = stage.sandbox().await?;
        let database = sandbox.database("debezium").await?;
        let url = admin.rsplit_once('/').map(|(server, _)| format!("{server}/{}", database.name)).context("an address")?;
        sqlx::raw_sql(ROUTER_TABLE).execute(&mut PgConnection::connect(&url).await?).await.context("making the peer's outbox")?;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default(); // the only provider that is compiled in
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let folder = tempfile::tempdir().context("making a folder for the worker")?;
        let slot = format!("bench_{}", sandbox.prefix.trim_end_matches('.'));
        let port = stage::free_port(&[])?;
        let files = configure(folder.path(), stage, &database.name, &sandbox.prefix, &slot, port)?;
        let log = folder.path().join("worker.log");
        let worker = Command::new("debezium", "java")
            .args(JVM)
            .args([
                "-cp".to_owned(),
                format!("{}/lib/*", jars.display()),
                "org.apache.kafka.connect.cli.ConnectStandalone".to_owned(),
            ])
            .args(files)
            // Below its working directory a worker looks for plugins.
            .folder(folder.path())
            .log(&log)
            .spawn()?;
        let (kafka, rest) = (stage.kafka().to_owned(), format!("http://127.0.0.1:{port}/connectors/outbox"));
        let peer = Self { url, kafka, admin, sandbox, topics: Vec::new(), worker, log, rest, client, slot, _folder: folder };
        peer.is("RUNNING").await?;
        Ok(peer)
    }

    /// The worker's process.
    pub fn pid(&self) -> u32 {
        self.worker.pid()
    }

    /// The last that it logged.
    pub fn said(&self) -> String {
        tail(&self.log)
    }

    /// A new topic, and rows that the router sends there.
    pub async fn topic(&mut self) -> anyhow::Result<Rows> {
        let aggregate_type = format!("outbox{}", self.topics.len());
        let topic = format!("{}{aggregate_type}", self.sandbox.prefix);
        topics::make(&self.kafka, &topic).await?;
        self.topics.push(topic.clone());
        Ok(Rows { table: Table::Router, topic, aggregate_type })
    }

    /// Lets the connector work, and waits until it does. The log that others wrote meanwhile is behind it then: one row of its own
    /// goes through.
    pub async fn catch_up(&mut self) -> anyhow::Result<()> {
        self.resume().await?;
        let rows = self.topic().await?;
        let mut conn = PgConnection::connect(&self.url).await?;
        sqlx::query(AssertSqlSafe(rows.insert()))
            .bind("marker")
            .bind(crate::rows::payload(0, 0).into_bytes())
            .execute(&mut conn)
            .await?;
        let ends = Ends::of(&self.kafka, &rows.topic)?;
        let until = Instant::now() + READY;
        while block_in_place(|| ends.total())? == 0 {
            ensure!(Instant::now() < until, "Debezium didn't publish a row within {READY:?}:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Starts the connector again after [`stop`](Self::stop); its JVM is warm.
    pub async fn resume(&self) -> anyhow::Result<()> {
        self.tell("resume").await?;
        self.is("RUNNING").await
    }

    /// Stops the connector's task; the JVM stays.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.tell("stop").await?;
        self.is("STOPPED").await
    }

    async fn tell(&self, verb: &str) -> anyhow::Result<()> {
        let answer = self.client.put(format!("{}/{verb}", self.rest)).send().await.context("asking the worker")?;
        ensure!(answer.status().is_success(), "the worker answered {} to {verb}", answer.status());
        Ok(())
    }

    /// Waits for a state of the connector: with its one task when it runs, without when it is stopped.
    async fn is(&self, wanted: &str) -> anyhow::Result<()> {
        let until = Instant::now() + READY;
        let mut last = Value::Null;
        while Instant::now() < until {
            ensure!(self.worker.is_running(), "Debezium's worker has ended:\n{}", self.said());
            if let Ok(answer) = self.client.get(format!("{}/status", self.rest)).send().await {
                last = answer.json().await.unwrap_or_default();
                let tasks = last["tasks"].as_array().map_or(&[][..], Vec::as_slice);
                let right = if wanted == "RUNNING" {
                    tasks.len() == 1 && tasks.iter().all(|task| task["state"] == wanted)
                } else {
                    tasks.is_empty()
                };
                if last["connector"]["state"] == wanted && right {
                    return Ok(());
                }
                if tasks.iter().any(|task| task["state"] == "FAILED") {
                    bail!("Debezium failed: {last}");
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("Debezium isn't {wanted} within {READY:?}: {last}\n{}", self.said())
    }

    /// Stops the connector, which would read the log of whatever is measured next, and removes rows and topics.
    pub async fn clear(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        let mut conn = PgConnection::connect(&self.url).await?;
        sqlx::raw_sql("truncate outbox").execute(&mut conn).await.context("emptying the peer's outbox")?;
        topics::remove(&self.kafka, &self.topics.split_off(0)).await
    }

    /// Ends the worker, and removes its slot, which would keep the log for ever.
    pub async fn end(self) -> anyhow::Result<()> {
        block_in_place(|| self.worker.stop(Duration::from_secs(20)));
        let mut conn = PgConnection::connect(&self.admin).await?;
        sqlx::query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active")
            .bind(&self.slot)
            .execute(&mut conn)
            .await
            .context("removing the peer's replication slot")?;
        Ok(())
    }
}

/// The worker's and the connector's files.
fn configure(folder: &Path, stage: &Stage, database: &str, prefix: &str, slot: &str, port: u16) -> anyhow::Result<[PathBuf; 2]> {
    let address = |from, to| between(stage.postgres(), from, to).context("the address of PostgreSQL");
    let worker = format!(
        "bootstrap.servers={}\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.converters.ByteArrayConverter\n\
         offset.storage.file.filename={}\n\
         offset.flush.interval.ms=1000\n\
         plugin.discovery=only_scan\n\
         listeners=http://127.0.0.1:{port}\n\
         producer.linger.ms=5\n\
         producer.batch.size=262144\n\
         producer.compression.type=lz4\n",
        stage.kafka(),
        folder.join("offsets").display()
    );
    let connector = CONNECTOR
        .replace("@PORT@", address("@127.0.0.1:", "/")?)
        .replace("@PASSWORD@", address("//postgres:", "@")?)
        .replace("@DATABASE@", database)
        .replace("@SLOT@", slot)
        .replace("@PREFIX@", prefix);
    let paths = [folder.join("worker.properties"), folder.join("connector.properties")];
    for (path, text) in paths.iter().zip([worker, connector]) {
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(paths)
}
