//! An Avro schema, parsed: a type, and the named types that it defines.

use std::collections::BTreeMap;

use serde_json::Value;

/// The schema of one file.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    /// What the file describes.
    pub root: Type,
    /// Every record, enum and fixed of the file by its full name.
    pub named: BTreeMap<String, Definition>,
}

/// A type, as it stands in a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    /// A primitive type, and the logical type that Avro gives it a meaning for, if any: `decimal(9,2)`, `timestamp-micros`.
    Primitive(Primitive, Option<String>),
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// A record, enum or fixed by its full name.
    Named(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Primitive {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
}

/// A named type.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub name: Name,
    pub doc: Option<String>,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Record(Vec<Field>),
    Enum {
        symbols: Vec<String>,
        default: Option<String>,
    },
    Fixed {
        size: usize,
        /// `uuid`, `duration`, `decimal(9,2)`.
        logical: Option<String>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub name: String,
    pub doc: Option<String>,
    pub ty: Type,
    pub default: Option<Value>,
}

/// A full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// Empty when there is none.
    pub namespace: String,
    pub simple: String,
}

impl Name {
    pub(crate) fn full(&self) -> String {
        if self.namespace.is_empty() { self.simple.clone() } else { format!("{}.{}", self.namespace, self.simple) }
    }
}

impl Primitive {
    pub(crate) const ALL: [(&'static str, Self); 8] = [
        ("null", Self::Null),
        ("boolean", Self::Boolean),
        ("int", Self::Int),
        ("long", Self::Long),
        ("float", Self::Float),
        ("double", Self::Double),
        ("bytes", Self::Bytes),
        ("string", Self::String),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, primitive)| *primitive)
    }

    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, primitive)| *primitive == self).map_or("", |(name, _)| name)
    }
}

impl Type {
    pub(crate) const NULL: Self = Self::Primitive(Primitive::Null, None);

    /// `X`, if it is `["null", X]` or `[X, "null"]`.
    pub(crate) fn nullable(&self) -> Option<&Self> {
        match self {
            Self::Union(branches) => match branches.as_slice() {
                [null, some] | [some, null] if *null == Self::NULL => Some(some),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Schema {
    /// The record, if the file describes one.
    pub(crate) fn record(&self) -> Option<(&Definition, &[Field])> {
        let Type::Named(name) = &self.root else { return None };
        let definition = self.named.get(name)?;
        match &definition.body {
            Body::Record(fields) => Some((definition, fields)),
            _ => None,
        }
    }
}

/// A type in words: `uuid (string)`, `array of long`, `com.acme.Money`.
pub(crate) fn words(ty: &Type) -> String {
    match ty {
        Type::Primitive(primitive, None) => primitive.word().to_owned(),
        Type::Primitive(primitive, Some(logical)) => format!("{logical} ({})", primitive.word()),
        Type::Array(items) => format!("array of {}", words(items)),
        Type::Map(values) => format!("map of {}", words(values)),
        Type::Union(branches) => format!("[{}]", branches.iter().map(words).collect::<Vec<_>>().join(", ")),
        Type::Named(name) => name.clone(),
    }
}

/// Whether values of the type may take no byte at all, so that any number of them fits anywhere.
pub(crate) fn takes_no_bytes(ty: &Type, named: &BTreeMap<String, Definition>) -> bool {
    match ty {
        Type::Primitive(primitive, _) => *primitive == Primitive::Null,
        Type::Array(_) | Type::Map(_) | Type::Union(_) => false,
        Type::Named(name) => match named.get(name).map(|definition| &definition.body) {
            Some(Body::Record(fields)) => fields.iter().all(|field| takes_no_bytes(&field.ty, named)),
            _ => false,
        },
    }
}
