//! Sets of event types: the ones that a service publishes, and the ones that it hears.

use crate::wire::codec::{self, Codec};

pub use crate::wire::codec::format::RecordType;

/// A closed set of event types, as an enum with one variant each. Written by [`messages!`](crate::messages).
pub trait Message: Sized + std::fmt::Debug + Clone + Send + Sync + 'static {
    /// The types, in the order of the variants.
    const TYPES: &'static [RecordType];
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
    /// The place in [`Message::TYPES`] of the type named `name`.
    fn find(name: &str) -> Option<usize> {
        Self::TYPES.iter().position(|t| t.name == name)
    }
}

/// Declares a [`Message`] enum over record types that have constants `NAME` and `SCHEMA`.
///
/// ```ignore
/// farandole::messages! {
///     /// What this service hears.
///     pub enum Heard { OrderPlaced(schemas::orders::OrderPlaced), StockShort(schemas::inventory::StockShort) }
/// }
/// ```
#[macro_export]
macro_rules! messages {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident($ty:ty)),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        $vis enum $name { $($variant($ty)),* }
        $crate::messages!(@impl $name; $($variant($ty)),*);
    };
    (@impl $name:ident; $($variant:ident($ty:ty)),*) => {
        #[allow(unused_assignments, unused_variables, unused_mut, unreachable_code, clippy::match_single_binding)]
        impl $crate::Message for $name {
            const TYPES: &'static [$crate::RecordType] =
                &[$($crate::RecordType { name: <$ty>::NAME, schema: <$ty>::SCHEMA }),*];
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
