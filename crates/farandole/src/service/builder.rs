//! A service, put together.

use std::sync::Arc;

use axum::Router;
use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::{PgConnection, PgPool};

use crate::agenda::EffectHandler;
use crate::config::{self, Config};
use crate::participant::Participant;
use crate::rebuild::Derived;
use crate::service::alarm::Alarm;
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

/// A service: a participant, with the migrations of its tables, its effect handler and its routes.
///
/// [`farandole::main`](crate::main) runs it as a program. To run it inside a program of your own, load a [`Config`] and call
/// [`run`](Service::run). Operators use the program's commands; [`parked`](Service::parked), [`positions`](Service::positions) and
/// [`heal`](Service::heal) do the same from code.
///
/// ```
/// # mod loyalty { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/loyalty.rs")); }
/// # use loyalty::*;
/// use axum::{Router, routing::get};
/// use farandole::codec::Encoding;
/// use farandole::{Config, Mapping, NoSettings, prelude::*};
///
/// let service = Service::new(Loyalty, farandole::migrations!["0001_tables.sql"])
///     .mapping("shop", Mapping::new().named("acme.orders.v1")) // the topic's name in Kafka
///     .encoding(Encoding::Json)
///     .routes(|api| Router::new().route("/hello", get(async || "hello")).with_state(api));
///
/// let config = Config::load::<NoSettings>(None, [])?.config;
/// let description = service.description(&config);
/// assert_eq!((description.publishes.as_str(), description.hears[0].as_str()), ("loyalty", "acme.orders.v1"));
///
/// # async fn run(service: Service<Loyalty>, config: Config) -> Result<(), farandole::service::Error> {
/// let shutdown = tokio_util::sync::CancellationToken::new();
/// service.migrate(&config).await?; // creates tables, topics and schemas that are missing
/// service.run(config, shutdown).await // until `shutdown.cancel()`
/// # }
/// # Ok::<(), farandole::config::Error>(())
/// ```
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
    /// A service without effects and routes. `migrations` are those of its own tables:
    /// [`farandole::migrations!["0001_tables.sql"]`](crate::migrations!).
    pub fn new(participant: P, mut migrations: Migrator) -> Self {
        // A release behind the database's is what rolls back, or waits its turn in a rolling update.
        migrations.set_ignore_missing(true);
        let contract = Contract::of::<P>();
        let frame = Frame {
            contract,
            migrations,
            openapi: None,
            mappings: Mappings::new(),
            encoding: Encoding::Avro,
            derived: Vec::new(),
            alarms: Vec::new(),
        };
        Self { participant: Arc::new(participant), effects: (), routes: Box::new(|_| Router::new()), frame }
    }
}

impl<P: Participant, E> Service<P, E> {
    /// Runs its effects by this handler. A participant with effects can't be served without one.
    pub fn effects<F: EffectHandler<P>>(self, effects: F) -> Service<P, F> {
        let Self { participant, effects: _, routes, frame } = self;
        Service { participant, effects, routes, frame }
    }

    /// Serves these routes: `|api| Router::new().route(…).with_state(api)`. State of your own is captured, or put beside the [`Api`] into a
    /// struct from which axum's `FromRef` gets it.
    pub fn routes(mut self, routes: impl Fn(Api<P>) -> Router + Send + Sync + 'static) -> Self {
        self.routes = Box::new(routes);
        self
    }

    /// Sets the OpenAPI description, served at `/openapi.json` and printed by `openapi`.
    pub fn openapi(mut self, openapi: fn() -> utoipa::openapi::OpenApi) -> Self {
        self.frame.openapi = Some(openapi);
        self
    }

    /// Reads the subscribed topic `topic` (the `TOPIC` of types in [`Participant::Heard`]) as `mapping` says: its name in Kafka, and where another
    /// producer's records have key, type, id and source.
    pub fn mapping(mut self, topic: &'static str, mapping: Mapping) -> Self {
        self.frame.mappings.insert(topic, mapping);
        self
    }

    /// How it writes its events; Avro by default. What it subscribes to is read by each record's `content-type`.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.frame.encoding = encoding;
        self
    }

    /// Names a column (`table.column`) or table that no event fills, such as a search index or a cache, and how it is filled from the service's
    /// tables. `fill` is called when tables were put in place as a whole (a rebuild's swap, a rollback, `rebuild --from-nothing`), in a
    /// transaction of its own, while the service may be running: it must come to the same whenever it is called.
    ///
    /// ```
    /// # mod loyalty { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/loyalty.rs")); }
    /// # use loyalty::*;
    /// use farandole::Service;
    ///
    /// let service = Service::new(Loyalty, farandole::migrations!["0001_tables.sql"]).derived("accounts.grade", |conn| {
    ///     Box::pin(async move {
    ///         sqlx::query("update accounts set grade = points / 1000").execute(conn).await?;
    ///         Ok(())
    ///     })
    /// });
    /// assert_eq!(service.description(&farandole::Config::default()).derived, ["accounts.grade"]);
    /// ```
    pub fn derived(
        mut self,
        what: &'static str,
        fill: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<()>> + Send + Sync + 'static,
    ) -> Self {
        self.frame.derived.push(Derived::new(what, fill));
        self
    }

    /// Counts something every 5 seconds that a person should see while it isn't 0, such as work that others should have ended: the metric
    /// `farandole_alarm` has it under this name, and so has `/readyz`, as a check that isn't required; the log says when it begins and ends.
    /// `what` says what is counted and what to do about it.
    ///
    /// ```
    /// # mod loyalty { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/loyalty.rs")); }
    /// # use loyalty::*;
    /// use farandole::Service;
    ///
    /// let what = "accounts have fewer than 0 points; look at their history";
    /// let service = Service::new(Loyalty, farandole::migrations!["0001_tables.sql"]).alarm("overdrawn", what, |pool| {
    ///     Box::pin(async move { sqlx::query_scalar("select count(*) from accounts where points < 0").fetch_one(&pool).await })
    /// });
    /// ```
    pub fn alarm(
        mut self,
        name: &'static str,
        what: &'static str,
        count: impl Fn(PgPool) -> BoxFuture<'static, sqlx::Result<i64>> + Send + Sync + 'static,
    ) -> Self {
        self.frame.alarms.push(Alarm { name, what, count: Arc::new(count) });
        self
    }

    /// The routes with all limits around them, without a socket: for tests.
    pub fn router(&self, api: Api<P>, config: &config::Http) -> Router {
        http::around((self.routes)(api), config)
    }

    /// The description of the routes as JSON, if there is one.
    pub fn openapi_json(&self) -> Option<String> {
        self.frame.openapi_json()
    }

    /// What the service subscribes to, publishes and stores, and what is guaranteed about each subscribed topic.
    pub fn description(&self, config: &Config) -> Description {
        Description::of(&self.frame, config)
    }

    /// Creates tables and topics and registers schemas, whatever of it is missing. May run again, and while the service runs.
    ///
    /// # Errors
    /// What it can't create, and why; also when Kafka, PostgreSQL or the registry can't be reached within `process.wait` (60 s).
    pub async fn migrate(&self, config: &Config) -> Result<(), Error> {
        migrate::all(&self.frame, config).await
    }
}
