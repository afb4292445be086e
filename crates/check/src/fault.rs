//! What a participant may not do, whatever comes.

use std::fmt;

/// `.outside(…)` gives other answers to the same effect.
pub(crate) const FICKLE: &str =
    "the answers that `.outside(…)` gives to one effect differ from one call to the next: it may depend on the effect only";

/// So often what looks the same is decided: the order of two in a HashMap comes out the same four times in a row once in eight.
pub(crate) const TIMES: u8 = 5;

/// Found at a step, apart from any invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// `touches` and `touches_more` didn't name a row that was read or changed.
    Untouched {
        /// Table and key.
        row: String,
    },
    /// The participant panicked, or what the world says of the outside.
    Panicked {
        /// The panic's words.
        words: String,
    },
    /// Deciding the same input on the same rows once more gave something else: the decision depends on a clock, on randomness, or on what the
    /// participant remembers.
    Undetermined {
        /// What it gave first.
        first: String,
        /// What it gave then.
        then: String,
    },
    /// `evolve` makes other rows of the same events when those of different keys come in another order, or when they are folded from the
    /// beginning, as a rebuild does.
    Order {
        /// Table and key.
        row: String,
        /// As it is.
        live: String,
        /// As the fold makes it.
        folded: String,
    },
    /// An aggregate goes on without end.
    Endless {
        /// Which.
        aggregate: String,
        /// So many events it has.
        events: usize,
        /// So many times an event may come out of itself.
        times: usize,
        /// The way from one event to the next of its kind, if it is that.
        cycle: Option<Vec<String>>,
    },
    /// The way to what didn't hold was gone once more, and it held.
    Unrepeatable,
    /// Something else went wrong in the engine.
    Engine {
        /// Its words.
        words: String,
    },
}

impl Fault {
    /// What is wrong, in short, as the name of what is violated.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Untouched { row } => format!("touches() doesn't name {row}"),
            Self::Panicked { .. } => "it panicked".to_owned(),
            Self::Undetermined { .. } => "decided twice on the same rows, the same input gave something else".to_owned(),
            Self::Order { .. } => "evolve() depends on the order of events of different keys".to_owned(),
            Self::Endless { cycle: None, .. } => "an aggregate that only grows".to_owned(),
            Self::Endless { cycle: Some(_), .. } => "a cycle without progress".to_owned(),
            Self::Unrepeatable => "the same way doesn't lead to the same".to_owned(),
            Self::Engine { .. } => "the engine can't go on".to_owned(),
        }
    }

    /// What it is about.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Untouched { .. } => "it is read or changed".to_owned(),
            Self::Panicked { words } | Self::Engine { words } => words.clone(),
            Self::Undetermined { first, then } => format!("first {first}, then {then}"),
            Self::Order { row, live, folded } => format!("{row} is {live}, and folded {folded}"),
            Self::Endless { aggregate, events, cycle: None, .. } => {
                format!("{aggregate} has {events} events and still goes on. If that is meant, `.endless(…)` raises the bound")
            }
            Self::Endless { aggregate, times, cycle: Some(cycle), .. } => format!(
                "in {aggregate}, {} led to itself {times} times, and nobody asked for that. If it ends, `.endless(…)` raises the bound",
                cycle.join(", then ")
            ),
            Self::Unrepeatable => "something didn't hold, and when the same way was gone again it held: a participant, or what the \
                                   world says of the outside, depends on something else than what it is given, such as a clock, a \
                                   counter or the order of a HashMap"
                .to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.why())
    }
}
