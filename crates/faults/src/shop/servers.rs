//! PostgreSQL, acquirer and carrier, with what can be done to them beyond ending and pausing them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use stage::Stage;

use crate::plan::Harm;
use crate::target::{Part, Process, Subject};

/// PostgreSQL, which can take no writes.
pub struct Postgres {
    pub stage: Arc<Stage>,
    pub part: Part,
    /// How often it was made read-only: by turns it becomes a stand-by and is told by its configuration.
    pub times: AtomicU32,
}

impl Postgres {
    async fn admin(&self, sql: &'static str) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(self.stage.postgres()).await.context("connecting as the superuser")?;
        admin.execute(sql).await.with_context(|| format!("telling the server: {sql}"))?;
        Ok(admin.close().await?)
    }

    /// As after a fail-over: the server that was the primary comes back as a stand-by, which takes connections and no writes.
    fn demote(&self) -> anyhow::Result<()> {
        let handle = tokio::runtime::Handle::current();
        // Written by the server, whose file it has to be: it removes it when it is promoted.
        handle.block_on(async {
            let mut admin = PgConnection::connect(self.stage.postgres()).await.context("connecting as the superuser")?;
            let folder: String = sqlx::query_scalar("show data_directory").fetch_one(&mut admin).await?;
            ensure!(!folder.contains('\''), "a folder whose name has a quote in it");
            admin.execute(AssertSqlSafe(format!("copy (select '') to '{folder}/standby.signal'"))).await?;
            Ok(admin.close().await?)
        })?;
        self.stage.stop_part("postgres")?;
        Ok(self.stage.start_part("postgres")?)
    }

    fn read_only(&self) -> anyhow::Result<()> {
        if self.times.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return self.demote();
        }
        tokio::runtime::Handle::current().block_on(async {
            self.admin("alter system set default_transaction_read_only = on").await?;
            self.admin("select pg_reload_conf()").await
        })
    }

    fn writable(&self) -> anyhow::Result<()> {
        tokio::runtime::Handle::current().block_on(async {
            if self.times.load(Ordering::Relaxed) % 2 == 1 {
                return self.admin("select pg_promote(true, 60) where pg_is_in_recovery()").await;
            }
            self.admin("alter system reset default_transaction_read_only").await?;
            self.admin("select pg_reload_conf()").await
        })
    }
}

impl Subject for Postgres {
    fn strike(&self, harm: Harm) -> anyhow::Result<()> {
        if harm == Harm::ReadOnly { self.read_only() } else { self.part.strike(harm) }
    }

    fn mend(&self, harm: Harm) -> anyhow::Result<()> {
        if harm == Harm::ReadOnly { self.writable() } else { self.part.mend(harm) }
    }
}

/// What is outside the shop, acquirer or carrier, which can answer absurdly.
pub struct Standin {
    pub name: &'static str,
    pub process: Arc<Process>,
    /// Past all proxies.
    pub url: String,
    pub client: Client,
    /// What it does by itself all the time.
    pub faults: Value,
}

impl Standin {
    fn set(&self, faults: &Value) -> anyhow::Result<()> {
        tokio::runtime::Handle::current().block_on(async {
            let request = self.client.put(format!("{}/faults", self.url)).json(faults);
            let answer = request.send().await.with_context(|| format!("telling the {} its faults", self.name))?;
            ensure!(answer.status().is_success(), "the {} doesn't take its faults: {}", self.name, answer.status());
            Ok(())
        })
    }
}

impl Subject for Standin {
    fn strike(&self, harm: Harm) -> anyhow::Result<()> {
        if harm != Harm::Absurd {
            return self.process.strike(harm);
        }
        let mut absurd = self.faults.clone();
        absurd["absurd_rate"] = json!(0.5);
        self.set(&absurd)
    }

    fn mend(&self, harm: Harm) -> anyhow::Result<()> {
        if harm == Harm::Absurd { self.set(&self.faults) } else { self.process.mend(harm) }
    }

    fn look(&self) -> Option<String> {
        self.process.look()
    }
}
