//! The pure part of a service: what it subscribes to, what it decides, what it stores.
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

/// What a service decides, and how its events change its rows. All functions are pure: no I/O, no clock, no randomness.
///
/// For each input the kit calls, in one transaction with all that they lead to: [`aggregate`](Self::aggregate), if the input is an event;
/// [`touches`](Self::touches) and [`touches_more`](Self::touches_more), and loads and locks those rows; [`decide`](Self::decide); for each
/// event that it gives, [`evolve`](Self::evolve) and [`follow_up`](Self::follow_up); for a command, [`answer`](Self::answer). A batch that
/// meets another one in the database is rolled back and decided again, so one input may be decided several times; one of them counts.
///
/// What a service doesn't have (commands, deadlines, effects, events) is [`Never`](crate::Never). The [crate's first page](crate) shows a whole one;
/// this one has a deadline and an effect: a booking that is confirmed by the hotel within ten minutes, or expires.
///
/// ```
/// use std::time::Duration;
///
/// use farandole::prelude::*;
/// use farandole::{rows, testing::Story};
/// use serde::{Deserialize, Serialize};
/// use uuid::Uuid;
///
/// # macro_rules! records { ($($name:ident { $($field:ident: $ty:ty),* })*) => { $(
/// #     #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// #     pub struct $name { $(pub $field: $ty),* }
/// #     impl $name { pub const NAME: &str = stringify!($name); pub const SCHEMA: &str = ""; pub const TOPIC: &str = "bookings"; }
/// # )* } }
/// # records! { Requested { booking: Uuid, until: i64 } Confirmed { booking: Uuid } Expired { booking: Uuid } }
/// // Record types `Requested { booking, until }`, `Confirmed { booking }` and `Expired { booking }`, and:
/// farandole::messages! { pub enum Event { Requested, Confirmed, Expired } }
/// farandole::deadlines! { pub enum Deadline { Answer } }
/// farandole::effects! { pub enum Effect -> Outcome { AskHotel } }
/// farandole::tables! { pub struct Tables { bookings: Booking in "bookings" { id: Uuid, state: String } } }
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// pub struct AskHotel { pub booking: Uuid }
/// #[derive(Debug, Serialize, Deserialize)]
/// pub enum Outcome { Room }
/// #[derive(Debug, Serialize, Deserialize)]
/// pub enum Command { Request }
///
/// #[derive(Debug)]
/// pub struct Bookings;
///
/// impl Participant for Bookings {
///     const NAME: &'static str = "bookings";
///     type Id = Uuid;
///     type Event = Event;
///     type Heard = Never;
///     type Command = Command;
///     type Deadline = Deadline;
///     type Effect = Effect;
///     type Tables = Tables;
///
///     fn decide(&self, tables: &Tables, id: &Uuid, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
///         let booking = *id;
///         let waits = tables.bookings.get(id).is_some_and(|b| b.state == "requested");
///         Ok(match &input.body {
///             Body::Command(Command::Request) => {
///                 Decision::event(Requested { booking, until: input.at.plus(Duration::from_secs(600)).micros() })
///             }
///             Body::Outcome { outcome: Outcome::Room, .. } if waits => Decision::event(Confirmed { booking }),
///             Body::Deadline(Deadline::Answer) if waits => Decision::event(Expired { booking }),
///             // The answer came after the deadline, or the other way round: settled already, and no error.
///             Body::Outcome { .. } | Body::Deadline(_) => Decision::nothing(),
///             Body::Heard(never) => match *never {},
///         })
///     }
///     fn evolve(&self, tables: &mut Tables, event: &Event) {
///         let (id, state) = match event {
///             Event::Requested(e) => (e.booking, "requested"),
///             Event::Confirmed(e) => (e.booking, "confirmed"),
///             Event::Expired(e) => (e.booking, "expired"),
///         };
///         tables.bookings.put(Booking { id, state: state.to_owned() });
///     }
///     fn follow_up(&self, event: &Event) -> Tasks<Self> {
///         match event {
///             Event::Requested(e) => vec![
///                 Task::deadline(Deadline::Answer, Timestamp::from_micros(e.until)),
///                 Task::effect(AskHotel { booking: e.booking }),
///             ],
///             Event::Confirmed(_) => vec![Task::close(Deadline::Answer)],
///             Event::Expired(_) => vec![Task::close_effect::<AskHotel>()],
///         }
///     }
///     fn answer(&self, _: &[Event]) -> Answer {
///         Answer::accepted(serde_json::json!({ "state": "requested" }))
///     }
/// }
///
/// let id = Uuid::from_u128(1);
/// let mut story = Story::new(Bookings, id, rows![Tables; bookings: Booking[id]]);
/// story.asked(Command::Request).then([Requested { booking: id, until: 600_000_000 }]);
/// story.due(Deadline::Answer).then([Expired { booking: id }]).tasks([Task::close_effect::<AskHotel>()]);
/// story.answered::<AskHotel>(Outcome::Room).nothing(); // it had started, so its outcome still comes
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no participant",
    note = "a service's decisions are an `impl farandole::Participant for {Self}`; see the crate's first page"
)]
pub trait Participant: Sized + Debug + Send + Sync + 'static {
    /// The service's name: lower case, kept for life. Its topic has the same name, with the prefix of `topics.prefix` in front.
    const NAME: &'static str;
    /// The id of the aggregate, the entity that an event is about: its text is the key of every record. [`Display`] and [`FromStr`] must be
    /// each other's inverse. A record whose key isn't such an id parks.
    type Id: Id;
    /// The events that it publishes; declared by [`messages!`](crate::messages).
    type Event: Message;
    /// The events that it subscribes to; declared by [`messages!`](crate::messages). The topics are those of their types.
    type Heard: Message;
    /// What callers may ask of it: a struct or an enum with serde, submitted by a [`Caller`](crate::http::Caller).
    type Command: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;
    /// The deadlines that it sets; declared by [`deadlines!`](crate::deadlines).
    type Deadline: Deadline;
    /// What it asks of the outside world; declared by [`effects!`](crate::effects), run by an
    /// [`EffectHandler`](crate::agenda::EffectHandler).
    type Effect: Effect;
    /// The rows that it stores; declared by [`tables!`](crate::tables).
    type Tables: Tables;

    /// The aggregate that another service's event is about *here*, where it isn't the one in the record's key: the customer whom an
    /// order's points go to. `None`, the default: the record's key is its id.
    fn aggregate(&self, _heard: &Self::Heard) -> Option<Self::Id> {
        None
    }
    /// The rows that deciding `input` reads or changes. By default the row of the first table whose key is `id`.
    fn touches(&self, id: &Self::Id, _input: &Input<Self>) -> Keys {
        Keys::own::<Self::Tables>(id)
    }
    /// Rows whose keys are only known from rows that [`touches`](Self::touches) loaded: the SKUs of a reservation, for example.
    fn touches_more(&self, _tables: &Self::Tables, _id: &Self::Id, _input: &Input<Self>) -> Keys {
        Keys::default()
    }
    /// What happens to `id` because of `input`. Inputs may come late, repeated, or in another order than you expect from another topic:
    /// one about a settled matter decides [nothing](Decision::nothing) and is no error.
    ///
    /// It may read the rows that [`touches`](Self::touches) and [`touches_more`](Self::touches_more) named. Reading another fails the
    /// decision, in tests as well.
    ///
    /// # Errors
    /// A [`Refusal`]: a command's caller receives the problem; any other input that can't be processed parks, with everything later for
    /// its aggregate behind it.
    fn decide(&self, tables: &Self::Tables, id: &Self::Id, input: &Input<Self>) -> Result<Decision<Self::Event>, Refusal>;
    /// Applies one event to the rows. Rows of other aggregates than the event's may only change by amounts that add up in any order, since
    /// a `heal` replays events of one aggregate in order, and those of several in any.
    fn evolve(&self, tables: &mut Self::Tables, event: &Self::Event);
    /// The deadlines and effects that `event` opens and closes. One event may open at most one task of a name and aggregate: the input of an
    /// event that opens more parks, with that reason.
    fn follow_up(&self, _event: &Self::Event) -> Tasks<Self> {
        Vec::new()
    }
    /// Under which idempotency key `effect` is asked for. [Stable](IdempotencyKey::Stable), the default: asking for the same thing again is
    /// the same request to the other side, whichever events ask for it.
    fn idempotency(&self, _effect: &Self::Effect) -> IdempotencyKey {
        IdempotencyKey::Stable
    }
    /// What a command's caller receives, from the events that it led to; by default 204 without a body. Not called for a command without
    /// events: the decision has its [answer](Decision::answered) then.
    fn answer(&self, _events: &[Self::Event]) -> Answer {
        Answer::empty()
    }
}

/// What can be an aggregate's id: anything that is written by [`Display`] and parsed from the same text, such as a `Uuid` or a `String`.
pub trait Id: Display + FromStr<Err: Display> + Clone + Debug + Send + Sync + 'static {}

impl<T: Display + FromStr<Err: Display> + Clone + Debug + Send + Sync + 'static> Id for T {}

/// What the outside world answers `P`: the outcome of its effects.
pub type OutcomeOf<P> = <<P as Participant>::Effect as Effect>::Outcome;

/// The deadlines and effects that an event of `P` opens and closes; see [`Participant::follow_up`].
pub type Tasks<P> = Vec<Task<<P as Participant>::Deadline, <P as Participant>::Effect>>;

/// One thing to decide about: a record, a command, a deadline that fell due, or the outcome of an effect.
#[derive(Debug)]
pub struct Input<P: Participant> {
    /// Unique to this input and sortable by time (UUIDv7): for whatever the input creates that needs an id of its own.
    pub id: Uuid,
    /// Now, by the database's clock, in microseconds: the only clock that a decision may use.
    pub at: Timestamp,
    /// What it is.
    pub body: Body<P>,
}

/// The four kinds of input.
#[derive(Debug)]
pub enum Body<P: Participant> {
    /// An event of a subscribed topic.
    Heard(P::Heard),
    /// A caller's request.
    Command(P::Command),
    /// A deadline that fell due.
    Deadline(P::Deadline),
    /// The outside world answered.
    Outcome {
        /// What was asked for.
        effect: P::Effect,
        /// The answer.
        outcome: OutcomeOf<P>,
    },
}

/// What was decided: events to store and publish, or nothing.
///
/// ```
/// # mod loyalty { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/loyalty.rs")); }
/// # use loyalty::*;
/// use farandole::{Answer, Decision, Problem, Refusal};
/// use serde_json::json;
///
/// let credit = |by| PointsChanged { customer: "anna".to_owned(), by };
/// let one: Decision<Event> = Decision::event(credit(12)); // a record type becomes the service's `Event` by itself
/// let two: Decision<Event> = Decision::events([credit(12), credit(3)]);
/// let settled: Decision<Event> = Decision::nothing();
/// let already: Decision<Event> = Decision::answered(Answer::ok(json!({ "points": 0 })));
/// assert_eq!((one.events.len(), two.events.len(), settled.events.len(), already.events.len()), (1, 2, 0, 0));
///
/// let refusal: Refusal = Problem::conflict("too-few-points", "3 points are left").into(); // for a command's caller
/// let later: Refusal = Refusal::Retry("the customer isn't known yet".to_owned()); // parks, and is retried soon
/// assert_ne!(refusal, later);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<E> {
    /// Events to store and publish, in order.
    pub events: Vec<E>,
    /// The caller's answer when there are no events: what was asked for is so already.
    pub answer: Option<Answer>,
}

impl<E> Decision<E> {
    /// Nothing to do: the input is late, repeated, or of no interest in this state.
    pub fn nothing() -> Self {
        Self { events: Vec::new(), answer: None }
    }

    /// These events, in this order.
    pub fn events(events: impl IntoIterator<Item = impl Into<E>>) -> Self {
        Self { events: events.into_iter().map(Into::into).collect(), answer: None }
    }

    /// This event.
    pub fn event(event: impl Into<E>) -> Self {
        Self { events: vec![event.into()], answer: None }
    }

    /// No event, but an answer to the command's caller: what was asked for is so already.
    pub fn answered(answer: Answer) -> Self {
        Self { events: Vec::new(), answer: Some(answer) }
    }
}

/// Why an input leads to nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// A command that is wrong or comes at the wrong time: its caller receives this. Any other input that is refused so parks.
    Answer(Problem),
    /// What this input needs isn't there yet, for this reason: it parks and is retried with growing pauses. A command's caller receives 503.
    Retry(String),
    /// This input can't be processed, for this reason: it parks, for an operator to see. A command's caller receives 500.
    Park(String),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Answer(problem)
    }
}
