//! Where the shop's parts are.

use std::collections::BTreeMap;

use anyhow::Context as _;

pub use explore::live::{CORE, SERVICES};

/// Where everything is that the audit reads.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Brokers.
    pub kafka: String,
    /// The schema registry's Confluent API.
    pub registry: String,
    /// Before every topic and group.
    pub prefix: String,
    /// The URL of each service's own database.
    pub databases: BTreeMap<&'static str, String>,
    /// The acquirer's base URL.
    pub acquirer: String,
    /// The carrier's base URL.
    pub carrier: String,
    /// The mail catcher's; none where mails go elsewhere.
    pub mail: Option<String>,
}

impl Sources {
    /// The services that take part: those that have a database.
    pub fn services(&self) -> impl Iterator<Item = &'static str> + use<> {
        let there: Vec<&str> = SERVICES.into_iter().filter(|service| self.databases.contains_key(service)).collect();
        there.into_iter()
    }

    /// A service's database.
    ///
    /// # Errors
    /// When it isn't named, or can't be reached.
    pub async fn pool(&self, service: &str) -> anyhow::Result<sqlx::PgPool> {
        let url = self.databases.get(service).with_context(|| format!("{service} has no database"))?;
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2);
        pool.connect(url).await.with_context(|| format!("connecting to {service}'s database"))
    }
}
