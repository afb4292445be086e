//! An operator's view of where a service reads; the service itself may run meanwhile.

use crate::config::Config;
use crate::consume::intake::Position;
use crate::consume::intake::operate::{self, Moved, To};
use crate::consume::intake::position::positions;
use crate::participant::Participant;
use crate::service::{Error, Service, own, parts};

impl<P: Participant, E> Service<P, E> {
    /// Where each partition is read next: `topic/partition` and position.
    ///
    /// # Errors
    /// The database's.
    pub async fn positions(&self, config: &Config) -> Result<Vec<(String, Position)>, Error> {
        let mut conn = own::connect::<P>(config).await?;
        positions(&mut conn, P::NAME).await.map_err(|source| Error::Database { doing: "listing positions", source })
    }

    /// Sets where `topic`, named as the service calls it or as Kafka does, is read next: one partition, or all.
    ///
    /// # Errors
    /// When the topic isn't heard, doesn't hold that, and the brokers' and the database's.
    pub async fn set_position(&self, config: &Config, topic: &str, partition: Option<i32>, to: To) -> Result<Vec<Moved>, Error> {
        let names = P::HEARS.iter().map(|heard| (*heard, parts::heard(&config.topics.prefix, &self.mappings, heard)));
        let names: Vec<(&str, String)> = names.collect();
        let Some((_, topic)) = names.iter().find(|(heard, kafkas)| topic == *heard || topic == kafkas) else {
            let heard = names.into_iter().map(|(_, kafkas)| kafkas).collect();
            return Err(Error::NotHeard { topic: topic.to_owned(), heard });
        };
        let mut conn = own::connect::<P>(config).await?;
        operate::set(&mut conn, &config.kafka, P::NAME, topic, partition, to).await.map_err(Error::Position)
    }
}
