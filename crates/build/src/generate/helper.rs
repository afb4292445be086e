//! The module `avro_serde` of generated code: how serde writes and reads what it has no type of its own for.

/// Which parts of it generated code uses.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Used {
    pub uuid: bool,
    pub bytes: bool,
    pub fixed: bool,
}

/// The module's name.
pub(crate) const NAME: &str = "avro_serde";

/// The module's code; nothing when nothing of it is used.
pub(crate) fn module(used: Used) -> String {
    if !(used.uuid || used.bytes || used.fixed) {
        return String::new();
    }
    let parts = [(true, BASE), (used.uuid, UUID), (used.bytes, BYTES), (used.fixed, FIXED)];
    let parts: String = parts.iter().filter(|(used, _)| *used).map(|(_, code)| *code).collect();
    format!(
        "/// How bytes and UUIDs are written and read, alone and in arrays, maps and options.\n\
         #[allow(dead_code, unused_imports, clippy::all)]\nmod {NAME} {{{parts}}}\n"
    )
}

const BASE: &str = r#"
    use ::std::collections::BTreeMap;
    use ::std::fmt;
    use ::std::marker::PhantomData;
    use ::std::option::Option::{self, None, Some};
    use ::std::result::Result::{self, Err, Ok};
    use ::std::string::String;
    use ::std::vec::Vec;

    use ::serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
    use ::serde::ser::{Serialize, Serializer};

    /// A way to write and read a `T`.
    pub trait Way<T> {
        fn write<S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error>;
        fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>;
    }

    /// A value that is written in the way `W`.
    pub struct With<'a, W, T>(&'a T, PhantomData<W>);

    pub fn with<W: Way<T>, T>(value: &T) -> With<'_, W, T> {
        With(value, PhantomData)
    }

    impl<W: Way<T>, T> Serialize for With<'_, W, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            W::write(self.0, serializer)
        }
    }

    pub fn read<'de, W: Way<T>, T, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        W::read(deserializer)
    }

    /// A value that is read in the way `W`.
    struct Read<W, T>(T, PhantomData<W>);

    impl<'de, W: Way<T>, T> Deserialize<'de> for Read<W, T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            W::read(deserializer).map(|value| Read(value, PhantomData))
        }
    }

    pub struct Array<W>(PhantomData<W>);

    impl<W: Way<T>, T> Way<Vec<T>> for Array<W> {
        fn write<S: Serializer>(value: &Vec<T>, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(value.iter().map(with::<W, T>))
        }
        fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
            let read = Vec::<Read<W, T>>::deserialize(deserializer)?;
            Ok(read.into_iter().map(|item| item.0).collect())
        }
    }

    pub struct Map<W>(PhantomData<W>);

    impl<W: Way<T>, T> Way<BTreeMap<String, T>> for Map<W> {
        fn write<S: Serializer>(value: &BTreeMap<String, T>, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(value.iter().map(|(key, value)| (key, with::<W, T>(value))))
        }
        fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error> {
            let read = BTreeMap::<String, Read<W, T>>::deserialize(deserializer)?;
            Ok(read.into_iter().map(|(key, value)| (key, value.0)).collect())
        }
    }

    pub struct Nullable<W>(PhantomData<W>);

    impl<W: Way<T>, T> Way<Option<T>> for Nullable<W> {
        fn write<S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => serializer.serialize_some(&with::<W, T>(value)),
                None => serializer.serialize_none(),
            }
        }
        fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
            let read = Option::<Read<W, T>>::deserialize(deserializer)?;
            Ok(read.map(|value| value.0))
        }
    }
"#;

/// `uuid`'s own serde asks the format whether it is for people, which binary Avro says no to; its strings then refuse the 16 bytes.
const UUID: &str = r#"
    use ::uuid::Uuid;

    /// A UUID on a string: always text.
    pub struct UuidText;

    impl Way<Uuid> for UuidText {
        fn write<S: Serializer>(value: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(value.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
        }
        fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
            deserializer.deserialize_str(UuidVisitor)
        }
    }

    /// A UUID on 16 bytes: text where people read it.
    pub struct UuidBytes;

    impl Way<Uuid> for UuidBytes {
        fn write<S: Serializer>(value: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
            if serializer.is_human_readable() { UuidText::write(value, serializer) } else { serializer.serialize_bytes(value.as_bytes()) }
        }
        fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
            if deserializer.is_human_readable() {
                deserializer.deserialize_any(UuidVisitor)
            } else {
                deserializer.deserialize_bytes(UuidVisitor)
            }
        }
    }

    struct UuidVisitor;

    impl Visitor<'_> for UuidVisitor {
        type Value = Uuid;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a UUID")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Uuid, E> {
            Uuid::try_parse(text).map_err(E::custom)
        }
        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Uuid, E> {
            Uuid::from_slice(bytes).map_err(E::custom)
        }
    }
"#;

/// By itself, serde has a `Vec<u8>` written as an array of numbers.
const BYTES: &str = r#"
    pub struct Bytes;

    impl Way<Vec<u8>> for Bytes {
        fn write<S: Serializer>(value: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(value)
        }
        fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
            deserializer.deserialize_byte_buf(BytesVisitor)
        }
    }

    struct BytesVisitor;

    impl<'de> Visitor<'de> for BytesVisitor {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u8>, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = items.next_element()? {
                bytes.push(byte);
            }
            Ok(bytes)
        }
    }
"#;

const FIXED: &str = r#"
    pub struct Fixed;

    impl<const N: usize> Way<[u8; N]> for Fixed {
        fn write<S: Serializer>(value: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(value)
        }
        fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; N], D::Error> {
            let bytes: Vec<u8> = Bytes::read(deserializer)?;
            let length = bytes.len();
            <[u8; N]>::try_from(bytes).map_err(|_| D::Error::custom(format_args!("{length} bytes in the place of {N}")))
        }
    }
"#;
