//! Explores a model whole, or until an invariant is violated.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model, Path, Property};

/// More than any model here may need: a world that reaches it isn't small.
const STATES: usize = 20_000_000;
/// The invariant that every model has.
pub const FINISHED: &str = "what nothing leads out of has nothing unfinished";

/// A protocol's model.
pub trait Protocol: Model<State: Clone + PartialEq + Hash + Debug + Send + Sync, Action: Clone + PartialEq + Debug> {
    /// What has to hold in every state.
    fn invariants() -> Vec<Property<Self>>;
    /// Whether nothing is unfinished.
    fn is_finished(&self, state: &Self::State) -> bool;
    /// What happened somewhere.
    fn seen(&self) -> &Seen;
}

/// The properties of a model: its invariants, and that it ends well.
pub fn properties<M: Protocol>() -> Vec<Property<M>> {
    let mut all = M::invariants();
    all.push(Property::always(FINISHED, |model: &M, state| {
        model.is_finished(state) || model.next_states(state).iter().any(|next| next != state)
    }));
    all
}

/// What happens in a world, noted when it does. It isn't part of a state: that would multiply the states.
#[derive(Debug)]
pub struct Seen {
    names: &'static [&'static str],
    bits: AtomicU64,
}

impl Seen {
    /// For what has to happen.
    pub fn new(names: &'static [&'static str]) -> Self {
        Self { names, bits: AtomicU64::new(0) }
    }

    /// It happened; of no matter where it doesn't have to.
    pub fn note(&self, name: &'static str) {
        if let Some(at) = self.names.iter().position(|known| *known == name) {
            self.bits.fetch_or(1 << at, Ordering::Relaxed);
        }
    }

    /// What hasn't happened.
    pub fn missing(&self) -> Vec<&'static str> {
        let bits = self.bits.load(Ordering::Relaxed);
        self.names.iter().enumerate().filter(|(at, _)| bits & (1 << at) == 0).map(|(_, name)| *name).collect()
    }
}

/// An invariant that doesn't hold, and the shortest way there.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// The steps.
    pub story: Vec<String>,
}

/// What exploring found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Different states.
    pub states: usize,
    /// Steps of the longest way that was gone.
    pub depth: usize,
    /// Whether every state that can be reached was.
    pub exhausted: bool,
    /// What was violated, the shortest story first.
    pub violations: Vec<Violation>,
    /// What should happen somewhere and didn't.
    pub missing: Vec<&'static str>,
    /// How long it took.
    pub took: Duration,
}

/// Explores breadth first, until every state was reached or an invariant is violated; then looks for a shorter way there.
pub fn explore<M: Protocol + Send + Sync + 'static>(model: impl Fn() -> M) -> Found {
    let mut found = once(model(), None);
    // The checker names the last violation of the block of states that it was at, which isn't always the shortest.
    while let Some(steps) = found.violations.first().map(|violation| violation.story.len()).and_then(NonZeroUsize::new) {
        let shorter = once(model(), Some(steps));
        if shorter.violations.is_empty() {
            break;
        }
        found.violations = shorter.violations;
    }
    found
}

/// Explores stories of less than so many steps.
fn once<M: Protocol + Send + Sync + 'static>(model: M, shorter_than: Option<NonZeroUsize>) -> Found {
    let began = Instant::now();
    let builder = model.checker().finish_when(HasDiscoveries::AnyFailures).target_state_count(STATES);
    let builder = match shorter_than {
        // It counts states of a story, one more than steps.
        Some(steps) => builder.target_max_depth(steps.get() + 1),
        None => builder,
    };
    let checker = builder.spawn_bfs().join();
    let violation = |(invariant, path): (_, Path<M::State, M::Action>)| {
        let story = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
        Violation { invariant, story }
    };
    let mut violations: Vec<Violation> = checker.discoveries().into_iter().map(violation).collect();
    violations.sort_by_key(|violation| (violation.story.len(), violation.invariant));
    Found {
        states: checker.unique_state_count(),
        depth: checker.max_depth().saturating_sub(1),
        exhausted: violations.is_empty() && checker.state_count() < STATES,
        violations,
        missing: checker.model().seen().missing(),
        took: began.elapsed(),
    }
}

impl Found {
    /// One line for a person.
    pub fn line(&self) -> String {
        let Self { states, depth, took, .. } = self;
        let end = match self.violations.first() {
            Some(Violation { invariant, story }) => format!("violated after {} steps: {invariant}", story.len()),
            None => format!("{}, 0 violations", if self.exhausted { "exhausted" } else { "not exhausted" }),
        };
        format!("{states} states, depth {depth}, {:.1} s: {end}", took.as_secs_f64())
    }

    /// The invariants of the shortest stories.
    pub fn violated(&self) -> BTreeSet<&'static str> {
        self.violations.iter().map(|violation| violation.invariant).collect()
    }
}

/// A model's guards: a bool each, all there or one taken out.
macro_rules! guards {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// What the kit does against each failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Guards {
            $($(#[doc = $doc])+ pub $name: bool),+
        }

        impl Guards {
            /// As the kit has them.
            pub const ALL: Self = Self { $($name: true),+ };
            /// Their names.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// All but this one.
            pub fn without(name: &str) -> Self {
                let mut guards = Self::ALL;
                match name {
                    $(stringify!($name) => guards.$name = false,)+
                    _ => panic!("there is no guard {name}"),
                }
                guards
            }
        }
    };
}
pub(crate) use guards;
