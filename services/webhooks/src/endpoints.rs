//! Where a subscription's messages go, as it is now.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use sqlx::{PgPool, Row as _};
use uuid::Uuid;

/// What sending needs of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where messages go.
    pub url: String,
    /// What they are signed with, sealed.
    pub secret: String,
}

/// Where endpoints are found.
pub trait Endpoints: Send + Sync + 'static {
    /// That of a live subscription; none of one that was removed.
    fn find(&self, subscription_id: Uuid) -> impl Future<Output = Result<Option<Endpoint>, String>> + Send;
}

/// Those of the service's own table, over the connections of its routes.
#[derive(Debug, Clone, Default)]
pub struct Stored(Arc<OnceLock<PgPool>>);

impl Stored {
    /// From here on they are found.
    pub fn on(&self, pool: &PgPool) {
        let _ = self.0.set(pool.clone()); // routes are made once
    }
}

impl Endpoints for Stored {
    async fn find(&self, subscription_id: Uuid) -> Result<Option<Endpoint>, String> {
        let pool = self.0.get().ok_or("the service isn't up yet")?;
        let row = sqlx::query("select url, secret from subscriptions where subscription_id = $1 and removed_at is null");
        let row = row.bind(subscription_id).fetch_optional(pool).await.map_err(|error| error.to_string())?;
        let endpoint = |row: sqlx::postgres::PgRow| Ok(Endpoint { url: row.try_get(0)?, secret: row.try_get(1)? });
        row.map(endpoint).transpose().map_err(|error: sqlx::Error| error.to_string())
    }
}
