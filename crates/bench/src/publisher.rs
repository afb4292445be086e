//! The two sides of the relay's measurements: an outbox, and the process that publishes it.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use stage::process::{Child, Command};
use stage::{Sandbox, Stage, tail};
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::check::Shape;
use crate::debezium::Debezium;
use crate::machine::{self, Usage};
use crate::relay_process::{DATABASE, KAFKA, TOPICS};
use crate::rows::{Rows, Table};
use crate::topics;

/// How long a process may take to end in good order.
const STOP: Duration = Duration::from_secs(30);

/// One side.
pub enum Publisher {
    /// The kit's relay, alone in its process.
    Relay(Relay),
    /// A Kafka Connect worker with Debezium's connector, warmed up.
    Debezium(Debezium),
}

/// The kit's relay over a database of its own.
pub struct Relay {
    kafka: String,
    admin: String,
    sandbox: Sandbox,
    database: stage::Database,
    topics: Vec<String>,
    process: Option<Child>,
    folder: TempDir,
}

const RELAY: Shape = Shape {
    headers: &[
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_subject",
        "ce_time",
        "content-type",
        "traceparent",
        "farandole",
    ],
    chained: true,
};

impl Publisher {
    /// The kit's, in a new database.
    pub async fn relay(stage: &Stage) -> anyhow::Result<Self> {
        let sandbox = stage.sandbox().await?;
        let database = sandbox.database("outbox").await?;
        let pool = PgPool::connect(&database.url).await?;
        farandole::migrate(&pool).await.context("making the kit's tables")?;
        pool.close().await;
        let (kafka, admin) = (stage.kafka().to_owned(), stage.postgres().to_owned());
        let folder = tempfile::tempdir().context("making a folder for logs")?;
        Ok(Self::Relay(Relay { kafka, admin, sandbox, database, topics: Vec::new(), process: None, folder }))
    }

    /// The address of the database with the outbox.
    pub fn url(&self) -> &str {
        match self {
            Self::Relay(relay) => &relay.database.url,
            Self::Debezium(peer) => &peer.url,
        }
    }

    /// What its records look like.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Relay(_) => RELAY,
            Self::Debezium(_) => Debezium::SHAPE,
        }
    }

    /// A new topic, and the rows for it. A relay that runs doesn't know it yet: start it afterwards.
    pub async fn topic(&mut self) -> anyhow::Result<Rows> {
        match self {
            Self::Relay(relay) => {
                let topic = format!("{}outbox{}", relay.sandbox.prefix, relay.topics.len());
                topics::make(&relay.kafka, &topic).await?;
                relay.topics.push(topic.clone());
                Ok(Rows { table: Table::Kit, topic, aggregate_type: "orders".to_owned() })
            }
            Self::Debezium(peer) => peer.topic().await,
        }
    }

    /// Starts publishing.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Relay(relay) => relay.start(),
            Self::Debezium(peer) => peer.resume().await,
        }
    }

    /// Stops publishing; what is written meanwhile waits.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Relay(relay) => {
                if let Some(process) = relay.process.take() {
                    block_in_place(|| process.stop(STOP));
                }
                Ok(())
            }
            Self::Debezium(peer) => peer.stop().await,
        }
    }

    /// What the publishing process has used; nothing when there is none.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        match self {
            Self::Relay(Relay { process: None, .. }) => Ok(Usage { cpu_s: 0.0, peak_mb: 0.0 }),
            Self::Relay(Relay { process: Some(process), .. }) => machine::usage_of(process.pid()),
            Self::Debezium(peer) => machine::usage_of(peer.pid()),
        }
    }

    /// The last that it logged, for a message about a failure.
    pub fn said(&self) -> String {
        match self {
            Self::Relay(relay) => tail(&relay.folder.path().join("relay.log")),
            Self::Debezium(peer) => peer.said(),
        }
    }

    /// Stops publishing and removes what a measurement left: rows and topics. The relay goes with them, the peer stays, at rest.
    pub async fn clear(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Debezium(peer) => peer.clear().await,
            Self::Relay(_) => {
                self.stop().await?;
                let Self::Relay(relay) = self else { return Ok(()) };
                topics::remove(&relay.kafka, &relay.topics).await?;
                let mut conn = PgConnection::connect(&relay.admin).await?;
                let drop = format!("drop database \"{}\" with (force)", relay.database.name);
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await.context("removing a database")?;
                Ok(())
            }
        }
    }
}

impl Relay {
    fn start(&mut self) -> anyhow::Result<()> {
        if self.process.as_ref().is_some_and(Child::is_running) {
            return Ok(());
        }
        let me = std::env::current_exe().context("finding this program")?;
        let env = [(DATABASE, self.database.url.clone()), (KAFKA, self.kafka.clone()), (TOPICS, self.topics.join(","))];
        let command = Command::new("relay", me).args(["relay-process"]).env(env).log(self.folder.path().join("relay.log"));
        self.process = Some(command.spawn()?);
        Ok(())
    }
}
