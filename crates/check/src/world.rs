//! What is explored: participants, what callers may ask, what the outside world may answer, and what has to hold.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use farandole::{Body, Codec, Message as _, OutcomeOf, Participant};

use crate::actor::Actor;
use crate::ask::{Ask, Command};
use crate::invariant::{Holds, Invariant, When};
use crate::prints::{Exchanges, Prints};
use crate::seen::Seen;
use crate::typed::Typed;

/// Participants that are in one world at most: a bit each stands for who handles an event.
const MOST: usize = 32;

/// A small world to explore.
///
/// The [crate's first page](crate) shows a whole one.
pub struct World {
    pub(crate) name: String,
    pub(crate) actors: Vec<Box<dyn Actor>>,
    pub(crate) names: Vec<&'static str>,
    pub(crate) commands: Vec<Command>,
    pub(crate) invariants: Vec<Invariant>,
    pub(crate) given: Vec<(usize, String, Past)>,
    pub(crate) is_heard: bool,
    pub(crate) groups: Vec<Vec<String>>,
    pub(crate) called: Vec<(String, String)>,
    pub(crate) redeliveries: u8,
    pub(crate) drops: u8,
    pub(crate) moments: Vec<i64>,
    pub(crate) only_undecided: bool,
    pub(crate) lost_answers: u8,
    pub(crate) events: usize,
    pub(crate) rounds: usize,
    pub(crate) may_stay_parked: bool,
    pub(crate) ends: BTreeSet<String>,
    pub(crate) codec: Codec,
    pub(crate) exchanges: Exchanges,
    pub(crate) command_prints: OnceLock<Vec<Vec<Prints>>>,
    /// Whether an input comes out otherwise just after a deadline.
    pub(crate) others: Mutex<HashMap<u64, bool>>,
}

/// An event that has happened before: its type, and its value.
pub(crate) struct Past {
    pub kind: &'static str,
    pub payload: Vec<u8>,
}

impl World {
    /// An empty world of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            actors: Vec::new(),
            names: Vec::new(),
            commands: Vec::new(),
            invariants: Vec::new(),
            given: Vec::new(),
            is_heard: false,
            groups: Vec::new(),
            called: Vec::new(),
            redeliveries: 1,
            drops: 0,
            moments: Vec::new(),
            only_undecided: false,
            lost_answers: 1,
            events: 24,
            rounds: 4,
            may_stay_parked: false,
            ends: BTreeSet::new(),
            codec: Codec::json(),
            exchanges: Exchanges::of(&[]),
            command_prints: OnceLock::new(),
            others: Mutex::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of what has to hold always or at the end.
    pub fn invariants(&self) -> impl Iterator<Item = &str> {
        self.invariants.iter().filter(|invariant| invariant.when != When::Sometimes).map(|invariant| invariant.name.as_str())
    }

    /// This participant takes part, with its own database and topic.
    ///
    /// # Panics
    /// When one of its name does already, or there are too many.
    #[must_use]
    pub fn participant<P: Participant>(mut self, participant: P) -> Self {
        assert!(self.actors.len() < MOST, "at most {MOST} participants fit into a world");
        assert!(self.actors.iter().all(|actor| actor.name() != P::NAME), "{} takes part already", P::NAME);
        self.names.push(P::NAME);
        self.actors.push(Box::new(Typed { participant, outside: None, case: None, asked: None, answered: None }));
        self
    }

    fn typed<P: Participant>(&mut self) -> (usize, &mut Typed<P>) {
        let i = self.actors.iter().position(|actor| actor.name() == P::NAME);
        let found = i.and_then(|i| Some((i, self.actors[i].as_any_mut().downcast_mut::<Typed<P>>()?)));
        let Some(found) = found else { panic!("{} takes no part: call `.participant(…)` before", P::NAME) };
        found
    }

    /// What the outside world may answer to an effect of `P`. Each answer is tried; besides, an answer may be lost on its way, so that the
    /// effect is asked for again under the same key and gets the same answer, and may come again.
    ///
    /// # Panics
    /// When `P` takes no part.
    #[must_use]
    pub fn outside<P: Participant>(mut self, answers: impl Fn(&P::Effect) -> Vec<OutcomeOf<P>> + Send + Sync + 'static) -> Self {
        self.typed::<P>().1.outside = Some(Box::new(answers));
        self
    }

    /// State and input in the words of `P`'s state table, to be [compared](crate::Covered) with what the worlds reach. The tables hold what
    /// the input's `touches` names.
    ///
    /// # Panics
    /// When `P` takes no part.
    #[must_use]
    pub fn cases<P: Participant>(
        mut self,
        case: impl Fn(&P::Tables, &P::Id, &Body<P>) -> (String, String) + Send + Sync + 'static,
    ) -> Self {
        self.typed::<P>().1.case = Some(Box::new(case));
        self
    }

    /// Which command led to these events of `P`, for a [recorded run](crate::Recording): topics don't keep what callers asked.
    ///
    /// # Panics
    /// When `P` takes no part.
    #[must_use]
    pub fn asked_by<P: Participant>(mut self, asked: impl Fn(&[P::Event]) -> Option<P::Command> + Send + Sync + 'static) -> Self {
        self.typed::<P>().1.asked = Some(Box::new(asked));
        self
    }

    /// Which answer of the outside world led to these events of `P`, likewise.
    ///
    /// # Panics
    /// When `P` takes no part.
    #[must_use]
    pub fn answered_by<P: Participant>(
        mut self,
        answered: impl Fn(&P::Effect, &[P::Event]) -> Option<OutcomeOf<P>> + Send + Sync + 'static,
    ) -> Self {
        self.typed::<P>().1.answered = Some(Box::new(answered));
        self
    }

    /// What callers may ask of `P`, at any moment.
    ///
    /// # Panics
    /// When `P` takes no part, or the same is asked already.
    #[must_use]
    pub fn command<P: Participant>(mut self, ask: Ask<P>) -> Self {
        let (of, _) = self.typed::<P>();
        let Ask { label, about, make, times, repeats } = ask;
        let about = about.to_string();
        let is_known = self.commands.iter().any(|other| (other.of, &other.label, &other.about) == (of, &label, &about));
        assert!(!is_known, "{label:?} about {about} is asked already: give the other request another label");
        let words = Arc::clone(&make);
        let make = Box::new(move || Box::new(make()) as Box<dyn Any>);
        let text = Box::new(move || format!("{:?}", words()));
        self.commands.push(Command { of, label, about, make, text, times, repeats });
        self
    }

    /// These events of `P` have happened, about this aggregate, before the world begins.
    ///
    /// # Panics
    /// When `P` takes no part, or an event can't be written.
    #[must_use]
    pub fn given<P: Participant>(mut self, about: P::Id, events: impl IntoIterator<Item = P::Event>) -> Self {
        let (of, _) = self.typed::<P>();
        for event in events {
            let payload = event.encode(&self.codec);
            let Ok(payload) = payload else { panic!("{} can't be written", event.name()) };
            self.given.push((of, about.to_string(), Past { kind: event.name(), payload }));
        }
        self
    }

    /// What is [given](World::given) has been heard by all who subscribe to it: nobody takes it in this world, unless a position is lost. So a
    /// world begins in the middle of things without every order in which they came about; give each participant the events that it
    /// would have made of what it heard.
    #[must_use]
    pub fn already_heard(mut self) -> Self {
        self.is_heard = true;
        self
    }

    /// This holds in every state. It may give a `bool`, or a `Result<(), String>` that says what doesn't.
    #[must_use]
    pub fn always<H: Holds>(self, name: impl Into<String>, holds: impl Fn(&Seen<'_>) -> H + Send + Sync + 'static) -> Self {
        self.invariant(When::Always, name.into(), holds)
    }

    /// This holds in every state in which nothing more happens by itself: all records are delivered, no deadline and no effect is open.
    #[must_use]
    pub fn at_end<H: Holds>(self, name: impl Into<String>, holds: impl Fn(&Seen<'_>) -> H + Send + Sync + 'static) -> Self {
        self.invariant(When::AtEnd, name.into(), holds)
    }

    /// This is so in one state at least: else the world is too small to say anything about it.
    #[must_use]
    pub fn sometimes<H: Holds>(self, name: impl Into<String>, holds: impl Fn(&Seen<'_>) -> H + Send + Sync + 'static) -> Self {
        self.invariant(When::Sometimes, name.into(), holds)
    }

    fn invariant<H: Holds>(mut self, when: When, name: String, holds: impl Fn(&Seen<'_>) -> H + Send + Sync + 'static) -> Self {
        let holds = Box::new(move |seen: &Seen<'_>| holds(seen).holds());
        self.invariants.push(Invariant { name, when, holds, spoke: AtomicBool::new(false), met: AtomicBool::new(false) });
        self
    }

    /// Without the invariant of this name: what it speaks of can't happen in this world.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        let before = self.invariants.len();
        self.invariants.retain(|invariant| invariant.name != name);
        assert!(self.invariants.len() < before, "{name:?} is no invariant of {}", self.name);
        self
    }

    /// These ids, or whatever else stands for things in keys and events, can be exchanged for one another: states that differ in nothing
    /// else count once. They are texts, as they stand in keys; wherever one stands as a word of its own, in keys, events, effects and
    /// answers, it is taken for that name, so choose names that stand for nothing else.
    ///
    /// Nothing may treat them differently: no participant, no answer of the outside world, and no invariant. What is asked and has
    /// happened is compared when exploring begins; the rest is up to you. An invariant that looks at one of them only (`rows` where the id
    /// is `anna`) may miss what happens to the other. Ids that `input.id` made are compared by what they were made of.
    #[must_use]
    pub fn interchangeable(mut self, names: impl IntoIterator<Item = impl ToString>) -> Self {
        self.groups.push(names.into_iter().map(|name| name.to_string()).collect());
        self.exchanges = Exchanges::of(&self.groups);
        self
    }

    /// What a story calls an id.
    #[must_use]
    pub fn call(mut self, id: impl ToString, name: impl Into<String>) -> Self {
        self.called.push((id.to_string(), name.into()));
        self
    }

    /// How often positions may be lost or answers come again, so that inputs are delivered once more, and how often an effect's answer may be
    /// lost on its way: once each unless said otherwise.
    #[must_use]
    pub fn losses(mut self, redeliveries: u8, answers: u8) -> Self {
        (self.redeliveries, self.lost_answers) = (redeliveries, answers);
        self
    }

    /// Delivered once more is only what led to no event. That is what the kit does by itself: what led to one is recognised by its cause, in
    /// the service's own topic. Without this, any input may come again, as when an operator feeds it again.
    #[must_use]
    pub fn redelivers_only_what_led_to_nothing(mut self) -> Self {
        self.only_undecided = true;
        self
    }

    /// Besides deadlines and what is just after them, time may stand at these moments, counted from the world's beginning: for code that
    /// compares `input.at` with something no deadline is set for. Name one before and one after. Nothing waits for them: a state in which
    /// they are yet to come may be an end.
    #[must_use]
    pub fn moments(mut self, moments: impl IntoIterator<Item = Duration>) -> Self {
        self.moments.extend(moments.into_iter().filter_map(|moment| i64::try_from(moment.as_micros()).ok()));
        self
    }

    /// So often an operator may drop a parked input, and what waited behind it goes on. Never unless said.
    #[must_use]
    pub fn drops(mut self, times: u8) -> Self {
        self.drops = times;
        self
    }

    /// What counts as endless: an aggregate with more than so many events, or an event with so many of its kind, and of its participant,
    /// among the events that led to it since a caller asked, itself included. 24 events and 4 times unless said otherwise: raise it for
    /// retries that end later.
    #[must_use]
    pub fn endless(mut self, events: usize, times: usize) -> Self {
        (self.events, self.rounds) = (events, times.max(2));
        self
    }

    /// What is parked for an operator to see may stay so at the end. Without this, it is unfinished business.
    #[must_use]
    pub fn may_stay_parked(mut self) -> Self {
        self.may_stay_parked = true;
        self
    }

    /// Nobody in this world consumes events of this type, and that is meant: `farandole.orders.OrderCompleted`. What a participant declares an
    /// [end](farandole::messages) needn't be said.
    #[must_use]
    pub fn ends_with(mut self, kind: impl Into<String>) -> Self {
        self.ends.insert(kind.into());
        self
    }
}
