//! Where the intake is measured.

use crate::points::Points;
use anyhow::Context as _;
use farandole::config::Config;
use farandole::{Codec, Service};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use stage::{Sandbox, Stage};

use crate::{events, points};

/// A place with the example service's tables, and a topic full of orders.
pub struct Place {
    pub kafka: String,
    pub topic: String,
    pub pool: PgPool,
    pub codec: Codec,
    pub events: u32,
    pub sandbox: Sandbox,
}

impl Place {
    pub async fn new(stage: &Stage, customers: u32, count: u32) -> anyhow::Result<Self> {
        let sandbox = stage.sandbox().await?;
        let database = sandbox.database("loyalty").await?;
        let mut config = Config::default();
        config.database.url = database.url.clone().into();
        config.kafka.bootstrap = stage.kafka().to_owned();
        config.registry.url = stage.registry().to_owned();
        config.topics.prefix = sandbox.prefix.clone();
        let service = || Service::new(Points, farandole::migrations!["0001_tables.sql"]);
        service().migrate(&config).await.context("migrating")?;
        let topic = format!("{}orders", sandbox.prefix);
        farandole::topics::ensure(&config.kafka, &config.topics, "orders", true).await.context("making the topic")?;
        let pool = PgPoolOptions::new().max_connections(8).connect(&database.url).await?;
        // A service's relay makes them; here there is none.
        farandole::relay::partitions::ensure(&pool).await.context("making the outbox's partitions")?;
        let codec = Codec::new(stage.registry(), pool.clone());
        events::publish(stage.kafka(), &codec, &topic, customers, count).await?;
        // What the service itself would publish; its registration belongs to `migrate`, which this codec didn't see.
        codec.register(&format!("{}loyalty", sandbox.prefix), <points::Event as farandole::Message>::TYPES).await?;
        Ok(Self { kafka: stage.kafka().to_owned(), topic, pool, codec, events: count, sandbox })
    }
}
