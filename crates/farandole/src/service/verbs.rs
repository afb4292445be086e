//! A service's commands.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::agenda::EffectHandler;
use crate::config::Config;
use crate::ground::error::chain_of;
use crate::heal;
use crate::participant::Participant;
use crate::rebuild;
use crate::service::acts::By;
use crate::service::api::Missing;
use crate::service::builder::Service;
use crate::service::error::Error;
use crate::service::frame::{Doing, Frame, heard};
use crate::service::run::{self, Bound};
use crate::service::{http, migrate, parts, wait};
use crate::wire::codec::Codec;
use crate::wire::message::Message as _;
use crate::wire::topics;

impl<P: Participant, E> Service<P, E> {
    /// Compares the database with the service's own topic after one of them was set back, and brings them together again if
    /// `mode` says so; see [`heal`](crate::heal).
    ///
    /// # Errors
    /// Also when Kafka, PostgreSQL or a schema that is needed can't be reached.
    pub async fn heal(&self, config: &Config, mode: heal::Mode) -> Result<heal::Report, Error> {
        self.heal_with(config, mode, &heal::Choices::default()).await
    }

    /// The same, with a person's decisions.
    ///
    /// # Errors
    /// As [`Service::heal`].
    pub async fn heal_with(&self, config: &Config, mode: heal::Mode, choices: &heal::Choices) -> Result<heal::Report, Error> {
        self.heal_by(config, mode, choices, None).await
    }

    /// The same, `by` whom: the journal tells, once it is done.
    ///
    /// # Errors
    /// As [`Service::heal`].
    pub async fn heal_by(
        &self,
        config: &Config,
        mode: heal::Mode,
        choices: &heal::Choices,
        by: Option<By<'_>>,
    ) -> Result<heal::Report, Error> {
        let by = by.filter(|_| mode == heal::Mode::Execute);
        let (pools, codec) = self.frame.ground(config).await?;
        self.frame.not_lost(config).await?;
        // A registry that is away keeps nobody from healing.
        let journal = self.frame.journal_for(config, &pools, by).await.unwrap_or_else(|error| {
            tracing::error!(error = chain_of(&error), "the journal can't be told of this heal");
            None
        });
        let prefix = &config.topics.prefix;
        let hears = P::Heard::topics().into_iter().map(|topic| heard(prefix, &self.frame.mappings, topic)).collect();
        let fold = heal::Folding::new(Arc::clone(&self.participant), codec, topics::own(prefix, P::NAME), hears);
        let healed = heal::heal_with(&pools.relay, &parts::relay_config(P::NAME, config), &fold, mode, choices).await;
        pools.close().await;
        let report = healed.map_err(Error::Heal)?;
        if let Some((by, journal)) = by.zip(journal.as_ref()).filter(|_| report.done) {
            let (before, after) = report.lineage;
            let missing: u64 = report.partitions.iter().map(|partition| partition.missing).sum();
            let outcome = format!(
                "lineage {before} -> {after}; {missing} record(s) that the database lacked, {} row(s) to publish, {} record(s) skipped",
                report.unpublished,
                report.passed.len()
            );
            self.frame.tell(config, by.telling(journal), "heal", "database and topics", outcome).await;
        }
        Ok(report)
    }

    /// Rebuilds the service's tables from its own topic, beside the live ones, and compares or swaps them if `options` say so; see
    /// [`rebuild`](crate::rebuild).
    ///
    /// # Errors
    /// Also when Kafka, PostgreSQL or a schema that is needed can't be reached. The live tables are as they were then.
    pub async fn rebuild(&self, config: &Config, options: rebuild::Options) -> Result<rebuild::Report, Error> {
        self.rebuild_by(config, options, None).await
    }

    /// The same, `by` whom: the journal tells of the swap.
    ///
    /// # Errors
    /// As [`Service::rebuild`].
    pub async fn rebuild_by(
        &self,
        config: &Config,
        options: rebuild::Options,
        by: Option<By<'_>>,
    ) -> Result<rebuild::Report, Error> {
        self.rebuild_with(config, options, &heal::Choices::default(), by).await
    }

    /// The same, with a person's decisions: records to pass over, of which a heal was told as well.
    ///
    /// # Errors
    /// As [`Service::rebuild`].
    pub async fn rebuild_with(
        &self,
        config: &Config,
        options: rebuild::Options,
        choices: &heal::Choices,
        by: Option<By<'_>>,
    ) -> Result<rebuild::Report, Error> {
        let by = by.filter(|_| options.execute);
        self.rebuilding_with(config, choices, by, async |rebuild| rebuild.run(options).await).await
    }

    /// Compares the rows of one aggregate with what its events make, and mends them if told to `execute`; the service may run. The journal
    /// tells `by` whom.
    ///
    /// # Errors
    /// As [`Service::rebuild`].
    pub async fn rebuild_aggregate(
        &self,
        config: &Config,
        id: &str,
        execute: bool,
        choices: &heal::Choices,
        by: Option<By<'_>>,
    ) -> Result<rebuild::AggregateReport, Error> {
        let by = by.filter(|_| execute);
        self.rebuilding_with(config, choices, by, async |rebuild| rebuild.aggregate(id, execute).await).await
    }

    /// Fills what no event does, as [`Service::derived`] says, or lists it. The journal tells `by` whom.
    ///
    /// # Errors
    /// As [`Service::rebuild`].
    pub async fn fill_derived(&self, config: &Config, execute: bool, by: Option<By<'_>>) -> Result<rebuild::Filled, Error> {
        let by = by.filter(|_| execute);
        let filled = self.rebuilding(config, by, async |rebuild| rebuild.derive(execute).await).await?;
        if filled.done {
            self.tell(config, by, "rebuild --derived", &filled.what.join(", "), "filled").await?;
        }
        Ok(filled)
    }

    /// Drops what rebuilds have left beside the live tables, replaced ones included; or lists it. The journal tells `by` whom.
    ///
    /// # Errors
    /// As [`Service::rebuild`].
    pub async fn clean_rebuilds(&self, config: &Config, execute: bool, by: Option<By<'_>>) -> Result<rebuild::Cleaned, Error> {
        let by = by.filter(|_| execute);
        let cleaned = self.rebuilding(config, by, async |rebuild| rebuild.clean(execute).await).await?;
        let what = cleaned.schemas.iter().map(|kept| kept.schema.as_str()).collect::<Vec<_>>().join(", ");
        if !what.is_empty() {
            self.tell(config, by, "rebuild --clean", &what, "dropped").await?;
        }
        Ok(cleaned)
    }

    /// Puts the tables back that the last swap replaced; with `lose` also if something was decided since. The journal tells `by` whom.
    ///
    /// # Errors
    /// As [`Service::rebuild`].
    pub async fn roll_back(
        &self,
        config: &Config,
        execute: bool,
        lose: bool,
        by: Option<By<'_>>,
    ) -> Result<rebuild::RolledBack, Error> {
        let by = by.filter(|_| execute);
        let rolled = self.rebuilding(config, by, async |rebuild| rebuild.rollback(execute, lose).await).await?;
        let outcome = format!("live again; {} event(s) were decided since", rolled.written);
        self.tell(config, by, "rebuild --rollback", &format!("tables of {}", rolled.schema), &outcome).await?;
        Ok(rolled)
    }

    /// Tells the journal of an act that is done, if it was by somebody.
    pub(super) async fn tell(
        &self,
        config: &Config,
        by: Option<By<'_>>,
        verb: &str,
        what: &str,
        outcome: &str,
    ) -> Result<(), Error> {
        let Some(by) = by else { return Ok(()) };
        let pools = parts::Pools::new(P::NAME, &config.database)?;
        let journal = self.frame.journal(config, &pools).await?;
        pools.close().await;
        self.frame.tell(config, by.telling(&journal), verb, what, outcome.to_owned()).await;
        Ok(())
    }

    pub(super) async fn rebuilding<T>(
        &self,
        config: &Config,
        by: Option<By<'_>>,
        work: impl AsyncFnOnce(rebuild::Rebuild<'_, P>) -> Result<T, rebuild::Error>,
    ) -> Result<T, Error> {
        self.rebuilding_with(config, &heal::Choices::default(), by, work).await
    }

    async fn rebuilding_with<T>(
        &self,
        config: &Config,
        choices: &heal::Choices,
        by: Option<By<'_>>,
        work: impl AsyncFnOnce(rebuild::Rebuild<'_, P>) -> Result<T, rebuild::Error>,
    ) -> Result<T, Error> {
        let (pools, codec) = self.frame.ground(config).await?;
        let journal = self.frame.journal_for(config, &pools, by).await?;
        let topic = topics::own(&config.topics.prefix, P::NAME);
        let (relay, participant) = (parts::relay_config(P::NAME, config), Arc::clone(&self.participant));
        let told = by.zip(journal.as_ref()).map(|(by, journal)| by.telling(journal));
        let sessions = parts::quarter(&config.database);
        let pass_over = choices.pass_over.iter().map(heal::At::to_string).collect();
        let rebuild = rebuild::Rebuild::new(participant, codec, topic, &relay, &pools.relay);
        let derived = &self.frame.derived[..];
        let work = work(rebuild::Rebuild { sessions, pass_over, derived, told, ..rebuild });
        let done = Box::pin(work).await;
        pools.close().await;
        done.map_err(Error::Rebuild)
    }
}

impl Frame {
    /// What a heal or a rebuild works with, once the tables are there.
    pub(super) fn ground<'a>(&'a self, config: &'a Config) -> Doing<'a, (parts::Pools, Codec)> {
        Box::pin(async move {
            parts::check(&self.contract, config)?;
            let checks = http::Checks::default();
            let patience = wait::Patience { checks: &checks, limit: Some(config.process.wait) };
            migrate::tables(&patience, self, config, Missing::Refuse).await?;
            let pools = parts::Pools::new(self.contract.name, &config.database)?;
            let codec = Codec::with(&config.registry, pools.intake.clone()).encoding(self.encoding);
            codec.add_reader_schema(self.contract.events).map_err(Error::Schemas)?;
            Ok((pools, codec))
        })
    }
}

impl<P: Participant, E: EffectHandler<P>> Service<P, E> {
    /// Serves until `shutdown` is cancelled. Tables and topics have to be there: see [`migrate`](Service::migrate). It waits for servers that are
    /// away, and ends with an error for what no waiting repairs. Stopping takes at most `process.stop_timeout` (20 s).
    ///
    /// # Errors
    /// The first part's that failed; see [`Error`].
    pub async fn run(self, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
        let bound = Bound::bind(&config.http).await?;
        self.serve(bound, config, Missing::Refuse, shutdown).await
    }

    /// The same on a listener that is bound already, creating what is missing if told to.
    ///
    /// # Errors
    /// The first part's that failed; see [`Error`].
    pub async fn serve(self, bound: Bound, config: Config, missing: Missing, shutdown: CancellationToken) -> Result<(), Error> {
        run::run(self, bound, config, missing, shutdown).await
    }
}
