//! The pure part of a service: what it hears, what it decides, what it remembers.
//!
//! **Invariant:** nothing here does I/O, reads a clock or draws a random number. Time and fresh ids come in with the input.
//! The kit loads what [`Participant::touches`] names, calls the functions in the order in which they stand here, and stores
//! what [`Participant::evolve`] changed, for a whole batch of inputs in one transaction.

pub mod problem;
pub mod table;
pub mod testing;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::participant::problem::{Answer, Problem};
use crate::participant::table::{Keys, Tables};
use crate::wire::message::Message;

/// A service's business, whole.
pub trait Participant: Sized + Debug + Send + Sync + 'static {
    /// The service's name, which is also its topic's.
    const NAME: &'static str;
    /// Topics that it hears.
    const HEARS: &'static [&'static str];
    /// Full names of event types of those topics that it knows and leaves alone. A type that is neither handled nor named here
    /// comes from a newer producer, and parks its key.
    const SKIPS: &'static [&'static str];
    /// The facts that it publishes.
    type Event: Message;
    /// The facts of others that it reacts to.
    type Heard: Message;
    /// What callers may ask of it.
    type Command: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;
    /// What it asks of the outside world. [`NoEffect`] when nothing.
    type Effect: Serialize + DeserializeOwned + Debug + Clone + Send + Sync + 'static;
    /// What the outside world answers. One that can't be decided is kept as JSON until it can.
    type Outcome: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;
    /// The rows that it keeps.
    type Tables: Tables;

    /// The id of the aggregate that `input` is about. It is the key of every event that the input leads to, and what parks
    /// when the input can't be processed.
    fn aggregate(&self, input: &Input<Self>) -> String;
    /// The rows that deciding `input` reads or changes.
    fn touches(&self, input: &Input<Self>) -> Keys;
    /// The rows that only the loaded rows know of, for example the SKUs of a reservation.
    fn touches_more(&self, _tables: &Self::Tables, _input: &Input<Self>) -> Keys {
        Keys::default()
    }
    /// What happens because of `input`. A late or repeated input about a settled matter decides nothing and is no error.
    fn decide(&self, tables: &Self::Tables, input: &Input<Self>) -> Result<Decision<Self::Event>, Refusal>;
    /// Folds one event into the rows. Rows beyond the event's key change only by amounts that add up in any order.
    fn evolve(&self, tables: &mut Self::Tables, event: &Self::Event);
    /// Deadlines and effects that `event` opens or closes, in that order; it opens one at most of a name and key.
    fn follow_up(&self, event: &Self::Event) -> Vec<Task<Self::Effect>>;
    /// What `effect` asks for, where that stays the same although several events open it (an order that is changed twice before its
    /// parcel is booked): all that ask for it do so under one idempotency key, made from this text and the service's name, for as long
    /// as the other side keeps it. None, the default: each input whose event opens an effect asks for something new, under a key of its own.
    /// Look an old call up by what it was about, not by its time: [`first_attempt_at`](crate::agenda::Call::first_attempt_at) is that of
    /// one opening.
    fn asks_for(&self, _effect: &Self::Effect) -> Option<String> {
        None
    }
    /// What a command's caller is told, from the events that it led to. Never called with none.
    fn answer(&self, events: &[Self::Event]) -> Answer;
}

/// The effect type of a participant that asks nothing of the outside world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum NoEffect {}

/// One thing to decide about.
#[derive(Debug)]
pub struct Input<P: Participant> {
    /// Unique to this input and sortable by time (UUIDv7). A new aggregate takes its id from here.
    pub id: Uuid,
    /// The database's clock when the batch began.
    pub at: Timestamp,
    /// What came.
    pub body: Body<P>,
}

/// The four kinds of input.
#[derive(Debug)]
pub enum Body<P: Participant> {
    /// An event of another topic.
    Heard(P::Heard),
    /// A caller's request.
    Command(P::Command),
    /// A deadline that fell due.
    Deadline {
        /// The name that [`Task::Deadline`] gave it.
        name: String,
        /// Its aggregate.
        key: String,
    },
    /// The outside world answered.
    Outcome {
        /// The name that [`Task::Effect`] gave it.
        name: String,
        /// Its aggregate.
        key: String,
        /// What was asked.
        effect: P::Effect,
        /// What was answered.
        outcome: P::Outcome,
    },
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<E> {
    /// Facts to remember and publish, in order.
    pub events: Vec<E>,
    /// The caller's answer when there are no events: the request asked for what is so already.
    pub answer: Option<Answer>,
}

impl<E> Decision<E> {
    /// Nothing to do: the input is late, repeated, or of no interest in this state.
    pub fn nothing() -> Self {
        Self { events: Vec::new(), answer: None }
    }

    /// These facts.
    pub fn events(events: impl IntoIterator<Item = E>) -> Self {
        Self { events: events.into_iter().collect(), answer: None }
    }

    /// No fact, but an answer.
    pub fn answered(answer: Answer) -> Self {
        Self { events: Vec::new(), answer: Some(answer) }
    }
}

/// Why an input leads to nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// A caller's request that is wrong or comes at the wrong time. For commands only; anything else that says so parks.
    Answer(Problem),
    /// What this input needs isn't there yet: parks the aggregate, retried soon. An outcome or deadline as well as a record.
    Retry(String),
    /// This input can't be processed: parks the aggregate, with the reason. An outcome or deadline as well as a record.
    Park(String),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Answer(problem)
    }
}

/// A deadline or an effect to open, or one to close.
#[derive(Debug, Clone, PartialEq)]
pub enum Task<F> {
    /// Come back at `due` with [`Body::Deadline`].
    Deadline {
        /// Kind of deadline. Several of a name and key may be open, one an event, and each falls due: to move one, close it and
        /// open it anew.
        name: &'static str,
        /// The aggregate.
        key: String,
        /// When, by the database's clock.
        due: Timestamp,
    },
    /// Ask the outside world; its answer comes back as [`Body::Outcome`].
    Effect {
        /// Kind of effect. Several of a name and key may be open, one an event, and each is run.
        name: &'static str,
        /// The aggregate.
        key: String,
        /// What is asked.
        effect: F,
    },
    /// The deadlines and effects of that name and key are no longer wanted, whichever events opened them. An effect that may have
    /// started isn't forgotten: its outcome still comes, to be compensated.
    Close {
        /// Kind of task.
        name: &'static str,
        /// The aggregate.
        key: String,
    },
}
