//! The registry, and the database that keeps what it has said.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::database::sessions::Sessions;
use crate::wire::codec::format::RecordType;
use crate::wire::codec::registry::Registry;
use crate::wire::codec::state::whole;
use crate::wire::settings::{self, Subjects};

/// The registry, and the database that keeps what it has said.
pub(super) struct Remote {
    pub(super) registry: Registry,
    pub(super) sessions: Option<Sessions>,
    pub(super) subjects: Subjects,
    /// What this process has registered, by topic, to be asked for again.
    pub(super) registered: Mutex<BTreeMap<String, (Vec<RecordType>, Subjects)>>,
    /// What the registry said last that isn't as it should be, by subject or id.
    pub(super) troubles: Mutex<BTreeMap<String, String>>,
}

impl Remote {
    pub(super) fn new(registry: &settings::Registry, sessions: Option<Sessions>) -> Self {
        let (registered, troubles) = (Mutex::default(), Mutex::default());
        Self { registry: Registry::new(registry), sessions, subjects: registry.subjects, registered, troubles }
    }

    pub(super) fn trouble(&self, about: &str, is: Option<String>) {
        let mut troubles = whole(self.troubles.lock());
        match is {
            Some(why) if troubles.get(about) == Some(&why) => {}
            Some(why) => {
                tracing::warn!(about, why, "schemas");
                troubles.insert(about.to_owned(), why);
            }
            None => {
                troubles.remove(about);
            }
        }
    }
}
