//! What an operator does with a service's program, and how its journal is told.

use sqlx::{Connection as _, PgConnection};

use crate::config::Config;
use crate::database::gate;
use crate::ground::error::chain_of;
use crate::parking::acts::Operator;
use crate::parking::journal::{self, Journal};
use crate::service::frame::Frame;
use crate::service::{Error, own, parts};
use crate::wire::codec::Codec;
use crate::wire::settings::Subjects;
use crate::wire::topics;

/// Who has something changed, and why.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// As their shell knows them.
    pub name: &'a str,
    /// In their words.
    pub reason: Option<&'a str>,
}

impl<'a> By<'a> {
    /// With where it is told.
    pub(super) fn telling(self, journal: &'a Journal) -> Operator<'a> {
        Operator { name: self.name, reason: self.reason, journal: Some(journal) }
    }
}

/// What an act is done with.
pub(super) struct Acting {
    /// A session, which says whose it is to who finds it in their way.
    pub conn: PgConnection,
    pub journal: Journal,
    pub pools: parts::Pools,
}

impl Acting {
    pub async fn end(self) {
        self.pools.close().await;
        let _ = self.conn.close().await; // what was done is committed
    }
}

impl Frame {
    /// Begins an act: the session, and the journal, without which nothing is changed.
    pub(super) async fn act(&self, config: &Config, verb: &str, by: By<'_>) -> Result<Acting, Error> {
        let name = self.contract.name;
        let mut conn = own::connect(name, config).await?;
        own::introduce(&mut conn, &format!("{name} {verb} by {}", by.name)).await?;
        let pools = parts::Pools::new(name, &config.database)?;
        let journal = self.journal(config, &pools).await?;
        Ok(Acting { conn, journal, pools })
    }

    /// The service's journal, to be appended to.
    pub(super) async fn journal(&self, config: &Config, pools: &parts::Pools) -> Result<Journal, Error> {
        let own = topics::own(&config.topics.prefix, self.contract.name);
        let codec = Codec::with(&config.registry, pools.intake.clone()).encoding(self.encoding);
        let journals = topics::journal("", &own);
        codec.register_under(&journals, journal::TYPES, Subjects::TopicRecord).await.map_err(Error::Schemas)?;
        Ok(Journal::beside(&own, codec))
    }

    /// The same where somebody acts.
    pub(super) async fn journal_for(
        &self,
        config: &Config,
        pools: &parts::Pools,
        by: Option<By<'_>>,
    ) -> Result<Option<Journal>, Error> {
        Ok(if by.is_some() { Some(self.journal(config, pools).await?) } else { None })
    }

    /// Tells the journal of what is done already. If that fails, it is done all the same, and the log says that the journal lacks it.
    pub(super) async fn tell(&self, config: &Config, operator: Operator<'_>, verb: &str, what: &str, outcome: String) {
        let told = async {
            let mut conn = own::connect(self.contract.name, config).await?;
            let failed = |source| Error::Database { doing: "telling the journal", source };
            let mut tx = gate::begin(&mut conn).await.map_err(failed)?;
            operator.did(&mut tx, verb, what, outcome).await.map_err(Error::Journal)?;
            tx.commit().await.map_err(failed)
        };
        if let Err(error) = told.await {
            tracing::error!(error = chain_of(&error), "{verb} is done, and the journal couldn't be told of it");
        }
    }
}
