//! What events open and close: deadlines and effects.

use std::time::Duration;

use uuid::Uuid;

use crate::database::step;
use crate::ground::time::Timestamp;

/// The two kinds of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Come back at a time.
    Deadline,
    /// Ask the outside world.
    Effect,
}

impl Kind {
    /// As the table has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Effect => "effect",
        }
    }
}

/// One change of the agenda.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A task opens, beside what is open under the same name and key.
    Open {
        /// What it is.
        kind: Kind,
        /// Kind of deadline or effect.
        name: String,
        /// The aggregate.
        key: String,
        /// Id of the event that opened it.
        cause: Uuid,
        /// Of an effect.
        idempotency_key: Option<Uuid>,
        /// When, by the database's clock.
        due: Timestamp,
        /// For the operator; `Effects::target` decides.
        target: Option<String>,
        /// What is asked.
        effect: Option<serde_json::Value>,
        /// Of the event.
        correlation: Uuid,
        /// Of the event.
        traceparent: Option<String>,
    },
    /// Tasks are no longer wanted; see the module's fourth guarantee. All that is open of the name and key.
    Close {
        /// Kind of deadline or effect.
        name: String,
        /// The aggregate.
        key: String,
    },
}

/// What a commit opened, for who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// An effect, at least one.
    pub effect: bool,
    /// How long until the first of its deadlines is due.
    pub deadline_in: Option<Duration>,
}

impl Opened {
    /// What these changes open as of `now`, by the database's clock; none when they open nothing.
    pub fn by(changes: &[Op], now: Timestamp) -> Option<Self> {
        let mut opened = Self { effect: false, deadline_in: None };
        for change in changes {
            match change {
                Op::Open { kind: Kind::Effect, .. } => opened.effect = true,
                Op::Open { kind: Kind::Deadline, due, .. } => {
                    let left = u64::try_from(due.micros().saturating_sub(now.micros())).unwrap_or(0);
                    let left = Duration::from_micros(left);
                    opened.deadline_in = Some(opened.deadline_in.map_or(left, |first| first.min(left)));
                }
                Op::Close { .. } => {}
            }
        }
        (opened.effect || opened.deadline_in.is_some()).then_some(opened)
    }
}

/// Which task. The order is that of the locks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub name: String,
    pub key: String,
    pub cause: Uuid,
}

impl Id {
    /// What events say led to them when this task did; a heal reads from it which one it was.
    pub fn cause_of(&self, kind: &str) -> String {
        format!("{kind}/{}/{}", self.name, self.cause)
    }

    /// As `farandole.claim` has it.
    pub(crate) fn scope(&self) -> String {
        format!("claim/{}/{}/{}", step::part(&self.name), self.key, self.cause)
    }
}
