//! Operator access to a service's positions; the service may be running.

use crate::config::Config;
use crate::consume::intake::Position;
use crate::consume::intake::operate::{self, Moved, To};
use crate::consume::intake::position::positions;
use crate::participant::Participant;
use crate::service::contract::Contract;
use crate::service::frame::{Doing, Frame, heard};
use crate::service::{Error, Service, own};

impl<P: Participant, E> Service<P, E> {
    /// Where each partition is read next: `topic/partition` and position.
    ///
    /// # Errors
    /// The database's.
    pub async fn positions(&self, config: &Config) -> Result<Vec<(String, Position)>, Error> {
        self.frame.positions(config).await
    }

    /// Sets where `topic`, named as the service calls it or as Kafka does, is read next: one partition, or all.
    ///
    /// # Errors
    /// When the topic isn't heard, doesn't hold that, and the brokers' and the database's.
    pub async fn set_position(&self, config: &Config, topic: &str, partition: Option<i32>, to: To) -> Result<Vec<Moved>, Error> {
        self.frame.set_position(config, topic, partition, to).await
    }
}

impl Frame {
    fn positions<'a>(&'a self, config: &'a Config) -> Doing<'a, Vec<(String, Position)>> {
        Box::pin(async move {
            let mut conn = own::connect(self.contract.name, config).await?;
            let found = positions(&mut conn, self.contract.name).await;
            found.map_err(|source| Error::Database { doing: "listing positions", source })
        })
    }

    fn set_position<'a>(&'a self, config: &'a Config, topic: &'a str, partition: Option<i32>, to: To) -> Doing<'a, Vec<Moved>> {
        Box::pin(async move {
            let Contract { name, hears, .. } = &self.contract;
            let names = hears.iter().map(|topic| (*topic, heard(&config.topics.prefix, &self.mappings, topic)));
            let names: Vec<(&str, String)> = names.collect();
            let Some((_, topic)) = names.iter().find(|(heard, kafkas)| topic == *heard || topic == kafkas) else {
                let heard = names.into_iter().map(|(_, kafkas)| kafkas).collect();
                return Err(Error::NotHeard { topic: topic.to_owned(), heard });
            };
            let mut conn = own::connect(name, config).await?;
            operate::set(&mut conn, &config.kafka, name, topic, partition, to).await.map_err(Error::Position)
        })
    }
}
