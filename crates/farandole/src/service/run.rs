//! From start to stop, in the order that the module above says.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::agenda::EffectHandler;
use crate::config::{Config, Http};
use crate::consume::intake::Intake;
use crate::consume::{checkpoint, release, tidy};
use crate::ground::error::chain_of;
use crate::parking::journal::Journal;
use crate::participant::Participant;
use crate::publish::relay::{self, Role};
use crate::service::frame::{Doing, Frame, Mappings};
use crate::service::http::{self, Checks};
use crate::service::wait::Patience;
use crate::service::{Api, Error, Missing, Service, migrate, own, parts, rights, same_fold, telemetry};
use crate::wire::codec::Codec;
use crate::wire::topics;

/// How often recorded histograms are put in their buckets; what waits for it is held in memory.
const UPKEEP: Duration = Duration::from_secs(5);
/// The checks of `/readyz`.
const CHECKS: [&str; 9] = ["database", "migrated", "rights", "topics", "schemas", "relay", "history", "agenda", "intake"];
/// Who stops together, in order. Commands outlast the requests that wait for them; the relay publishes what the others left.
const STAGES: [&[&str]; 3] = [
    &["http", "intake", "parking", "tidy", "checkpoints", "agenda", "schemas", "alarms"],
    &["commands"],
    &["relay", "upkeep", "database"],
];

/// A bound HTTP listener.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Bound {
    /// Listens at `http.listen`, and writes the address to `http.port_file`.
    ///
    /// # Errors
    /// When the port is taken or the file can't be written.
    pub async fn bind(http: &Http) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: http.listen, source };
        let listener = TcpListener::bind(http.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if let Some(path) = &http.port_file {
            // Written aside and renamed, so that who waits for the file never reads half of it.
            let aside = path.with_extension("part");
            let written = std::fs::write(&aside, address.to_string()).and_then(|()| std::fs::rename(&aside, path));
            written.map_err(|source| Error::PortFile { path: path.clone(), source })?;
        }
        tracing::info!(%address, "listening");
        Ok(Self { listener, address })
    }
}

/// The tasks of a service, by name.
#[derive(Default)]
struct Tasks {
    set: JoinSet<Result<(), Error>>,
    names: HashMap<Id, &'static str>,
    stops: HashMap<&'static str, CancellationToken>,
}

impl Tasks {
    pub fn spawn<F: Future<Output = Result<(), Error>> + Send + 'static>(
        &mut self,
        name: &'static str,
        start: impl FnOnce(CancellationToken) -> F,
    ) {
        let stop = CancellationToken::new();
        let task = start(stop.clone());
        self.add(name, stop, Box::pin(task));
    }

    fn add(&mut self, name: &'static str, stop: CancellationToken, task: Doing<'static, ()>) {
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name);
        self.stops.insert(name, stop);
    }

    /// The next that ends, and how; never when none runs.
    async fn ended(&mut self) -> (&'static str, Result<(), Error>) {
        let (id, result) = match self.set.join_next_with_id().await {
            Some(Ok((id, result))) => (id, Some(result)),
            Some(Err(error)) => (error.id(), None),
            None => std::future::pending().await,
        };
        let part = self.names.remove(&id).unwrap_or("a part");
        (part, result.unwrap_or(Err(Error::Panicked { part })))
    }

    /// The first that ends although nobody told it to.
    async fn failed(&mut self) -> Error {
        match self.ended().await {
            (part, Ok(())) => Error::Ended { part },
            (_, Err(error)) => error,
        }
    }

    fn running(&self) -> BTreeSet<&'static str> {
        self.names.values().copied().collect()
    }

    /// Stops all, stage by stage.
    async fn stop(&mut self) {
        for stage in STAGES {
            for name in stage {
                if let Some(stop) = self.stops.get(name) {
                    stop.cancel();
                }
            }
            while self.running().iter().any(|name| stage.contains(name)) {
                if let (part, Err(error)) = self.ended().await {
                    tracing::warn!(part, error = chain_of(&error), "ended with an error while stopping");
                }
            }
        }
    }
}

/// What of a service decides, once all that it needs is there: spawns it, and gives the intake, which is spawned last, and the routes.
type Decide = Box<dyn FnOnce(Ready<'_>) -> (Intake, Router) + Send>;

/// Whether this build folds as the one did that wrote the tables.
type Same = Box<dyn for<'a> FnOnce(&'a Codec, &'a Config) -> Doing<'a, ()> + Send>;

/// What the deciding parts need.
struct Ready<'a> {
    tasks: &'a mut Tasks,
    codec: &'a Codec,
    config: &'a Config,
    mappings: &'a Mappings,
    pools: &'a parts::Pools,
    wakes: (&'a relay::Wakeup, &'a relay::History),
}

pub(super) fn run<P: Participant, E: EffectHandler<P>>(
    service: Service<P, E>,
    bound: Bound,
    config: Config,
    missing: Missing,
    shutdown: CancellationToken,
) -> Doing<'static, ()> {
    let Service { participant, effects, routes, frame } = service;
    let folding = Arc::clone(&participant);
    let same: Same = Box::new(move |codec, config| Box::pin(async move { same_fold::check(&folding, codec, config).await }));
    let decide = Box::new(move |Ready { tasks, codec, config, mappings, pools, wakes }: Ready<'_>| {
        let parts::Deciders { commands, runner, intake, agenda, releases } =
            parts::deciders(&participant, effects, codec, config, mappings, pools, wakes);
        // Routes may take no commands: nobody would hold them then, and the runner would think that all is over.
        let held = commands.clone();
        tasks.spawn("commands", async move |stop| {
            runner.run(stop).await;
            drop(held);
            Ok(())
        });
        tasks.spawn("agenda", async move |stop| {
            agenda.run(stop).await;
            Ok(())
        });
        tasks.spawn("parking", async move |stop| {
            release::run(releases, stop).await;
            Ok(())
        });
        (intake, routes(Api { pool: pools.http.clone(), commands }))
    });
    boxed(frame, (same, decide), bound, config, missing, shutdown)
}

fn boxed(
    frame: Frame,
    decide: (Same, Decide),
    bound: Bound,
    config: Config,
    missing: Missing,
    shutdown: CancellationToken,
) -> Doing<'static, ()> {
    Box::pin(serve(frame, decide, bound, config, missing, shutdown))
}

async fn serve(
    frame: Frame,
    decide: (Same, Decide),
    bound: Bound,
    config: Config,
    missing: Missing,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    parts::check(&frame.contract, &config)?;
    // An error means that the caller has chosen one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    telemetry::recorder();
    let checks = Checks::waiting(&CHECKS);
    let pools = parts::Pools::new(frame.contract.name, &config.database)?;
    let mut tasks = Tasks::default();
    let routes = Arc::new(OnceLock::new());
    listen(&mut tasks, bound, &config.http, http::service(checks.clone(), frame.openapi_json(), Arc::clone(&routes)));
    tasks.spawn("upkeep", async |stop: CancellationToken| {
        while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
            telemetry::recorder().run_upkeep();
        }
        Ok(())
    });

    let stop_timeout = config.process.stop_timeout;
    let started = tokio::select! {
        started = start(&frame, decide, &config, missing, (&checks, &pools, &routes), &mut tasks) => started,
        () = shutdown.cancelled() => Ok(()),
    };
    let result = match started {
        Ok(()) => tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            error = tasks.failed() => Err(error),
        },
        Err(error) => Err(error),
    };
    checks.failing("stopping", "the service is stopping");
    tracing::info!("stopping");
    if tokio::time::timeout(stop_timeout, tasks.stop()).await.is_err() {
        let abandoned: Vec<_> = tasks.running().into_iter().collect();
        tracing::warn!(
            abandoned = abandoned.join(", "),
            seconds = stop_timeout.as_secs(),
            "some parts did not stop in time; no data is lost"
        );
        tasks.set.shutdown().await;
    }
    // Connections in use by what was abandoned would be waited for.
    let _ = tokio::time::timeout(Duration::from_secs(1), pools.close()).await;
    result
}

fn listen(tasks: &mut Tasks, bound: Bound, http: &Http, router: Router) {
    let limits = http::limits(http);
    tasks.spawn("http", async move |stop: CancellationToken| {
        listener::serve(bound.listener, router, limits, stop.cancelled_owned()).await.map_err(Error::Http)
    });
}

/// Brings up everything behind the listener. Returns early, without an error, when a part has ended: its task tells why.
async fn start(
    frame: &Frame,
    (same, decide): (Same, Decide),
    config: &Config,
    missing: Missing,
    (checks, pools, routes): (&Checks, &parts::Pools, &OnceLock<Router>),
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let (patience, contract) = (Patience { checks, limit: None }, frame.contract.clone());
    migrate::tables(&patience, frame, config, missing).await?;
    own::enter(&patience, &contract, config, &frame.mappings).await?;
    let codec = Codec::with(&config.registry, pools.intake.clone()).encoding(frame.encoding);
    migrate::kafka_and_registry(&patience, &contract, config, &codec, missing).await?;

    // Without a database that takes writes there is nothing that it can do. What only some batches fail of is for a person to see.
    let (away, failing, watched) = (pools.clone(), pools.clone(), pools.clone());
    checks.probe("database", true, move || away.away());
    checks.probe("batches", false, move || failing.failing());
    tasks.spawn("database", async move |stop| {
        stop.run_until_cancelled_owned(watched.watch()).await;
        Ok(())
    });
    let (options, denied, told) = (parts::connect_options(&config.database)?, pools.clone(), checks.clone());
    let tables = contract.tables;
    tasks.spawn("rights", async move |stop: CancellationToken| {
        stop.run_until_cancelled_owned(rights::watch(&options, tables, &denied, &told)).await;
        Ok(())
    });
    let refreshed = codec.clone();
    tasks.spawn("schemas", async move |stop: CancellationToken| {
        refreshed.keep_fresh(&stop).await;
        stop.cancelled().await; // a codec without a registry has nothing to ask
        Ok(())
    });
    let kept = codec.clone();
    checks.probe("schemas", false, move || Some(kept.troubles()).filter(|t| !t.is_empty()).map(|t| t.join("; ")));

    let (relay, wakeup) = parts::relay(contract.name, config, pools);
    let (status, history) = (relay.status(), relay.history());
    let (room, upkeep) = (relay.status(), relay.status());
    checks.probe("outbox", true, move || {
        (room.room() <= 0).then(|| "no partition of the outbox has room for another row".to_owned())
    });
    checks.probe("upkeep", false, move || upkeep.upkeep());
    let probed = Arc::clone(&status);
    checks.probe("relay", true, move || probed.role().trouble());
    tasks.spawn("relay", async move |stop| relay.run(stop).await.map_err(Error::Relay));
    if !publishing(status.watch()).await {
        return Ok(());
    }
    // From here on the relay's trouble delays what is published, and no caller. But on a database that was set back nothing is decided.
    let publishing = Arc::clone(&status);
    checks.probe("relay", false, move || status.role().trouble());
    let probed = history.clone();
    checks.probe("history", true, move || probed.trouble());

    same(&codec, config).await?;
    let (codec, mappings, wakes) = (&codec, &frame.mappings, (&wakeup, &history));
    let (intake, business) = decide(Ready { tasks, codec, config, mappings, pools, wakes });
    checks.ok("agenda");
    let (sessions, answers) = (pools.agenda.clone(), config.http.idempotency_retention);
    tasks.spawn("tidy", async move |stop| {
        tidy::run(&sessions, contract.name, Some(answers), &stop).await;
        Ok(())
    });
    let (sessions, every) = (pools.agenda.clone(), config.intake.checkpoint_every);
    let journal = Journal::beside(&topics::own(&config.topics.prefix, contract.name), codec.clone());
    tasks.spawn("checkpoints", async move |stop| {
        checkpoint::run(&sessions, (contract.name, &journal), every, &publishing, &stop).await;
        Ok(())
    });
    let watches = frame.alarms.iter().map(|alarm| alarm.clone().watch(pools.http.clone(), checks.clone()));
    let watches = futures_util::future::join_all(watches);
    tasks.spawn("alarms", async move |stop: CancellationToken| {
        stop.run_until_cancelled(watches).await;
        stop.cancelled().await; // a service may have none
        Ok(())
    });
    let troubles = intake.troubles();
    tasks.spawn("intake", async move |stop| intake.run(stop).await.map_err(Error::Intake));
    checks.probe("intake", false, move || Some(troubles.list()).filter(|t| !t.is_empty()).map(|t| t.join("; ")));
    let _ = routes.set(http::around(business, &config.http)); // set here only
    tracing::info!(service = contract.name, topic = topics::own(&config.topics.prefix, contract.name), "ready");
    Ok(())
}

/// Waits until the database was compared with the topics and this relay or another of the service publishes; false when it never will.
async fn publishing(mut role: watch::Receiver<Role>) -> bool {
    let settled = |role: &Role| !matches!(role, Role::Starting | Role::Waiting(_));
    match role.wait_for(settled).await {
        Ok(role) => matches!(*role, Role::Active | Role::Standby),
        Err(_) => false,
    }
}
