//! What currently prevents a reader from reading, by subject.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::consume::metrics;

/// What a trouble concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    /// The client's last complaint.
    Client,
    /// The consumer group as a whole.
    Group,
    /// A topic as a whole.
    Topic(String),
    /// A partition that this replica reads.
    Partition(String, i32),
    /// What goes on coming to it although it was replaced.
    Older(String, i32),
}

/// What troubles a reader now; empty when all is well. Also says what isn't there at all: a group that isn't joined, a topic that
/// nobody has made, a partition that nobody reads.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    now: Mutex<BTreeMap<Of, String>>,
    watchdogs: AtomicU64,
}

impl Troubles {
    /// `topic/partition: trouble`, `topic: trouble`, or what concerns the group, one each.
    pub fn list(&self) -> Vec<String> {
        let line = |(of, trouble): (&Of, &String)| match of {
            Of::Client | Of::Group => trouble.clone(),
            Of::Topic(topic) => format!("{topic}: {trouble}"),
            Of::Partition(topic, partition) | Of::Older(topic, partition) => format!("{topic}/{partition}: {trouble}"),
        };
        self.lock().iter().map(line).collect()
    }

    /// How often a client gave nothing for a minute although there was more, and was made anew. Tests fail on one.
    pub fn watchdogs(&self) -> u64 {
        self.0.watchdogs.load(Ordering::Relaxed)
    }

    pub(super) fn fired(&self) {
        self.0.watchdogs.fetch_add(1, Ordering::Relaxed);
        metrics::WATCHDOG.add(1, []);
    }

    pub(super) fn say(&self, of: Of, trouble: Option<String>) {
        match trouble {
            Some(trouble) => drop(self.lock().insert(of, trouble)),
            None => drop(self.lock().remove(&of)),
        }
    }

    /// What keeps all of them from being read: the database isn't as it must be.
    pub(crate) fn database(&self, trouble: Option<String>) {
        self.say(Of::Topic("the database".to_owned()), trouble);
    }

    pub(super) fn set(&self, topic: &str, partition: i32, trouble: Option<String>) {
        self.say(Of::Partition(topic.to_owned(), partition), trouble);
    }

    pub(super) fn has(&self, topic: &str, partition: i32) -> bool {
        self.lock().contains_key(&Of::Partition(topic.to_owned(), partition))
    }

    /// Whether the topic as a whole isn't heard as it should be.
    pub(super) fn lacks(&self, topic: &str) -> bool {
        let now = self.lock();
        now.contains_key(&Of::Group) || now.contains_key(&Of::Topic(topic.to_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Of, String>> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
