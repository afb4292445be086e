//! A whole service: a participant with everything around it, from start to stop.
//!
//! **Start**: the HTTP listener first, so that liveness and readiness can be asked; then PostgreSQL, the tables, Kafka and the
//! topics, the schemas, and the relay's check that the topics continue what the database knows, which a stand-by makes as well. What
//! is away is waited for as long as it takes; what no waiting mends ([`Error::is_passing`]) is a refusal. Only then agenda, intake and the service's own routes begin:
//! nothing is decided on a history that doesn't fit, nor when the database is set back later; see
//! [`History`](crate::relay::History).
//!
//! **Stop**: HTTP takes nothing new and answers what it has; intake and agenda finish their batches; then commands; the relay
//! goes last and publishes what they left. All within `process.stop_timeout`; what is abandoned then is done after the next
//! start, for nothing rests on an orderly stop.
//!
//! **Invariant:** a refusal, at the start or by a part that runs, stops the service, which then ends with that error, and its process
//! with exit code 1; no part is restarted in place. Trouble that ends by itself (brokers or database away) is waited out by the
//! parts and shows in `/readyz`.

mod describe;
mod elsewhere;
mod error;
mod migrate;
mod own;
mod parked;
mod parts;
mod positions;
mod run;
mod wait;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;

pub use describe::Description;
pub use error::{Elsewhere, Error};
pub use migrate::migrate;
pub use run::Bound;

use crate::agenda::{Effects, NoEffects};
use crate::codec::{Codec, Written};
use crate::commands::Commands;
use crate::config::{self, Config};
use crate::mapping::Mapping;
use crate::message::Message as _;
use crate::participant::Participant;
use crate::{heal, http, topics};

pub(crate) use parts::unfit;

/// What a service's routes work with.
#[derive(Debug)]
pub struct Api<P: Participant> {
    /// For reading. State is changed by commands alone.
    pub pool: PgPool,
    /// Where commands are handed in.
    pub commands: Commands<P>,
}

impl<P: Participant> Clone for Api<P> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), commands: self.commands.clone() }
    }
}

/// A participant, its tables' migrations, its effects, its routes.
pub struct Service<P: Participant, E = NoEffects> {
    participant: Arc<P>,
    migrations: Migrator,
    effects: E,
    routes: fn() -> Router<Api<P>>,
    openapi: Option<fn() -> utoipa::openapi::OpenApi>,
    mappings: parts::Mappings,
    written: Written,
}

impl<P: Participant, E> std::fmt::Debug for Service<P, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("name", &P::NAME).finish_non_exhaustive()
    }
}

/// Whether tables, topics and schemas are made or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// What is missing is made.
    Make,
    /// What is missing is an error that says so.
    Refuse,
}

impl<P: Participant> Service<P, NoEffects> {
    /// A service without effects and routes. `migrations` are those of its own tables: `sqlx::migrate!()`.
    pub fn new(participant: P, mut migrations: Migrator) -> Self {
        // A release behind the database's is what rolls back, or waits its turn in a rolling update.
        migrations.set_ignore_missing(true);
        Self {
            participant: Arc::new(participant),
            migrations,
            effects: NoEffects,
            routes: Router::new,
            openapi: None,
            mappings: parts::Mappings::new(),
            written: Written::Avro,
        }
    }
}

impl<P: Participant, E> Service<P, E> {
    /// Calls the outside world through `effects`.
    pub fn effects<F: Effects<P>>(self, effects: F) -> Service<P, F> {
        let Self { participant, migrations, effects: _, routes, openapi, mappings, written } = self;
        Service { participant, migrations, effects, routes, openapi, mappings, written }
    }

    /// Answers these routes.
    pub fn routes(mut self, routes: fn() -> Router<Api<P>>) -> Self {
        self.routes = routes;
        self
    }

    /// Describes the routes, at `/openapi.json` and by the subcommand `openapi`.
    pub fn openapi(mut self, openapi: fn() -> utoipa::openapi::OpenApi) -> Self {
        self.openapi = Some(openapi);
        self
    }

    /// Reads the topic that the participant calls `topic` (one of [`Participant::HEARS`]) as `mapping` says.
    pub fn mapping(mut self, topic: &'static str, mapping: Mapping) -> Self {
        self.mappings.insert(topic, mapping);
        self
    }

    /// Writes its events so; without this, Avro. What it hears it reads by each record's `content-type`.
    pub fn writing(mut self, written: Written) -> Self {
        self.written = written;
        self
    }

    /// The routes with all limits around them, apart from any socket.
    pub fn router(&self, api: Api<P>, config: &config::Http) -> Router {
        http::around((self.routes)().with_state(api), config)
    }

    /// The description of the routes as JSON, if there is one.
    pub fn openapi_json(&self) -> Option<String> {
        // Its values are strings, numbers, lists and maps with text keys, which always are JSON.
        self.openapi.map(|describe| serde_json::to_string_pretty(&describe()).unwrap_or_default() + "\n")
    }

    /// What the service is.
    pub fn description(&self, config: &Config) -> Description {
        Description::of::<P>(config, &self.mappings, &self.migrations)
    }

    /// Makes tables and topics and registers schemas, whatever of it isn't there yet.
    ///
    /// # Errors
    /// Also when Kafka, PostgreSQL or the registry can't be reached within `process.wait`.
    pub async fn migrate(&self, config: &Config) -> Result<(), Error> {
        migrate::all::<P>(&self.migrations, self.written, config).await
    }
}

impl<P: Participant, E> Service<P, E> {
    /// Compares the database with the service's own topic after one of them was set back, and brings them together again if
    /// `mode` says so; see [`heal`](crate::heal).
    ///
    /// # Errors
    /// Also when Kafka, PostgreSQL or a schema that is needed can't be reached.
    pub async fn heal(&self, config: &Config, mode: heal::Mode) -> Result<heal::Report, Error> {
        self.heal_passing(config, mode, &BTreeSet::new()).await
    }

    /// The same, passing over records; see [`heal_passing`](heal::heal_passing).
    ///
    /// # Errors
    /// As [`Service::heal`].
    pub async fn heal_passing(
        &self,
        config: &Config,
        mode: heal::Mode,
        named: &BTreeSet<heal::At>,
    ) -> Result<heal::Report, Error> {
        parts::check::<P>(config)?;
        let checks = http::Checks::default();
        let patience = wait::Patience { checks: &checks, limit: Some(config.process.wait) };
        migrate::tables::<P>(&patience, &self.migrations, config, Missing::Refuse).await?;
        let pools = parts::Pools::new(P::NAME, &config.database)?;
        let codec = Codec::with(&config.registry, pools.intake.clone()).writing(self.written);
        codec.know(P::Event::TYPES).map_err(Error::Schemas)?;
        let prefix = &config.topics.prefix;
        let heard = P::HEARS.iter().map(|topic| parts::heard(prefix, &self.mappings, topic)).collect();
        let fold = heal::Folding::new(Arc::clone(&self.participant), codec, topics::own(prefix, P::NAME), heard);
        let healed = heal::heal_passing(&pools.relay, &parts::relay_config::<P>(config), &fold, mode, named).await;
        pools.close().await;
        healed.map_err(Error::Heal)
    }
}

impl<P: Participant, E: Effects<P>> Service<P, E> {
    /// Serves until `shutdown`. Tables and topics have to be there.
    ///
    /// # Errors
    /// The first part's that failed; see [`Error`].
    pub async fn run(self, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
        let bound = Bound::bind(&config.http).await?;
        self.serve(bound, config, Missing::Refuse, shutdown).await
    }

    /// The same on a listener of the caller's, making what is missing if told to.
    ///
    /// # Errors
    /// The first part's that failed; see [`Error`].
    pub async fn serve(self, bound: Bound, config: Config, missing: Missing, shutdown: CancellationToken) -> Result<(), Error> {
        run::run(self, bound, config, missing, shutdown).await
    }
}
