//! What a participant may not do, whatever comes.

use std::fmt;

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
        /// The part that comes again and again, if it is one.
        cycle: Option<Vec<String>>,
    },
    /// Something else went wrong in the engine.
    Engine {
        /// Its words.
        words: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched { row } => write!(f, "touches() doesn't name {row}, which is read or changed"),
            Self::Panicked { words } => write!(f, "it panicked: {words}"),
            Self::Undetermined { first, then } => {
                write!(f, "decided twice on the same rows, the same input gave first {first}, then {then}")
            }
            Self::Order { row, live, folded } => {
                write!(f, "evolve() depends on the order of events of different keys: {row} is {live}, and folded {folded}")
            }
            Self::Endless { aggregate, events, cycle: None } => {
                write!(f, "{aggregate} has {events} events and still goes on: nothing bounds it")
            }
            Self::Endless { aggregate, events, cycle: Some(cycle) } => write!(
                f,
                "a cycle without progress: {aggregate} has {events} events, at the end again and again {}, and nobody asked for them",
                cycle.join(", ")
            ),
            Self::Engine { words } => f.write_str(words),
        }
    }
}
