//! The parts of a service, made from its configuration. The one place where the shell knows what they are built of.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};

use crate::agenda::{self, Agenda, EffectHandler};
use crate::config::{self, Config, Database};
use crate::consume::intake::{self, Intake};
use crate::database::session::{self, Purpose};
use crate::database::sessions::Sessions;
use crate::engine::Engine;
use crate::engine::commands::{Commands, Runner};
use crate::parking;
use crate::participant::Participant;
use crate::publish::relay::{self, Relay};
use crate::service::Error;
use crate::service::contract::Contract;
use crate::service::frame::{Mappings, group, heard};
use crate::wire::codec::Codec;
use crate::wire::topics;

/// One pool a part, so that none waits for a connection that another holds.
#[derive(Debug, Clone)]
pub(super) struct Pools {
    /// What routes read with.
    pub http: PgPool,
    pub commands: Sessions,
    pub intake: Sessions,
    pub agenda: Sessions,
    pub relay: PgPool,
}

/// A quarter of the sessions that a replica may have, at least one: what an operator's work beside it takes.
pub(super) fn quarter(config: &Database) -> u32 {
    let parts = [config.max_connections, config.intake_connections, config.agenda_connections, config.relay_connections];
    (parts.iter().sum::<u32>().saturating_add(COMMANDS) / 4).max(1)
}

/// Commands run one batch at a time.
const COMMANDS: u32 = 1;

impl Pools {
    /// Pools that connect when they are first used.
    pub fn new(service: &str, config: &Database) -> Result<Self, Error> {
        let options = connect_options(config)?;
        let pool = |pool: PgPoolOptions, part: &str, connections: u32| {
            pool.max_connections(connections)
                .acquire_timeout(config.acquire_timeout)
                .idle_timeout(config.idle_timeout)
                .max_lifetime(Duration::from_secs(30 * 60))
                .connect_lazy_with(options.clone().application_name(&format!("{service} {part}")))
        };
        let deciding = |part: &str, connections: u32| Sessions::deciding(pool(PgPoolOptions::new(), part, connections));
        Ok(Self {
            http: pool(session::watched(PgPoolOptions::new()), "http", config.max_connections),
            commands: deciding("commands", COMMANDS),
            intake: deciding("intake", config.intake_connections),
            agenda: deciding("agenda", config.agenda_connections),
            // The relay sets what its sessions need by itself.
            relay: pool(PgPoolOptions::new(), "relay", config.relay_connections),
        })
    }

    /// Why batches can't be run now: no connection is to be had, or only ones to a server that takes no writes.
    pub fn away(&self) -> Option<String> {
        self.sessions().into_iter().find_map(|(_, sessions)| sessions.away())
    }

    /// Whose last batch failed, and of what.
    pub fn failing(&self) -> Option<String> {
        let failing = self.sessions().into_iter().filter_map(|(part, sessions)| Some(format!("{part}: {}", sessions.failing()?)));
        Some(failing.collect::<Vec<_>>().join("; ")).filter(|all| !all.is_empty())
    }

    /// Whether something was refused for want of a right since the last call.
    pub fn were_denied(&self) -> bool {
        // Of each: what it has noted is taken.
        self.sessions().map(|(_, sessions)| sessions.was_denied()).contains(&true)
    }

    /// Looks for a way back to the database while there is none. Never ends.
    pub async fn watch(&self) {
        tokio::join!(self.commands.watch(), self.intake.watch(), self.agenda.watch());
    }

    fn sessions(&self) -> [(&'static str, &Sessions); 3] {
        [("commands", &self.commands), ("intake", &self.intake), ("agenda", &self.agenda)]
    }

    pub async fn close(&self) {
        tokio::join!(self.http.close(), self.commands.close(), self.intake.close(), self.agenda.close(), self.relay.close());
    }
}

/// How to connect, as `database.url` says.
pub(super) fn connect_options(config: &Database) -> Result<PgConnectOptions, Error> {
    session::options(config.url.expose_secret()).map_err(Error::DatabaseUrl)
}

/// A session for a purpose.
pub(super) async fn open(options: &PgConnectOptions, purpose: Purpose) -> Result<PgConnection, Error> {
    session::open(options, purpose).await.map_err(|source| Error::Database { doing: "connecting to the database", source })
}

/// A connection of its own.
pub(super) async fn connect(config: &Config) -> Result<PgConnection, Error> {
    open(&connect_options(&config.database)?, Purpose::Any).await
}

/// How the relay works.
pub(super) fn relay_config(name: &str, config: &Config) -> relay::Config {
    let prefix = &config.topics.prefix;
    let mut relay = relay::Config::new(name, &config.kafka.bootstrap);
    relay.source = config.relay.source.clone();
    relay.kafka = config.kafka.properties.clone();
    relay.topics = vec![topics::own(prefix, name), topics::journal(prefix, name)];
    relay.idle_max = config.relay.idle_max;
    relay.lease = config.relay.lease;
    relay.delivery_timeout = config.relay.delivery_timeout;
    relay
}

/// The relay.
pub(super) fn relay(name: &str, config: &Config, pools: &Pools) -> (Relay, relay::Wakeup) {
    Relay::new(pools.relay.clone(), relay_config(name, config))
}

/// What decides: one engine a pool, over the same participant and codec.
pub(super) struct Deciders<P: Participant, E> {
    pub commands: Commands<P>,
    pub runner: Runner<P>,
    pub intake: Intake,
    pub agenda: Agenda<P, E>,
    /// Releases what is parked.
    pub releases: Arc<Engine<P>>,
}

/// Intake, agenda and commands, which wake the relay and decide on the history that it has compared.
pub(super) fn deciders<P: Participant, E: EffectHandler<P>>(
    participant: &Arc<P>,
    effects: E,
    codec: &Codec,
    config: &Config,
    mappings: &Mappings,
    pools: &Pools,
    (relay, history): (&relay::Wakeup, &relay::History),
) -> Deciders<P, E> {
    let poke = agenda::Poke::default();
    let topic = topics::own(&config.topics.prefix, P::NAME);
    let engine = |sessions: &Sessions| {
        let (relay, agenda) = (relay.clone(), poke.clone());
        let wake = (Box::new(move || relay.wake()), Box::new(move |opened| agenda.wake(opened)));
        let engine = Engine::new(Arc::clone(participant), codec.clone(), sessions.clone(), topic.clone(), wake.0, wake.1);
        Arc::new(
            engine
                .rests_on(history.clone())
                .unknown(config.intake.unknown.renamed(|topic| heard(&config.topics.prefix, mappings, topic))),
        )
    };
    let (commands, runner) = Commands::new(engine(&pools.commands));
    let intake = Intake::new(engine(&pools.intake), intake_config(&Contract::of::<P>(), config, mappings));
    let agenda_config = agenda::Config {
        lease: config.agenda.lease,
        timeout: config.agenda.timeout,
        longest_wait: config.agenda.longest_wait,
        bulkhead: config.agenda.bulkhead,
        idle: config.agenda.idle,
        parked: parking::Limits::from(&config.intake),
        ..agenda::Config::default()
    };
    let releases = engine(&pools.agenda);
    let agenda = Agenda::new(engine(&pools.agenda), effects, pools.agenda.clone(), agenda_config, poke.clone());
    Deciders { commands, runner, intake, agenda, releases }
}

/// That the configuration fits, by itself and this service.
///
/// # Errors
/// Names all that doesn't.
pub(super) fn check(contract: &Contract, config: &Config) -> Result<(), Error> {
    let mut wrong = config.check().err().map(|error| error.0).unwrap_or_default();
    wrong.extend(unfit(contract, config));
    if wrong.is_empty() { Ok(()) } else { Err(Error::Config(config::Error(wrong))) }
}

/// What doesn't fit this service. What is set topic by topic names topics that are heard: a name that is misspelt would be a setting
/// that isn't there.
pub(crate) fn unfit(contract: &Contract, config: &Config) -> Vec<String> {
    let (start, expired, unknown) = (config.intake.start.names(), config.intake.expired.names(), config.intake.unknown.names());
    let named = start.map(|topic| ("start", topic)).chain(expired.map(|topic| ("expired", topic)));
    let named = named.chain(unknown.map(|topic| ("unknown", topic)));
    let wrong = named.filter(|(_, topic)| !contract.hears.contains(topic));
    let heard = if contract.hears.is_empty() { "nothing".to_owned() } else { contract.hears.join(", ") };
    let wrong = wrong.map(|(key, topic)| format!("`intake.{key}` names `{topic}`, but {} subscribes to {heard}", contract.name));
    let mut wrong: Vec<String> = wrong.collect();
    let others = contract.events.iter().filter(|event| event.topic != contract.name);
    wrong.extend(others.map(|event| {
        format!(
            "{name} publishes to topic `{name}`, but the topic of its event {} is `{}`, where its consumers would look for it: call \
             `Participant::NAME` and the schema's topic (its folder, or `.topic(…)` in `build.rs`) alike",
            event.name,
            event.topic,
            name = contract.name
        )
    }));
    let journal = topics::journal(&config.topics.prefix, contract.name);
    if journal.len() > topics::LONGEST_NAME {
        wrong.push(format!(
            "`topics.prefix` is too long: Kafka's names have {} letters at most, and {journal} has {}",
            topics::LONGEST_NAME,
            journal.len()
        ));
    }
    wrong
}

fn intake_config(contract: &Contract, config: &Config, mappings: &Mappings) -> intake::Config {
    let prefix = &config.topics.prefix;
    let name = |topic: &str| heard(prefix, mappings, topic);
    intake::Config {
        bootstrap: config.kafka.bootstrap.clone(),
        properties: config.kafka.properties.clone(),
        group: group(contract, config),
        reader: contract.name.to_owned(),
        into: None,
        instance: config.intake.instance.clone(),
        start: config.intake.start.renamed(name),
        expired: config.intake.expired.renamed(name),
        topics: contract.hears.iter().map(|topic| name(topic)).collect(),
        lanes: config.intake.lanes,
        parked: parking::Limits::from(&config.intake),
        max_records: config.intake.max_records,
        max_bytes: config.intake.max_bytes,
        tool: contract.name.to_owned(),
        mappings: mappings.iter().map(|(topic, mapping)| (name(topic), mapping.clone())).collect(),
    }
}
