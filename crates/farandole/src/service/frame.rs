//! All of a service that doesn't decide, and how what it does is called.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;

use crate::config::Config;
use crate::rebuild::Derived;
use crate::service::alarm::Alarm;
use crate::service::contract::Contract;
use crate::service::error::Error;
use crate::wire::codec::Encoding;
use crate::wire::mapping::Mapping;

/// Work of the frame: boxed, so that it is compiled where it is written and not in each service that has it done.
pub(super) type Doing<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// All of a service that doesn't decide.
pub(super) struct Frame {
    pub contract: Contract,
    pub migrations: Migrator,
    pub openapi: Option<fn() -> utoipa::openapi::OpenApi>,
    pub mappings: Mappings,
    pub encoding: Encoding,
    pub derived: Vec<Derived>,
    pub alarms: Vec<Alarm>,
}

impl Frame {
    pub fn openapi_json(&self) -> Option<String> {
        // Its values are strings, numbers, lists and maps with text keys, which always are JSON.
        self.openapi.map(|describe| serde_json::to_string_pretty(&describe()).unwrap_or_default() + "\n")
    }
}

/// The mappings of topics that the participant hears, by the names that it calls them.
pub(super) type Mappings = BTreeMap<&'static str, Mapping>;

/// The name in Kafka of a topic that the participant hears.
pub(super) fn heard(prefix: &str, mappings: &Mappings, topic: &str) -> String {
    let mapped = mappings.get(topic).and_then(Mapping::name);
    mapped.map_or_else(|| format!("{prefix}{topic}"), str::to_owned)
}

/// The consumer group of a service.
pub(super) fn group(contract: &Contract, config: &Config) -> String {
    config.intake.group.clone().unwrap_or_else(|| format!("{}{}", config.topics.prefix, contract.name))
}
