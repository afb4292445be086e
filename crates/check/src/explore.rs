//! Exploring a world: breadth first, by stateright, within bounds.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use stateright::{Checker as _, Model as _, Path, Property};

use crate::fault::TIMES;
use crate::invariant::{Invariant, When};
use crate::reached::Reached;
use crate::report::Report;
use crate::seen::Seen;
use crate::state::State;
use crate::step::Step;
use crate::story::{Broken, Counterexample};
use crate::typed::guarded;
use crate::world::World;

/// How far a world is explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// States at most: some 3 kB each while they wait, 40 bytes later.
    pub states: u64,
    /// Time at most.
    pub time: Duration,
    /// Threads; one at least.
    pub threads: usize,
    /// Whether to say on standard error how it goes.
    pub progress: bool,
}

impl Bounds {
    /// For each change: two minutes and two million states a world at most.
    pub fn ci() -> Self {
        Self { states: 2_000_000, time: Duration::from_secs(120), threads: cores(), progress: false }
    }

    /// For a night: six hours and 200 million states a world, with progress.
    pub fn deep() -> Self {
        Self { states: 200_000_000, time: Duration::from_secs(6 * 3600), threads: cores(), progress: true }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// A world as stateright explores it, which takes its model by value.
struct Model(Arc<Exploration>);

struct Exploration {
    world: Arc<World>,
    visited: AtomicU64,
    /// Which bound ended it.
    cut: AtomicU8,
    /// While the way to a state is walked again, no bound counts.
    walks_again: AtomicBool,
    bounds: Bounds,
    /// None if the bound is farther away than the clock tells.
    until: Option<Instant>,
    reached: Mutex<Reached>,
    published: Mutex<BTreeSet<&'static str>>,
}

impl stateright::Model for Model {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.0.world.begin()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let Exploration { world, visited, cut, bounds, until, .. } = &*self.0;
        if state.fault.is_some() {
            return;
        }
        if !self.0.walks_again.load(Relaxed) {
            let visited = visited.fetch_add(1, Relaxed);
            if visited >= bounds.states {
                let _ = cut.compare_exchange(WHOLE, BY_STATES, Relaxed, Relaxed);
            } else if visited.is_multiple_of(256) && until.is_some_and(|until| Instant::now() >= until) {
                let _ = cut.compare_exchange(WHOLE, BY_TIME, Relaxed, Relaxed);
            }
            if cut.load(Relaxed) != WHOLE {
                return;
            }
        }
        world.steps(state, steps);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let Exploration { world, visited, reached, published, .. } = &*self.0;
        // Deciding again costs as much again: each input several times at first, twice for long, later one in sixteen.
        let times = match visited.load(Relaxed) {
            ..1_000 => TIMES,
            visited if visited < 10_000 || (state.print >> 7).is_multiple_of(16) => 2,
            _ => 1,
        };
        let (next, happening) = world.next(state, &step, times, true)?;
        if let Some(happening) = happening {
            if let Some(case) = &happening.ran.case {
                let mut reached = reached.lock().unwrap_or_else(PoisonError::into_inner);
                reached.note(world.actors[happening.of].name(), case, &happening.ran);
            }
            if !happening.ran.events.is_empty() {
                let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
                published.extend(happening.ran.events.iter().map(|event| event.kind));
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(HOLDS, |model: &Self, state: &State| model.0.holds(state))]
    }
}

/// Explored whole, or cut off.
const WHOLE: u8 = 0;
const BY_STATES: u8 = 1;
const BY_TIME: u8 = 2;

impl Exploration {
    /// Folding all events again costs more than a step: in each state at first, later in one of sixteen, and in each end.
    fn holds(&self, state: &State) -> bool {
        let folds = self.visited.load(Relaxed) < 2_000 || (state.print >> 11).is_multiple_of(16);
        self.world.broken(state, folds).is_none()
    }
}

/// The one property: which invariant it is that doesn't hold is asked again of the state that is found.
const HOLDS: &str = "holds";

impl World {
    /// What doesn't hold in this state. Events are folded again at an end, and where that is asked.
    pub(crate) fn broken(&self, state: &State, folds: bool) -> Option<Broken> {
        if let Some(fault) = &state.fault {
            return Some(Broken::Fault((**fault).clone()));
        }
        let mut end = None;
        for (i, invariant) in self.invariants.iter().enumerate() {
            if invariant.when == When::Sometimes && invariant.met.load(Relaxed) {
                continue;
            }
            if invariant.when == When::AtEnd && !*end.get_or_insert_with(|| self.is_at_end(state)) {
                continue;
            }
            let seen = Seen::new(&self.names, state);
            let holds = match guarded(|| (invariant.holds)(&seen)) {
                Ok(holds) => holds,
                Err(fault) => return Some(Broken::Invariant { which: i, why: fault.to_string() }),
            };
            if seen.spoke.get() && !invariant.spoke.load(Relaxed) {
                invariant.spoke.store(true, Relaxed);
            }
            match (holds, invariant.when) {
                (Ok(()), _) => invariant.met.store(true, Relaxed),
                (Err(_), When::Sometimes) => {}
                (Err(why), _) => return Some(Broken::Invariant { which: i, why }),
            }
        }
        let end = end.unwrap_or_else(|| self.is_at_end(state));
        if (end || folds)
            && let Err(fault) = self.refold(state)
        {
            return Some(Broken::Fault(fault));
        }
        if end
            && !self.may_stay_parked
            && let Some((of, parked)) = state.locals.iter().enumerate().find_map(|(i, l)| Some((i, l.parked.first()?)))
        {
            let who = self.actors[of].name();
            return Some(Broken::Unfinished(format!("{who} has {} parked: {}", self.named(&parked.aggregate), parked.why)));
        }
        None
    }

    /// Explores all states within the bounds, or until something doesn't hold; then it has the shortest way there.
    ///
    /// # Panics
    /// When the world can't be explored: an event that a participant would park since it knows nothing of it, names that aren't
    /// interchangeable, or functions that give something else each time.
    pub fn explore(self, bounds: Bounds) -> Report {
        self.look();
        let world = Arc::new(self);
        let begun = Instant::now();
        let bounds = Bounds { threads: bounds.threads.max(1), ..bounds };
        let (checked, found) = run(&world, bounds, bounds.threads);
        let states = checked.0.visited.load(Relaxed).min(bounds.states);
        let mut depth = checked.1;
        let violation = found.map(|path| {
            // With several threads it is a way there, not the shortest.
            let again = (bounds.threads > 1 && path.len() > 1).then(|| {
                let alone = Bounds { threads: 1, states: u64::MAX, time: bounds.time.saturating_mul(4), progress: false };
                run(&world, alone, 1).1
            });
            let (path, shortest) = match again {
                None => (path, true),
                Some(Some(alone)) => (alone, true),
                Some(None) => (path, false),
            };
            depth = path.len();
            Box::new(Counterexample::of(&world, path, shortest))
        });
        let model = checked.0;
        let published = std::mem::take(&mut *model.published.lock().unwrap_or_else(PoisonError::into_inner));
        let is_heard =
            |kind: &&str| world.ends.contains(*kind) || world.actors.iter().any(|actor| actor.hears(kind) || actor.ends(kind));
        let unheard = published.into_iter().filter(|kind| !is_heard(kind)).map(ToOwned::to_owned).collect();
        let reached = std::mem::take(&mut *model.reached.lock().unwrap_or_else(PoisonError::into_inner));
        let cut = match model.cut.load(Relaxed) {
            WHOLE => None,
            BY_STATES => Some(format!("{} states at most", bounds.states)),
            _ => Some(format!("{} s at most", bounds.time.as_secs_f64())),
        };
        let exhausted = violation.is_none() && cut.is_none();
        // What it never saw in a part of the states it might see in the rest.
        let mut vacuous = if exhausted { world.vacuous() } else { Vec::new() };
        if !exhausted && violation.is_none() && states <= 1 {
            vacuous.push("the bounds leave nothing to explore".to_owned());
        }
        if exhausted && states <= 1 {
            vacuous.push("nothing can happen in this world: say by `.command(…)` what callers may ask, or by `.given(…)` what has happened".to_owned());
        }
        Report {
            world: world.name.clone(),
            states,
            depth,
            exhausted,
            cut,
            took: begun.elapsed(),
            violation,
            vacuous,
            unheard,
            unpublished: world.unpublished(),
            reached,
        }
    }

    fn vacuous(&self) -> Vec<String> {
        let words = |invariant: &Invariant| match invariant.when {
            When::Sometimes if !invariant.met.load(Relaxed) => Some(format!("{:?} is so in no state", invariant.name)),
            When::Sometimes => None,
            _ if !invariant.spoke.load(Relaxed) => {
                Some(format!("{:?} never saw a row, an event, a task or an act of the outside world", invariant.name))
            }
            _ => None,
        };
        self.invariants.iter().filter_map(words).collect()
    }
}

fn run(world: &Arc<World>, bounds: Bounds, threads: usize) -> ((Arc<Exploration>, usize), Option<Vec<Step>>) {
    let shared = Arc::new(Exploration {
        world: Arc::clone(world),
        visited: AtomicU64::new(0),
        cut: AtomicU8::new(WHOLE),
        until: Instant::now().checked_add(bounds.time),
        walks_again: AtomicBool::new(false),
        bounds,
        reached: Mutex::default(),
        published: Mutex::default(),
    });
    let checker = Model(Arc::clone(&shared)).checker().threads(threads).spawn_bfs();
    let begun = Instant::now();
    let mut told = Instant::now();
    while bounds.progress && !checker.is_done() {
        std::thread::sleep(Duration::from_millis(200));
        if told.elapsed() >= Duration::from_secs(if std::io::stderr().is_terminal() { 1 } else { 30 }) {
            told = Instant::now();
            let states = shared.visited.load(Relaxed);
            let rate = states as f64 / begun.elapsed().as_secs_f64();
            let line = format!("{}: {states} states, {} steps deep, {rate:.0}/s", world.name, checker.max_depth());
            let end = if std::io::stderr().is_terminal() { "\r" } else { "\n" };
            let _ = write!(std::io::stderr(), "{line}{end}");
        }
    }
    let checker = checker.join();
    shared.walks_again.store(true, Relaxed);
    let found = guarded(|| checker.discovery(HOLDS).map(Path::into_actions)).unwrap_or_else(|_| {
        panic!(
            "{}: the way to a state can't be gone again: a participant, or what the world says of the outside, depends on something \
             else than what it is given, such as a clock, a counter or the order of a HashMap",
            world.name
        )
    });
    let depth = checker.max_depth().saturating_sub(1);
    ((shared, depth), found)
}
