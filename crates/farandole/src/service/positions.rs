//! Operator access to a service's positions; the service may be running.

use crate::config::Config;
use crate::consume::intake::operate::{self, Ask, Setting, Standings, To};
use crate::participant::Participant;
use crate::service::acts::By;
use crate::service::contract::Contract;
use crate::service::frame::{Doing, Frame, heard};
use crate::service::{Error, Service, own};

impl<P: Participant, E> Service<P, E> {
    /// Where each partition is read next, and how far behind that is.
    ///
    /// # Errors
    /// The database's.
    pub async fn positions(&self, config: &Config) -> Result<Standings, Error> {
        self.frame.positions(config).await
    }

    /// Says what is skipped or read again if `topic`, named as the service calls it or as Kafka does, is read from there next: one partition, or
    /// all. Sets it, if it is said `by` whom; the journal tells.
    ///
    /// # Errors
    /// When the topic isn't heard, doesn't hold that, or another operator is at it; and the brokers' and the database's.
    pub async fn set_position(
        &self,
        config: &Config,
        topic: &str,
        partition: Option<i32>,
        to: To,
        by: Option<By<'_>>,
    ) -> Result<Setting, Error> {
        self.frame.set_position(config, topic, partition, to, by).await
    }
}

impl Frame {
    /// The name of a heard topic in the participant and in Kafka, by either.
    pub(super) fn subscribed(&self, config: &Config, topic: &str) -> Result<(&'static str, String), Error> {
        let Contract { hears, .. } = &self.contract;
        let mut names = hears.iter().map(|topic| (*topic, heard(&config.topics.prefix, &self.mappings, topic)));
        names.find(|(heard, kafkas)| topic == *heard || topic == kafkas).ok_or_else(|| Error::NotHeard {
            topic: topic.to_owned(),
            heard: hears.iter().map(|topic| heard(&config.topics.prefix, &self.mappings, topic)).collect(),
        })
    }

    fn positions<'a>(&'a self, config: &'a Config) -> Doing<'a, Standings> {
        Box::pin(async move {
            let mut conn = own::connect(self.contract.name, config).await?;
            let found = operate::list(&mut conn, &config.kafka, self.contract.name).await;
            found.map_err(|source| Error::Database { doing: "listing positions", source })
        })
    }

    fn set_position<'a>(
        &'a self,
        config: &'a Config,
        topic: &'a str,
        partition: Option<i32>,
        to: To,
        by: Option<By<'a>>,
    ) -> Doing<'a, Setting> {
        Box::pin(async move {
            let (heard, topic) = self.subscribed(config, topic)?;
            let ask =
                Ask { reader: self.contract.name, topic: &topic, partition, to, mapping: self.mappings.get(heard), replay: None };
            let Some(by) = by else {
                let mut conn = own::connect(self.contract.name, config).await?;
                return operate::set(&mut conn, &config.kafka, &ask, None).await.map_err(Error::Position);
            };
            let mut acting = self.act(config, "positions set", by).await?;
            let operator = by.telling(&acting.journal);
            let set = operate::set(&mut acting.conn, &config.kafka, &ask, Some(operator)).await;
            acting.end().await;
            set.map_err(Error::Position)
        })
    }
}
