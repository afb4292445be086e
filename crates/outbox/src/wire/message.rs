//! Sets of event types: those that a service publishes, and those that it subscribes to.

use crate::wire::codec::{self, Codec};

pub use crate::wire::codec::format::RecordType;

/// A closed set of event types, as an enum with one variant each. Written by [`messages!`](crate::messages).
pub trait Message: Sized + std::fmt::Debug + Clone + Send + Sync + 'static {
    /// The types, in the order of the variants.
    const TYPES: &'static [RecordType];
    /// Further types of the same topics that are known and left alone, if they are listed: then any other type is one from a newer
    /// producer. Without a list, whatever isn't among [`Message::TYPES`] is left alone.
    const IGNORES: Option<&'static [RecordType]> = None;
    /// Those of [`Message::TYPES`] that nobody need subscribe to: where a story ends, or what only their service has a use for. Nothing
    /// depends on it while a service runs; `describe` and `farandole graph` tell it.
    const ENDS: &'static [RecordType] = &[];
    /// Which of [`Message::TYPES`] this is.
    fn index(&self) -> usize;
    /// The value's bytes in Confluent's wire format.
    ///
    /// # Errors
    /// When the value doesn't fit its schema, or the type was never registered.
    fn encode(&self, codec: &Codec) -> Result<Vec<u8>, codec::Error>;
    /// The value of type `TYPES[index]` in `bytes`.
    ///
    /// # Errors
    /// When the bytes aren't that type.
    fn decode(index: usize, codec: &Codec, bytes: &[u8]) -> Result<Self, codec::Error>;

    /// The full name of this value's type.
    fn name(&self) -> &'static str {
        Self::TYPES[self.index()].name
    }
    /// The last part of that: `OrderPlaced` of `farandole.orders.OrderPlaced`.
    fn short_name(&self) -> &'static str {
        self.name().rsplit('.').next().unwrap_or_default()
    }
    /// The topic of this value's type.
    fn topic(&self) -> &'static str {
        Self::TYPES[self.index()].topic
    }
    /// The place in [`Message::TYPES`] of the type named `name`.
    fn find(name: &str) -> Option<usize> {
        Self::TYPES.iter().position(|t| t.name == name)
    }
    /// Whether `name` is among [`Message::IGNORES`].
    fn ignores(name: &str) -> bool {
        Self::IGNORES.is_some_and(|types| types.iter().any(|t| t.name == name))
    }
    /// The topics of [`Message::TYPES`] and [`Message::IGNORES`], each once, in the order in which they come first.
    fn topics() -> Vec<&'static str> {
        let mut topics = Vec::new();
        for t in Self::TYPES.iter().chain(Self::IGNORES.unwrap_or_default()) {
            if !topics.contains(&t.topic) {
                topics.push(t.topic);
            }
        }
        topics
    }
}

/// Declares a [`Message`] enum over record types, one variant each.
///
/// A record type is a struct with serde and three constants: `NAME` (full name, the wire's `ce_type`), `SCHEMA` (Avro; empty where
/// values are JSON) and `TOPIC` (as its owner calls it, without a prefix). `farandole-build` writes them from `.avsc` files; by hand:
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// pub struct InvoiceIssued { pub invoice: i64, pub cents: i64 }
/// impl InvoiceIssued {
///     pub const NAME: &'static str = "billing.InvoiceIssued";
///     pub const SCHEMA: &'static str = "";
///     pub const TOPIC: &'static str = "billing";
/// }
/// # pub type InvoicePaid = InvoiceIssued2;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)] pub struct InvoiceIssued2 {}
/// # impl InvoiceIssued2 { pub const NAME: &'static str = "billing.InvoicePaid"; pub const SCHEMA: &'static str = ""; pub const TOPIC: &'static str = "billing"; }
///
/// farandole_outbox::messages! {
///     /// What billing publishes.
///     pub enum Event { InvoiceIssued, Paid(InvoicePaid) }
/// }
///
/// let event = Event::from(InvoiceIssued { invoice: 1, cents: 1200 });
/// # use farandole_outbox::Message as _;
/// assert_eq!((event.name(), event.topic()), ("billing.InvoiceIssued", "billing"));
/// ```
///
/// A variant is named as its type, or names it in parentheses. What a participant subscribes to may also list what it ignores; then types
/// that are in neither list hold up their keys until a build knows them:
///
/// ```
/// # mod orders { macro_rules! record { ($($n:ident),*) => { $(
/// #     #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)] pub struct $n {}
/// #     impl $n { pub const NAME: &str = stringify!($n); pub const SCHEMA: &str = ""; pub const TOPIC: &str = "orders"; }
/// # )* } } record!(OrderPlaced, OrderConfirmed, OrderCancelled); }
/// use orders::{OrderCancelled, OrderConfirmed, OrderPlaced};
///
/// farandole_outbox::messages! {
///     /// What inventory subscribes to.
///     pub enum Heard { OrderPlaced, OrderCancelled }
///     ignores { OrderConfirmed }
/// }
/// # use farandole_outbox::Message as _;
/// assert_eq!(Heard::topics(), ["orders"]);
/// ```
///
/// What a service publishes may say which of its types are an end: nobody need subscribe to them. `farandole graph --check` asks for a
/// subscriber of every other.
///
/// ```
/// # mod orders { macro_rules! record { ($($n:ident),*) => { $(
/// #     #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)] pub struct $n {}
/// #     impl $n { pub const NAME: &str = stringify!($n); pub const SCHEMA: &str = ""; pub const TOPIC: &str = "orders"; }
/// # )* } } record!(OrderPlaced, OrderConfirmed); }
/// use orders::{OrderConfirmed, OrderPlaced};
///
/// farandole_outbox::messages! {
///     /// What orders publishes.
///     pub enum Event { OrderPlaced, OrderConfirmed }
///     ends { OrderConfirmed }
/// }
/// # use farandole_outbox::Message as _;
/// assert_eq!(Event::ENDS[0].name, "OrderConfirmed");
/// ```
#[macro_export]
macro_rules! messages {
    (
        $(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident $(($ty:ty))?),* $(,)? }
        $(ignores { $($ignored:ty),* $(,)? })?
        $(ends { $($end:ty),* $(,)? })?
    ) => {
        $crate::messages!(@enum [$(#[$meta])*] $vis $name [$([$(#[$doc])*] $variant ($($ty)?)),*] [$(Some(&[$($ignored),*]))?] [$($($end),*)?]);
        // An end is one of the variants.
        $($(const _: fn($end) -> $name = <$name as From<$end>>::from;)*)?
    };
    // A variant without a type has its own name's.
    (@enum [$(#[$meta:meta])*] $vis:vis $name:ident [$([$(#[$doc:meta])*] $variant:ident ($($ty:ty)?)),*] [$($ignores:tt)*] [$($ends:tt)*]) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        $vis enum $name { $($(#[$doc])* $variant($crate::messages!(@type $variant $($ty)?))),* }
        $crate::messages!(@impl $name [$($variant($crate::messages!(@type $variant $($ty)?))),*] [$($ignores)*] [$($ends)*]);
    };
    (@type $variant:ident $ty:ty) => { $ty };
    (@type $variant:ident) => { $variant };
    (@record $ty:ty) => { $crate::RecordType { name: <$ty>::NAME, schema: <$ty>::SCHEMA, topic: <$ty>::TOPIC } };
    (@ignores) => { None };
    (@ignores Some(&[$($ty:ty),*])) => { Some(&[$($crate::messages!(@record $ty)),*]) };
    (@impl $name:ident [$($variant:ident($ty:ty)),*] [$($ignores:tt)*] [$($end:ty),*]) => {
        #[allow(unused_assignments, unused_variables, unused_mut, unreachable_code, clippy::match_single_binding)]
        impl $crate::Message for $name {
            const TYPES: &'static [$crate::RecordType] = &[$($crate::messages!(@record $ty)),*];
            const IGNORES: Option<&'static [$crate::RecordType]> = $crate::messages!(@ignores $($ignores)*);
            const ENDS: &'static [$crate::RecordType] = &[$($crate::messages!(@record $end)),*];
            fn index(&self) -> usize {
                let mut i = 0;
                $(if matches!(self, Self::$variant(_)) { return i; } i += 1;)*
                i
            }
            fn encode(&self, codec: &$crate::Codec) -> Result<Vec<u8>, $crate::codec::Error> {
                match *self { $(Self::$variant(ref value) => {
                    static PROOFS: $crate::codec::Proofs = $crate::codec::Proofs::new();
                    codec.encode_proving(<$ty>::NAME, value, &PROOFS)
                }),* }
            }
            fn decode(index: usize, codec: &$crate::Codec, bytes: &[u8]) -> Result<Self, $crate::codec::Error> {
                let mut i = 0;
                $(if index == i { return codec.decode(<$ty>::NAME, bytes).map(Self::$variant); } i += 1;)*
                Err($crate::codec::Error::UnknownType { name: format!("number {index} of {}", stringify!($name)) })
            }
        }
        $(impl From<$ty> for $name { fn from(value: $ty) -> Self { Self::$variant(value) } })*
    };
}
