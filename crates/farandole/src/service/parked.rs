//! Operator access to a service's parked inputs; the service may be running.

use sqlx::Connection as _;

use crate::config::Config;
use crate::database::gate;
use crate::parking::operate::{self, Dropped, Queues, Which};
use crate::participant::Participant;
use crate::service::acts::{Acting, By};
use crate::service::frame::{Doing, Frame};
use crate::service::{Error, Service, own, parts};

impl<P: Participant, E> Service<P, E> {
    /// What is parked, by aggregate: what `parked` prints.
    ///
    /// # Errors
    /// The database's.
    pub async fn parked(&self, config: &Config) -> Result<Queues, Error> {
        self.frame.parked(config).await
    }

    /// Has an aggregate's parked inputs tried within a second; the journal tells `by` whom.
    ///
    /// # Errors
    /// When nothing of it is parked, and the database's.
    pub async fn retry_parked(&self, config: &Config, aggregate: &str, by: By<'_>) -> Result<(), Error> {
        self.frame.retry(config, aggregate, by).await
    }

    /// Drops the first of the inputs that are parked under a name (aggregate or key), or all of them, for a reason that the journal keeps; gives
    /// which.
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
        self.frame.drop(config, aggregate, which, reason, by).await
    }
}

impl Frame {
    fn parked<'a>(&'a self, config: &'a Config) -> Doing<'a, Queues> {
        Box::pin(async move {
            let mut conn = own::connect(self.contract.name, config).await?;
            let queues = operate::list(&mut conn, self.contract.name).await;
            let _ = conn.close().await; // only read
            queues.map_err(|source| Error::Database { doing: "listing what is parked", source })
        })
    }

    fn retry<'a>(&'a self, config: &'a Config, aggregate: &'a str, by: By<'a>) -> Doing<'a, ()> {
        Box::pin(async move {
            let Acting { mut conn, journal, pools } = self.act(config, "parked retry", by).await?;
            pools.close().await;
            let failed = |source| Error::Database { doing: "having parked inputs tried", source };
            let mut tx = gate::begin(&mut conn).await.map_err(failed)?;
            if !operate::retry(&mut *tx, self.contract.name, aggregate).await.map_err(failed)? {
                return Err(Error::NotParked { aggregate: aggregate.to_owned() });
            }
            let outcome = "tried within a second";
            by.telling(&journal).did(&mut tx, "parked retry", aggregate, outcome).await.map_err(Error::Journal)?;
            tx.commit().await.map_err(failed)
        })
    }

    fn drop<'a>(
        &'a self,
        config: &'a Config,
        aggregate: &'a str,
        which: Which,
        reason: &'a str,
        by: &'a str,
    ) -> Doing<'a, Vec<Dropped>> {
        Box::pin(async move {
            let name = self.contract.name;
            let mut conn = own::connect(name, config).await?;
            let pools = parts::Pools::new(name, &config.database)?;
            let journal = self.journal(config, &pools).await?;
            let dropped = operate::drop_inputs(&mut conn, name, Some(&journal), aggregate, which, reason, by).await;
            pools.close().await;
            match dropped.map_err(|refused| Error::Parked(Box::new(refused)))? {
                dropped if dropped.is_empty() => Err(Error::NotParked { aggregate: aggregate.to_owned() }),
                dropped => Ok(dropped),
            }
        })
    }
}
