//! Deadlines and effects: what an event opens and closes, by types that the compiler checks. Declare them by
//! [`deadlines!`](crate::deadlines!) and [`effects!`](crate::effects!); a [`Task`] opens or closes one.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt::{Debug, Display};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ground::time::Timestamp;
use crate::wire::codec::{self, Codec, RecordType};
use crate::wire::message::Message;

/// A closed set of deadlines. Implemented by [`deadlines!`](crate::deadlines!).
#[diagnostic::on_unimplemented(
    message = "`{Self}` isn't a set of deadlines",
    note = "declare deadlines by `farandole::deadlines! {{ pub enum Deadline {{ … }} }}`; a participant without any has \
            `type Deadline = farandole::Never`"
)]
pub trait Deadline: Debug + Copy + PartialEq + Send + Sync + 'static {
    /// All of them.
    const ALL: &'static [Self];
    /// As it is stored and shown.
    fn name(self) -> &'static str;
    /// The one of that name.
    fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|deadline| deadline.name() == name)
    }
}

/// A closed set of effects: what is asked of the outside world. Implemented by [`effects!`](crate::effects!).
#[diagnostic::on_unimplemented(
    message = "`{Self}` isn't a set of effects",
    note = "declare effects by `farandole::effects! {{ pub enum Effect -> Outcome {{ … }} }}`; a participant without any has \
            `type Effect = farandole::Never`"
)]
pub trait Effect: Debug + Clone + PartialEq + Send + Sync + 'static {
    /// What the outside world answers.
    type Outcome: Serialize + DeserializeOwned + Debug + Send + Sync + 'static;
    /// The names of all kinds.
    const NAMES: &'static [&'static str];
    /// As its kind is stored and shown.
    fn name(&self) -> &'static str;
    /// As it is stored.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    fn to_json(&self) -> serde_json::Result<Value>;
    /// The effect of kind `name` that was stored as `value`.
    ///
    /// # Errors
    /// When there is no such kind, or the value isn't of it.
    fn from_json(name: &str, value: Value) -> serde_json::Result<Self>;
}

/// One kind of the effects `E`: the struct behind a variant. Implemented by [`effects!`](crate::effects!).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is none of the participant's effects",
    label = "not listed in `effects!`",
    note = "it has to be a variant of the enum that `farandole::effects!` declares"
)]
pub trait EffectKind<E: Effect>: Into<E> {
    /// [`Effect::name`].
    const NAME: &'static str;
}

/// A deadline or an effect to open, or some to close: what [`follow_up`](crate::Participant::follow_up) gives. It belongs to the event's own
/// aggregate, unless [`of`](Task::of) names another.
///
/// ```
/// use std::time::Duration;
///
/// use farandole::{Task, Timestamp};
/// use serde::{Deserialize, Serialize};
///
/// farandole::deadlines! { pub enum Deadline { Confirm } }
/// farandole::effects! { pub enum Effect -> Outcome { Authorise } }
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// pub struct Authorise { pub amount: i64 }
/// #[derive(Debug, Serialize, Deserialize)]
/// pub struct Outcome { pub authorised: bool }
///
/// let placed_at = Timestamp::from_micros(0);
/// let opened: [Task<Deadline, Effect>; 2] = [
///     Task::deadline(Deadline::Confirm, placed_at.plus(Duration::from_secs(30 * 60))),
///     Task::effect(Authorise { amount: 1_299 }),
/// ];
/// let closed: [Task<Deadline, Effect>; 2] = [Task::close(Deadline::Confirm), Task::close_effect::<Authorise>()];
/// assert_eq!(opened.map(|task| (task.name(), task.opens())), [("confirm", true), ("authorise", true)]);
/// assert_eq!(closed.map(|task| (task.name(), task.opens())), [("confirm", false), ("authorise", false)]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Task<D, E> {
    pub(crate) of: Option<String>,
    pub(crate) what: What<D, E>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What<D, E> {
    Deadline(D, Timestamp),
    Effect(E),
    Close(&'static str),
}

/// Whether an event that belongs to `aggregate` opens each of these once: a deadline and an effect of one name are one place.
///
/// # Errors
/// Which is opened twice, in words.
pub(crate) fn each_once<D: Deadline, E: Effect>(tasks: &[Task<D, E>], aggregate: &str) -> Result<(), String> {
    let mut open = HashSet::new();
    for task in tasks {
        let place = (task.name(), task.of.as_deref().unwrap_or(aggregate));
        if !task.opens() {
            open.remove(&place);
        } else if !open.insert(place) {
            let (name, key) = place;
            return Err(format!("opens two tasks `{name}` for {key:?}: only one per kind and aggregate"));
        }
    }
    Ok(())
}

impl<D: Deadline, E: Effect> Task<D, E> {
    /// Opens a deadline: at `due`, by the database's clock, [`Body::Deadline`](crate::Body) is decided about the aggregate. A time in the past
    /// is due at once. Several of a name and aggregate may be open, one for each event, and each falls due: to move one, close it and open
    /// it again.
    pub fn deadline(deadline: D, due: Timestamp) -> Self {
        Self { of: None, what: What::Deadline(deadline, due) }
    }

    /// Opens an effect: once the event is published, the [`EffectHandler`](crate::agenda::EffectHandler) runs it, and its answer comes back as
    /// [`Body::Outcome`](crate::Body). Several of a name and aggregate may be open, one for each event, and each is run.
    pub fn effect(effect: impl Into<E>) -> Self {
        Self { of: None, what: What::Effect(effect.into()) }
    }

    /// Closes that deadline of the aggregate, whichever events opened it. Closing what isn't open does nothing.
    pub fn close(deadline: D) -> Self {
        Self { of: None, what: What::Close(deadline.name()) }
    }

    /// Closes the aggregate's effects of the kind `K`, whichever events opened them. One that may have started isn't taken back: its outcome
    /// still comes, to be compensated.
    pub fn close_effect<K: EffectKind<E>>() -> Self {
        Self { of: None, what: What::Close(K::NAME) }
    }

    /// The same of another aggregate than the event's: what falls due, or is answered, is decided about that one.
    #[must_use]
    pub fn of(mut self, id: impl Display) -> Self {
        self.of = Some(id.to_string());
        self
    }

    /// The name under which it is stored and shown.
    pub fn name(&self) -> &'static str {
        match &self.what {
            What::Deadline(deadline, _) => deadline.name(),
            What::Effect(effect) => effect.name(),
            What::Close(name) => name,
        }
    }

    /// Whether it opens something; else it closes.
    pub fn opens(&self) -> bool {
        !matches!(self.what, What::Close(_))
    }
}

/// Under which key an effect is asked for, so that the other side can tell a repetition from a new request; see
/// [`Participant::idempotency`](crate::Participant::idempotency). All attempts of one effect have the same key, whichever you choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdempotencyKey {
    /// Made from the service's name, the effect's kind, its aggregate and what it asks for: who asks for the same again asks under the
    /// same key, and gets what became of the first. What is to be done a second time says so in the effect itself: an attempt's number,
    /// say.
    Stable,
    /// Made from the event that opens the effect: each event asks for something new.
    EachEvent,
    /// Made from the service's name and this text: for what stays the same request although the effect's words change (a parcel that is
    /// booked once, whatever becomes of the order's lines).
    Of(String),
}

/// What a participant doesn't have: commands, deadlines, effects, events. There is no value of it, so a `match` on one is complete without
/// arms: `Body::Deadline(never) => match *never {}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl Message for Never {
    const TYPES: &'static [RecordType] = &[];
    fn index(&self) -> usize {
        match *self {}
    }
    fn encode(&self, _codec: &Codec) -> Result<Vec<u8>, codec::Error> {
        match *self {}
    }
    fn decode(index: usize, _codec: &Codec, _bytes: &[u8]) -> Result<Self, codec::Error> {
        Err(codec::Error::UnknownType { name: format!("number {index} of none") })
    }
}

impl Deadline for Never {
    const ALL: &'static [Self] = &[];
    fn name(self) -> &'static str {
        match self {}
    }
}

impl Effect for Never {
    type Outcome = Never;
    const NAMES: &'static [&'static str] = &[];
    fn name(&self) -> &'static str {
        match *self {}
    }
    fn to_json(&self) -> serde_json::Result<Value> {
        match *self {}
    }
    fn from_json(name: &str, _value: Value) -> serde_json::Result<Self> {
        Err(no_such_kind(name))
    }
}

/// Effects of which there is none, which need no handler.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "nobody runs the effects `{Self}` of this service",
    label = "this service has effects, and no handler for them",
    note = "give it a handler: `Service::new(…).effects(handler)`, where `impl farandole::agenda::EffectHandler<…> for …`; a participant \
            without effects has `type Effect = farandole::Never`"
)]
pub trait NoEffects: Effect {
    /// As there is none.
    fn never(&self) -> &Infallible;
}

impl NoEffects for Never {
    fn never(&self) -> &Infallible {
        match *self {}
    }
}

/// The error of [`Effect::from_json`] on a name that isn't there.
#[doc(hidden)]
pub fn no_such_kind(name: &str) -> serde_json::Error {
    <serde_json::Error as serde::de::Error>::custom(format!("this build has no effect `{name}`"))
}

/// Bytes of [`snake`].
#[doc(hidden)]
pub const fn snake_len(camel: &str) -> usize {
    let (bytes, mut i, mut n) = (camel.as_bytes(), 0, 0);
    while i < bytes.len() {
        n += if i > 0 && bytes[i].is_ascii_uppercase() { 2 } else { 1 };
        i += 1;
    }
    n
}

/// `CamelCase` as `camel_case`, while compiling.
#[doc(hidden)]
pub const fn snake<const N: usize>(camel: &str) -> [u8; N] {
    let (bytes, mut snake, mut i, mut n) = (camel.as_bytes(), [0; N], 0, 0);
    while i < bytes.len() {
        if i > 0 && bytes[i].is_ascii_uppercase() {
            snake[n] = b'_';
            n += 1;
        }
        snake[n] = bytes[i].to_ascii_lowercase();
        n += 1;
        i += 1;
    }
    snake
}

/// An identifier's name as it is stored: `NotConfirmed` as `not_confirmed`.
#[doc(hidden)]
#[macro_export]
macro_rules! snake_case {
    ($name:ident) => {{
        const CAMEL: &str = stringify!($name);
        const BYTES: [u8; $crate::task::snake_len(CAMEL)] = $crate::task::snake(CAMEL);
        const NAME: &str = match ::core::str::from_utf8(&BYTES) {
            Ok(name) => name,
            Err(_) => CAMEL,
        };
        NAME
    }};
}

/// Declares a participant's deadlines. Each is stored and shown by its variant's name in snake case, so renaming one needs a look at what is
/// open.
///
/// ```
/// farandole::deadlines! {
///     /// The deadlines of orders.
///     pub enum Deadline { Confirm, PickUp }
/// }
/// # use farandole::task::Deadline as _;
/// assert_eq!(Deadline::PickUp.name(), "pick_up");
/// ```
#[macro_export]
macro_rules! deadlines {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        $vis enum $name { $($(#[$doc])* $variant),+ }

        impl $crate::task::Deadline for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $crate::snake_case!($variant)),+ }
            }
        }
    };
}

/// Declares a participant's effects and what the outside world answers: a variant for each struct, of the same name. Each is stored as JSON,
/// and shown by its name in snake case.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// pub struct Authorise { pub amount: i64 }
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// pub struct Void { pub authorisation: String }
/// #[derive(Debug, Serialize, Deserialize)]
/// pub enum Outcome { Authorised { authorisation: String }, Declined, Voided }
///
/// farandole::effects! {
///     /// What is asked of the acquirer.
///     pub enum Effect -> Outcome { Authorise, Void }
/// }
/// # use farandole::task::Effect as _;
/// assert_eq!(Effect::from(Authorise { amount: 1 }).name(), "authorise");
/// ```
#[macro_export]
macro_rules! effects {
    ($(#[$meta:meta])* $vis:vis enum $name:ident -> $outcome:ty { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        $vis enum $name { $($(#[$doc])* $variant($variant)),+ }

        impl $crate::task::Effect for $name {
            type Outcome = $outcome;
            const NAMES: &'static [&'static str] = &[$($crate::snake_case!($variant)),+];
            fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$variant as $crate::task::EffectKind<Self>>::NAME),+ }
            }
            fn to_json(&self) -> $crate::serde_json::Result<$crate::serde_json::Value> {
                match self { $(Self::$variant(effect) => $crate::serde_json::to_value(effect)),+ }
            }
            fn from_json(name: &str, value: $crate::serde_json::Value) -> $crate::serde_json::Result<Self> {
                $(if name == <$variant as $crate::task::EffectKind<Self>>::NAME {
                    return $crate::serde_json::from_value(value).map(Self::$variant);
                })+
                Err($crate::task::no_such_kind(name))
            }
        }
        $(
            impl From<$variant> for $name { fn from(effect: $variant) -> Self { Self::$variant(effect) } }
            impl $crate::task::EffectKind<$name> for $variant {
                const NAME: &'static str = $crate::snake_case!($variant);
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::deadlines! {
        enum Due {
            Ask,
            Later,
        }
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Ask;

    crate::effects! {
        enum Asked -> () { Ask }
    }

    /// Guard: a story fails on what the engine would park.
    #[test]
    fn a_deadline_and_an_effect_of_one_name_are_one_place() {
        type Tasks = Vec<Task<Due, Asked>>;
        let due = |deadline| Task::deadline(deadline, Timestamp::default());
        let fine: Tasks = vec![Task::effect(Ask), due(Due::Later), Task::close_effect::<Ask>(), due(Due::Ask)];
        assert_eq!(each_once(&fine, "o-1"), Ok(()));
        let elsewhere: Tasks = vec![Task::effect(Ask), due(Due::Ask).of("o-2")];
        assert_eq!(each_once(&elsewhere, "o-1"), Ok(()));
        let twice: Tasks = vec![Task::effect(Ask), due(Due::Ask)];
        assert!(each_once(&twice, "o-1").unwrap_err().contains("two tasks `ask` for \"o-1\""));
    }
}
