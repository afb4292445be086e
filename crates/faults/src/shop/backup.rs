//! A service's database set back to a copy that is some seconds old, as a fail-over that lost commits does it, and the operator who
//! brings database and topics together again.
//!
//! The copy is made within the same cluster, so that transaction numbers mean in it what they meant, and the relay's lease that lies
//! in it still runs when the service starts on it. Clients are kept out before the database goes, and it goes once everything that
//! they were told of is in the topic: what was committed and not published is lost with a database, which nobody can mend and
//! callers would have to be excused for.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use stage::Database;
use stage::process::{Child, Command};
use uuid::Uuid;

use crate::plan::Harm;
use crate::proxy::Door;
use crate::target::{Process, Subject as _};
use farandole::record::Record;

/// How long the relay may take to publish what clients were told of.
const DRAIN: Duration = Duration::from_secs(60);
/// The newest rows of an outbox that are looked for; a client that was answered before these is long in the topic.
const NEWEST: i64 = 50;
/// Records read of each partition's end to find them.
const TAIL: i64 = 500;
/// How long a service may take to refuse: a lease (10 s), and a start on a loaded machine.
const REFUSE: Duration = Duration::from_secs(60);
/// How long a heal may take, which waits for the lease as well.
const HEAL: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// What is needed to set one service's database back.
pub struct Backup {
    pub service: &'static str,
    /// The superuser's address, past all proxies.
    pub admin: String,
    pub database: Database,
    pub brokers: String,
    pub topic: String,
    /// Before the service, if clients come through one.
    pub door: Option<Arc<Door>>,
    /// All that may run of it.
    pub replicas: Vec<Arc<Process>>,
    /// Where the process listens.
    pub address: String,
    /// Its verb `heal --execute`.
    pub heal: Command,
    pub client: reqwest::Client,
    /// Set once the database isn't what it was, so that its outbox proves less.
    pub restored: Arc<AtomicBool>,
}

impl Backup {
    fn copy(&self) -> String {
        format!("{}_copy", self.database.name)
    }

    /// Makes the copy. Sessions of the service are ended by it, and come back.
    pub async fn take(&self) -> anyhow::Result<()> {
        let (name, copy, role) = (&self.database.name, self.copy(), &self.database.role);
        let mut admin = PgConnection::connect(&self.admin).await.context("connecting as the superuser")?;
        let taken = async {
            admin.execute(AssertSqlSafe(format!("drop database if exists \"{copy}\" with (force)"))).await?;
            close(&mut admin, name).await?;
            admin.execute(AssertSqlSafe(format!("create database \"{copy}\" template \"{name}\" owner \"{role}\""))).await
        };
        let taken = taken.await;
        admin.execute(AssertSqlSafe(format!("alter database \"{name}\" allow_connections true"))).await?;
        taken.with_context(|| format!("copying the database of {}", self.service))?;
        Ok(())
    }

    /// Puts the copy in the database's place, sees the service refuse it, and heals. The service doesn't run afterwards.
    pub async fn restore_and_heal(&self, process: &Process) -> anyhow::Result<()> {
        if let Some(door) = &self.door {
            door.strike(Harm::Cut)?;
        }
        let healed = async {
            self.drained().await?;
            self.replicas.iter().for_each(|replica| replica.kill());
            self.put_back().await?;
            self.refuses(&process.attempt()?).await?;
            self.healed().await
        };
        let healed = healed.await;
        if let Some(door) = &self.door {
            door.mend(Harm::Cut)?;
        }
        healed
    }

    /// Waits until the newest of what was committed is in the topic.
    async fn drained(&self) -> anyhow::Result<()> {
        let mut conn = PgConnection::connect(&self.database.url).await.context("connecting to the service's database")?;
        let newest: Vec<Uuid> = sqlx::query_scalar("select id from farandole.outbox where topic = $1 order by seq desc limit $2")
            .bind(&self.topic)
            .bind(NEWEST)
            .fetch_all(&mut conn)
            .await
            .context("reading the outbox")?;
        conn.close().await?;
        let (brokers, topic, service) = (self.brokers.clone(), self.topic.clone(), self.service);
        let read =
            move || wait_for(&brokers, &topic, newest.into_iter().collect()).with_context(|| format!("draining {service}"));
        tokio::task::spawn_blocking(read).await.context("reading the topic's ends ended early")?
    }

    async fn put_back(&self) -> anyhow::Result<()> {
        let (name, copy) = (&self.database.name, self.copy());
        let mut admin = PgConnection::connect(&self.admin).await.context("connecting as the superuser")?;
        let swapped = async {
            close(&mut admin, name).await?;
            for sql in [
                format!("drop database \"{name}\" with (force)"),
                format!("alter database \"{copy}\" rename to \"{name}\""),
                format!("revoke connect, temporary on database \"{name}\" from public"),
                format!("alter database \"{name}\" allow_connections true"),
            ] {
                admin.execute(AssertSqlSafe(sql)).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        swapped.await.with_context(|| format!("putting the copy in the place of {name}"))?;
        self.restored.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Sees it refuse: it ends with an error, or says by `/readyz` that it wants to be healed. Until then it is never ready, and
    /// nothing is decided and no effect claimed.
    async fn refuses(&self, attempt: &Child) -> anyhow::Result<()> {
        let before = self.done().await?;
        let until = Instant::now() + REFUSE;
        loop {
            if let Some(status) = attempt.exit_status() {
                ensure!(!status.success(), "{} ended on a database that was set back, and had nothing to say", self.service);
                break;
            }
            if let Ok(answer) = self.client.get(format!("http://{}/readyz", self.address)).send().await {
                let status = answer.status();
                let said = answer.text().await.unwrap_or_default();
                ensure!(!status.is_success(), "{} is ready on a database that was set back: {said}", self.service);
                if said.contains("heal") {
                    break;
                }
            }
            ensure!(Instant::now() < until, "{} neither refuses nor ends within {} s", self.service, REFUSE.as_secs());
            tokio::time::sleep(LOOK).await;
        }
        attempt.kill();
        let after = self.done().await?;
        ensure!(
            before == after,
            "{} decided on a database that was set back: {before:?} rows and claims, then {after:?}",
            self.service
        );
        Ok(())
    }

    /// Events decided and tasks claimed, of all time.
    async fn done(&self) -> anyhow::Result<(i64, i64)> {
        let mut conn = PgConnection::connect(&self.database.url).await.context("connecting to the service's database")?;
        let sql = "select (select coalesce(max(seq), 0) from farandole.outbox where topic = $1),
                          (select count(*) from farandole.steps where scope like 'claim/%')";
        let done = sqlx::query_as(sql).bind(&self.topic).fetch_one(&mut conn).await.context("counting what was decided")?;
        conn.close().await?;
        Ok(done)
    }

    async fn healed(&self) -> anyhow::Result<()> {
        let child = self.heal.spawn()?;
        let log = child.log().map(|log| log.display().to_string()).unwrap_or_default();
        let status = tokio::task::spawn_blocking(move || child.wait(HEAL)).await.context("waiting for the heal ended early")?;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("`{} heal --execute` failed ({status}); its log is {log}", self.service),
            None => bail!("`{} heal --execute` didn't end within {} s; its log is {log}", self.service, HEAL.as_secs()),
        }
    }
}

/// Lets nobody in, and ends who is there.
pub(crate) async fn close(admin: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    admin.execute(AssertSqlSafe(format!("alter database \"{name}\" allow_connections false"))).await?;
    let ended = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1";
    sqlx::query(ended).bind(name).execute(admin).await?;
    Ok(())
}

/// Reads the ends of `topic` until all of these events were there. Blocks.
fn wait_for(brokers: &str, topic: &str, mut ids: HashSet<Uuid>) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "set-back")
        .set("enable.auto.commit", "false")
        .create()
        .context("making a Kafka consumer")?;
    let described = consumer.fetch_metadata(Some(topic), DRAIN).with_context(|| format!("asking for {topic}"))?;
    let mut list = TopicPartitionList::new();
    for partition in described.topics().iter().flat_map(|t| t.partitions()) {
        list.add_partition_offset(topic, partition.id(), Offset::OffsetTail(TAIL))?;
    }
    consumer.assign(&list)?;
    let until = Instant::now() + DRAIN;
    while !ids.is_empty() {
        ensure!(Instant::now() < until, "{} committed events aren't in the topic within {} s", ids.len(), DRAIN.as_secs());
        // An error passes, or time runs out.
        if let Some(Ok(message)) = consumer.poll(LOOK) {
            let id = Record::copy(&message).header("ce_id").and_then(|id| id.parse().ok());
            id.map(|id: Uuid| ids.remove(&id));
        }
    }
    Ok(())
}
