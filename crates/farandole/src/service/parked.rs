//! An operator's view of what a service has parked; the service itself may run meanwhile.

use sqlx::Connection as _;

use crate::config::Config;
use crate::parking::journal::{self, Journal};
use crate::parking::operate::{self, Dropped, Queues, Which};
use crate::participant::Participant;
use crate::service::{Error, Service, own, parts};
use crate::wire::codec::Codec;
use crate::wire::settings::Subjects;
use crate::wire::topics;

impl<P: Participant, E> Service<P, E> {
    /// What is parked.
    ///
    /// # Errors
    /// The database's.
    pub async fn parked(&self, config: &Config) -> Result<Queues, Error> {
        let mut conn = own::connect::<P>(config).await?;
        let queues =
            operate::list(&mut conn, P::NAME).await.map_err(|source| Error::Database { doing: "listing what is parked", source });
        let _ = conn.close().await; // only read
        queues
    }

    /// Has an aggregate's inputs tried within a second.
    ///
    /// # Errors
    /// When nothing of it is parked, and the database's.
    pub async fn retry_parked(&self, config: &Config, aggregate: &str) -> Result<(), Error> {
        let mut conn = own::connect::<P>(config).await?;
        let found = operate::retry(&mut conn, P::NAME, aggregate).await;
        match found.map_err(|source| Error::Database { doing: "having parked inputs tried", source })? {
            true => Ok(()),
            false => Err(Error::NotParked { aggregate: aggregate.to_owned() }),
        }
    }

    /// Gives up the first of the inputs that are parked under a name, aggregate or key, or all, for a reason; says which.
    ///
    /// # Errors
    /// When nothing is parked under it, or the first only waits behind another; and the database's.
    pub async fn drop_parked(
        &self,
        config: &Config,
        aggregate: &str,
        which: Which,
        reason: &str,
        by: &str,
    ) -> Result<Vec<Dropped>, Error> {
        let mut conn = own::connect::<P>(config).await?;
        let own = topics::own(&config.topics.prefix, P::NAME);
        let pools = parts::Pools::new(P::NAME, &config.database)?;
        let codec = Codec::with(&config.registry, pools.intake.clone()).writing(self.written);
        let journals = topics::journal("", &own);
        codec.register_under(&journals, journal::TYPES, Subjects::TopicRecord).await.map_err(Error::Schemas)?;
        let dropped = operate::drop(&mut conn, P::NAME, Some(&Journal::beside(&own, codec)), aggregate, which, reason, by).await;
        pools.close().await;
        match dropped.map_err(|refused| Error::Parked(Box::new(refused)))? {
            dropped if dropped.is_empty() => Err(Error::NotParked { aggregate: aggregate.to_owned() }),
            dropped => Ok(dropped),
        }
    }
}
