//! Decides whether a record is this service's own; shared by relay, standby and heal.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::publish::relay::state::State;
use crate::wire::chain::Link;
use crate::wire::record::Record;

/// What a service has published, told from what others have.
#[derive(Debug, Clone)]
pub struct Own {
    source: String,
    /// Records in its name that aren't its (topic/partition@offset): see [`State::strays`].
    strays: BTreeSet<String>,
}

impl Own {
    /// By the source that `service`'s records name, and what its relay's state knows of others that do.
    pub fn of(service: &str, state: &State) -> Self {
        Self { source: state.source(service), strays: state.strays.clone() }
    }

    /// The id and place of a record that is ours.
    pub fn link(&self, record: &Record) -> Option<(Uuid, Link)> {
        let ours = record.ours(&self.source)?;
        // Nearly always there are none, and no name is made.
        (self.strays.is_empty() || !self.strays.contains(&record.at())).then_some(ours)
    }
}
