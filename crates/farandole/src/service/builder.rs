//! A service, put together.

use std::sync::Arc;

use axum::Router;
use sqlx::migrate::Migrator;

use crate::agenda::EffectHandler;
use crate::config::{self, Config};
use crate::participant::Participant;
use crate::service::api::Api;
use crate::service::contract::Contract;
use crate::service::describe::Description;
use crate::service::error::Error;
use crate::service::frame::{Frame, Mappings};
use crate::service::{http, migrate};
use crate::wire::codec::Encoding;
use crate::wire::mapping::Mapping;

/// What answers, given what routes work with.
type Routes<P> = Box<dyn Fn(Api<P>) -> Router + Send + Sync>;

/// A participant, its tables' migrations, its effects, its routes.
pub struct Service<P: Participant, E = ()> {
    pub(super) participant: Arc<P>,
    pub(super) effects: E,
    pub(super) routes: Routes<P>,
    pub(super) frame: Frame,
}

impl<P: Participant, E> std::fmt::Debug for Service<P, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("name", &P::NAME).finish_non_exhaustive()
    }
}

impl<P: Participant> Service<P, ()> {
    /// A service without effects and routes. `migrations` are those of its own tables: `farandole::migrations!["0001_tables.sql"]`.
    pub fn new(participant: P, mut migrations: Migrator) -> Self {
        // A release behind the database's is what rolls back, or waits its turn in a rolling update.
        migrations.set_ignore_missing(true);
        let contract = Contract::of::<P>();
        let frame = Frame { contract, migrations, openapi: None, mappings: Mappings::new(), encoding: Encoding::Avro };
        Self { participant: Arc::new(participant), effects: (), routes: Box::new(|_| Router::new()), frame }
    }
}

impl<P: Participant, E> Service<P, E> {
    /// Calls the outside world through `effects`.
    pub fn effects<F: EffectHandler<P>>(self, effects: F) -> Service<P, F> {
        let Self { participant, effects: _, routes, frame } = self;
        Service { participant, effects, routes, frame }
    }

    /// Answers these routes: `|api| Router::new().route(…).with_state(api)`. State of one's own is captured, or put beside the
    /// [`Api`] into a struct from which axum's `FromRef` gets it.
    pub fn routes(mut self, routes: impl Fn(Api<P>) -> Router + Send + Sync + 'static) -> Self {
        self.routes = Box::new(routes);
        self
    }

    /// Describes the routes, at `/openapi.json` and by the subcommand `openapi`.
    pub fn openapi(mut self, openapi: fn() -> utoipa::openapi::OpenApi) -> Self {
        self.frame.openapi = Some(openapi);
        self
    }

    /// Reads the topic that the participant calls `topic` (one of those of [`Participant::Heard`]) as `mapping` says.
    pub fn mapping(mut self, topic: &'static str, mapping: Mapping) -> Self {
        self.frame.mappings.insert(topic, mapping);
        self
    }

    /// Writes its events so; without this, Avro. What it hears it reads by each record's `content-type`.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.frame.encoding = encoding;
        self
    }

    /// The routes with all limits around them, apart from any socket.
    pub fn router(&self, api: Api<P>, config: &config::Http) -> Router {
        http::around((self.routes)(api), config)
    }

    /// The description of the routes as JSON, if there is one.
    pub fn openapi_json(&self) -> Option<String> {
        self.frame.openapi_json()
    }

    /// What the service is.
    pub fn description(&self, config: &Config) -> Description {
        Description::of(&self.frame, config)
    }

    /// Makes tables and topics and registers schemas, whatever of it isn't there yet.
    ///
    /// # Errors
    /// Also when Kafka, PostgreSQL or the registry can't be reached within `process.wait`.
    pub async fn migrate(&self, config: &Config) -> Result<(), Error> {
        migrate::all(&self.frame, config).await
    }
}
