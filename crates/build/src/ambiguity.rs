//! Which types of a union can be taken for one another.
//!
//! When a value is read through resolution, apache-avro doesn't look for the type in the reader's union that is called as the one that was
//! written, as Avro asks; it takes the first that the value can be made to fit. So a type before the right one must be one that it never fits.

use std::collections::BTreeMap;

use crate::schema::{Body, Definition, Primitive, Type};

type Named = BTreeMap<String, Definition>;

/// Whether values of `written` may be taken for `other`: seen from its kind, its names and sizes, so rather once too often.
pub(crate) fn passes_for((written, theirs): (&Type, &Named), (other, ours): (&Type, &Named)) -> bool {
    match (body(written, theirs), body(other, ours)) {
        (Some(Body::Record(has)), Some(Body::Record(wants))) => {
            wants.iter().all(|wanted| wanted.default.is_some() || has.iter().any(|field| field.name == wanted.name))
        }
        (Some(Body::Enum { symbols: has, .. }), Some(Body::Enum { symbols, default })) => {
            default.is_some() || has.iter().any(|symbol| symbols.contains(symbol))
        }
        (Some(Body::Fixed { size: has, logical: a }), Some(Body::Fixed { size, logical: b })) => {
            has == size || is_decimal(a.as_deref()) || is_decimal(b.as_deref())
        }
        // A map's keys are anybody's.
        (None, Some(Body::Record(_))) => matches!(written, Type::Map(_)),
        // A decimal and a UUID are the same to it, whatever they are on.
        (None, Some(Body::Fixed { .. })) => is_on_either(written, None),
        (Some(Body::Fixed { logical, .. }), None) => is_on_either(other, logical.as_deref()),
        _ => false,
    }
}

fn body<'a>(ty: &Type, named: &'a Named) -> Option<&'a Body> {
    match ty {
        Type::Named(name) => named.get(name).map(|definition| &definition.body),
        _ => None,
    }
}

fn is_decimal(logical: Option<&str>) -> bool {
    logical.is_some_and(|logical| logical.starts_with("decimal"))
}

/// Whether the type is one that a logical type can be on as well as on a fixed: `logical`, or its own.
fn is_on_either(ty: &Type, logical: Option<&str>) -> bool {
    let Type::Primitive(primitive, own) = ty else { return false };
    let logical = logical.or(own.as_deref());
    match primitive {
        Primitive::Bytes => is_decimal(logical),
        Primitive::String => logical == Some("uuid"),
        _ => false,
    }
}
