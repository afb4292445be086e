//! The pure part of a service: what it hears, what it decides, what it remembers.
//!
//! **Invariant:** nothing here does I/O, reads a clock or draws a random number. Time and fresh ids come in with the input.
//! The kit loads what [`Participant::touches`] names, calls the functions in the order in which they stand here, and stores
//! what [`Participant::evolve`] changed, for a whole batch of inputs in one transaction.

pub mod problem;
pub mod table;
pub mod task;
pub mod testing;

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::participant::problem::{Answer, Problem};
use crate::participant::table::{Keys, Tables};
use crate::participant::task::{Deadline, Effect, IdempotencyKey, Task};
use crate::wire::message::Message;

/// A service's business, whole: a pure function over (rows, input), and how its events change the rows.
///
/// What it hasn't got (commands, deadlines, effects) is [`Never`].
pub trait Participant: Sized + Debug + Send + Sync + 'static {
    /// The service's name, which is also its topic's.
    const NAME: &'static str;
    /// The id of the thing that an event is about: its text is the key of every record. [`Display`] and [`FromStr`] must be each
    /// other's inverse.
    type Id: Id;
    /// The facts that it publishes.
    type Event: Message;
    /// The facts that it reacts to, of whatever topics their types belong to.
    type Heard: Message;
    /// What callers may ask of it.
    type Command: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;
    /// The deadlines that it sets; written by [`deadlines!`](crate::deadlines).
    type Deadline: Deadline;
    /// What it asks of the outside world; written by [`effects!`](crate::effects).
    type Effect: Effect;
    /// The rows that it keeps; written by [`tables!`](crate::tables).
    type Tables: Tables;

    /// The aggregate that an event of somebody else's is about *here*, where that isn't the one in the record's key: the customer whom an
    /// order's points go to. None, the default: the record's key is its id.
    fn aggregate(&self, _heard: &Self::Heard) -> Option<Self::Id> {
        None
    }
    /// The rows that deciding `input` reads or changes. By default the row of the first table whose key is `id`.
    fn touches(&self, id: &Self::Id, _input: &Input<Self>) -> Keys {
        Keys::own::<Self::Tables>(id)
    }
    /// The rows that only the loaded rows know of, for example the SKUs of a reservation.
    fn touches_more(&self, _tables: &Self::Tables, _id: &Self::Id, _input: &Input<Self>) -> Keys {
        Keys::default()
    }
    /// What happens to `id` because of `input`. A late or repeated input about a settled matter decides nothing and is no error.
    ///
    /// # Errors
    /// A caller's request is refused; anything else that can't be processed parks, in order, until it can.
    fn decide(&self, tables: &Self::Tables, id: &Self::Id, input: &Input<Self>) -> Result<Decision<Self::Event>, Refusal>;
    /// Folds one event into the rows. Rows beyond the event's key change only by amounts that add up in any order.
    fn evolve(&self, tables: &mut Self::Tables, event: &Self::Event);
    /// Deadlines and effects that `event` opens or closes, in that order; it opens one at most of a name and key.
    fn follow_up(&self, _event: &Self::Event) -> Tasks<Self> {
        Vec::new()
    }
    /// Under which key `effect` is asked for. [Stable](IdempotencyKey::Stable), the default: asking for the same thing again is the same
    /// request to the other side, whichever events ask for it.
    fn idempotency(&self, _effect: &Self::Effect) -> IdempotencyKey {
        IdempotencyKey::Stable
    }
    /// What a command's caller is told, from the events that it led to. Never called with none.
    fn answer(&self, _events: &[Self::Event]) -> Answer {
        Answer::empty()
    }
}

/// What can be an aggregate's id: its text is a record's key, and is read from one. Whatever is shown and parsed is one.
pub trait Id: Display + FromStr<Err: Display> + Clone + Debug + Send + Sync + 'static {}

impl<T: Display + FromStr<Err: Display> + Clone + Debug + Send + Sync + 'static> Id for T {}

/// What the outside world answers a participant.
pub type OutcomeOf<P> = <<P as Participant>::Effect as Effect>::Outcome;

/// What an event of `P` opens and closes.
pub type Tasks<P> = Vec<Task<<P as Participant>::Deadline, <P as Participant>::Effect>>;

/// One thing to decide about.
#[derive(Debug)]
pub struct Input<P: Participant> {
    /// Unique to this input and sortable by time (UUIDv7): for whatever the input makes that needs an id of its own.
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
    Deadline(P::Deadline),
    /// The outside world answered.
    Outcome {
        /// What was asked.
        effect: P::Effect,
        /// What was answered.
        outcome: OutcomeOf<P>,
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
    pub fn events(events: impl IntoIterator<Item = impl Into<E>>) -> Self {
        Self { events: events.into_iter().map(Into::into).collect(), answer: None }
    }

    /// This fact.
    pub fn event(event: impl Into<E>) -> Self {
        Self { events: vec![event.into()], answer: None }
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
