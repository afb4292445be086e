//! What each process has used: its CPU time and its memory, PostgreSQL's by whom its sessions work for.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::sync::Arc;

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection};

use super::batches::{self, Batches};
use super::http::Server;
use crate::machine::{ended_children, own_usage, usage_of};

/// What a process is to the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One of ours.
    Service,
    /// Acquirer, carrier, mail catcher: outside the shop.
    Outside,
    /// Broker, registry.
    Part,
    /// A session or a worker of PostgreSQL's.
    Database,
    /// This program.
    Load,
}

/// What one has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    pub cpu_s: f64,
    /// Resident memory; of PostgreSQL's processes, which share theirs, each one's part of it.
    pub mb: f64,
}

/// All of them at one moment, by kind and name.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub used: BTreeMap<(Kind, String), Used>,
    /// Commits of all databases whose names begin as the sandbox's.
    pub commits: i64,
    /// Times that the log was flushed to disk, and its bytes.
    pub flushes: i64,
    pub wal_bytes: i64,
    pub batches: BTreeMap<String, Batches>,
}

impl Snapshot {
    fn add(&mut self, kind: Kind, name: String, used: Used) {
        let sum = self.used.entry((kind, name)).or_default();
        (sum.cpu_s, sum.mb) = (sum.cpu_s + used.cpu_s, sum.mb + used.mb);
    }
}

/// Whom to look at.
pub struct Processes {
    pub named: Vec<(Kind, String, u32)>,
    /// The superuser's address, where the database works for this side.
    pub postgres: Option<String>,
    /// What the databases' names begin with.
    pub databases: String,
    /// The first of PostgreSQL's processes, if it is known; of sessions that have ended it keeps the time.
    pub postmaster: Option<u32>,
    /// Services that count what goes together.
    pub services: Vec<(String, Arc<Server>)>,
}

impl Processes {
    /// What they have used until now.
    ///
    /// # Errors
    /// When a process has ended, or the database doesn't answer.
    pub async fn look(&self) -> anyhow::Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        snapshot.add(Kind::Load, "bench".to_owned(), Used { cpu_s: own_usage()?.cpu_s, mb: memory("self", "status", "VmRSS:")? });
        for (kind, name, pid) in &self.named {
            let cpu_s = usage_of(*pid).with_context(|| format!("looking at {name}"))?.cpu_s;
            snapshot.add(*kind, name.clone(), Used { cpu_s, mb: memory(&pid.to_string(), "status", "VmRSS:")? });
        }
        if let Some(postgres) = &self.postgres {
            self.look_at_database(postgres, &mut snapshot).await?;
        }
        snapshot.batches = batches::read(&self.services).await?;
        Ok(snapshot)
    }

    async fn look_at_database(&self, postgres: &str, snapshot: &mut Snapshot) -> anyhow::Result<()> {
        let mut conn = PgConnection::connect(postgres).await.context("asking PostgreSQL for its sessions")?;
        let sessions: Vec<(i32, Option<String>, String, String)> = sqlx::query_as(
            "select pid, datname::text, application_name, backend_type from pg_stat_activity where pid <> pg_backend_pid()",
        )
        .fetch_all(&mut conn)
        .await?;
        for (pid, database, application, kind) in sessions {
            let name = match database {
                None => kind,
                Some(database) if database.starts_with(&self.databases) => {
                    if application.is_empty() {
                        format!("{} {kind}", database.trim_start_matches(&self.databases))
                    } else {
                        application
                    }
                }
                Some(_) => continue,
            };
            // A session may end while it is looked at.
            let of = u32::try_from(pid).context("a process's number")?;
            if let (Ok(used), Ok(mb)) = (usage_of(of), memory(&pid.to_string(), "smaps_rollup", "Pss:")) {
                snapshot.add(Kind::Database, name, Used { cpu_s: used.cpu_s, mb });
            }
        }
        if let Some(pid) = self.postmaster {
            let mb = memory(&pid.to_string(), "smaps_rollup", "Pss:")?;
            let own = usage_of(pid)?.cpu_s;
            let ended = ended_children(pid)?;
            snapshot.add(Kind::Database, "postmaster, and sessions that ended".to_owned(), Used { cpu_s: own + ended, mb });
        }
        let like = format!("{}%", self.databases.replace('_', "\\_"));
        let sql = "select coalesce(sum(xact_commit), 0)::bigint from pg_stat_database where datname like $1";
        snapshot.commits = sqlx::query_scalar(sql).bind(like).fetch_one(&mut conn).await?;
        let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int").fetch_one(&mut conn).await?;
        // Version 18 counts flushes elsewhere.
        let sql = match version {
            ..180_000 => "select wal_sync, wal_bytes::bigint from pg_stat_wal",
            _ => "select (select sum(fsyncs)::bigint from pg_stat_io where object = 'wal'), wal_bytes::bigint from pg_stat_wal",
        };
        (snapshot.flushes, snapshot.wal_bytes) = sqlx::query_as(sql).fetch_one(&mut conn).await?;
        conn.close().await?;
        Ok(())
    }
}

/// A line of kB in a file of `/proc`, in MB.
fn memory(pid: &str, file: &str, line: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/{file}");
    let text = read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let kib = text.lines().find_map(|l| l.strip_prefix(line)?.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("{path} names no {line}"))? / 1024.0)
}

/// What was used from one look to the next.
#[derive(Debug, Clone, Default)]
pub struct Window {
    pub used: Vec<(Kind, String, Used)>,
    pub commits: f64,
    pub flushes: f64,
    pub wal_bytes: f64,
    pub batches: BTreeMap<String, Batches>,
}

impl Window {
    /// CPU time between both looks, memory as of the second one. What is new in it began in between.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let used = after.used.iter().map(|((kind, name), used)| {
            let earlier = before.used.get(&(*kind, name.clone())).map_or(0.0, |earlier| earlier.cpu_s);
            (*kind, name.clone(), Used { cpu_s: (used.cpu_s - earlier).max(0.0), mb: used.mb })
        });
        let batches = after.batches.iter().map(|(name, batches)| {
            let earlier = before.batches.get(name).copied().unwrap_or_default();
            (name.clone(), batches.since(earlier))
        });
        Self {
            batches: batches.collect(),
            used: used.collect(),
            commits: (after.commits - before.commits) as f64,
            flushes: (after.flushes - before.flushes) as f64,
            wal_bytes: (after.wal_bytes - before.wal_bytes) as f64,
        }
    }

    /// Of all of a kind.
    pub fn sum(&self, kind: Kind) -> Used {
        let of_kind = self.used.iter().filter(|(of, _, _)| *of == kind);
        of_kind.fold(Used::default(), |sum, (_, _, used)| Used { cpu_s: sum.cpu_s + used.cpu_s, mb: sum.mb + used.mb })
    }
}
