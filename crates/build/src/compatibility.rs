//! Whether two versions of a schema read each other's values, both ways.
//!
//! Stricter than Avro in two things, since Rust types are made of schemas: a logical type stays, for a reader of UUIDs must meet no other
//! text; and strings and bytes aren't one another. Aliases count for nothing, for they help in one direction only.

use std::collections::BTreeMap;

use crate::ambiguity::passes_for;
use crate::parse::parse;
use crate::schema::{Body, Field, Name, Schema, Type, words};

/// What keeps two versions of a schema from reading each other's values, each with its field, the reason and what to do; nothing when every
/// value of one is read as the other and the other way round (FULL, as registries call it).
///
/// # Errors
/// When one of the texts is no schema that can be used.
///
/// ```
/// let old = r#"{"type": "record", "name": "Placed", "fields": [{"name": "total", "type": "int"}]}"#;
/// let new = r#"{"type": "record", "name": "Placed", "fields": [{"name": "total", "type": "int"}, {"name": "note", "type": "string"}]}"#;
/// let found = farandole_build::differences(old, new)?;
/// assert_eq!(found.len(), 1);
/// assert!(found[0].starts_with("Placed.note: new, without a default"));
/// # Ok::<(), farandole_build::Error>(())
/// ```
pub fn differences(old: &str, new: &str) -> Result<Vec<String>, crate::Error> {
    let parsed = |which: &str, text| parse(text).map_err(|why| crate::Error::one(format!("the {which} version: {why}")));
    Ok(between(&parsed("old", old)?, &parsed("new", new)?))
}

/// As [`differences`].
pub(crate) fn between(old: &Schema, new: &Schema) -> Vec<String> {
    let mut comparison = Comparison { old, new, seen: BTreeMap::new(), found: Vec::new() };
    if let (Type::Named(was), Type::Named(is)) = (&old.root, &new.root)
        && was != is
    {
        comparison.found.push(format!("the full name was {was} and is {is}; name it {was} again, or make it a new event"));
        return comparison.found;
    }
    let at = match &new.root {
        Type::Named(name) => name.rsplit('.').next().unwrap_or(name),
        _ => "the schema",
    };
    comparison.types(at, &old.root, &new.root);
    comparison.found
}

/// What to do about a type that isn't what it was.
const KEEP: &str = "give it its type back, and the new one to a new field with a default";

struct Comparison<'a> {
    old: &'a Schema,
    new: &'a Schema,
    /// Pairs of names compared already.
    seen: BTreeMap<(String, String), ()>,
    found: Vec<String>,
}

impl Comparison<'_> {
    fn types(&mut self, at: &str, was: &Type, is: &Type) {
        match (was, is) {
            (Type::Primitive(a, x), Type::Primitive(b, y)) if a == b && x != y => {
                let (was, is) = (x.as_deref().unwrap_or("none"), y.as_deref().unwrap_or("none"));
                self.found.push(format!("{at}: the logical type was {was} and is {is}; {KEEP}"));
            }
            (Type::Primitive(a, _), Type::Primitive(b, _)) if a == b => {}
            (Type::Array(a), Type::Array(b)) | (Type::Map(a), Type::Map(b)) => self.types(at, a, b),
            (Type::Union(a), Type::Union(b)) => self.unions(at, a, b),
            (Type::Named(a), Type::Named(b)) => self.named(at, a, b),
            _ => {
                let (was, is) = (words(was), words(is));
                self.found.push(format!("{at}: was {was} and is {is}; {KEEP}"));
            }
        }
    }

    fn unions(&mut self, at: &str, was: &[Type], is: &[Type]) {
        for a in was {
            match is.iter().find(|b| alike(a, b)) {
                Some(b) => self.types(at, a, b),
                None => self.found.push(format!("{at}: could be {} and can't any more; put it back into the union", words(a))),
            }
        }
        for b in is.iter().filter(|b| !was.iter().any(|a| alike(a, b))) {
            let why = "which older readers don't know; use a new field with a default for it";
            self.found.push(format!("{at}: can be {} now, {why}", words(b)));
        }
        let (old, new) = (self.old, self.new);
        self.mistaken(at, (was, old), (is, new));
        self.mistaken(at, (is, new), (was, old));
    }

    /// What readers with the types `is` may take for another than it was written as.
    fn mistaken(&mut self, at: &str, (was, theirs): (&[Type], &Schema), (is, ours): (&[Type], &Schema)) {
        for a in was {
            let before = is.iter().take_while(|b| !alike(a, b));
            for b in before.filter(|b| passes_for((a, &theirs.named), (b, &ours.named))) {
                let (a, b) = (words(a), words(b));
                self.found.push(format!(
                    "{at}: a {a} of one version can be taken for a {b} of the other, which is before it in the union; put {a} first, or use a new \
                     field with a default"
                ));
            }
        }
    }

    fn named(&mut self, at: &str, was: &str, is: &str) {
        if self.seen.insert((was.to_owned(), is.to_owned()), ()).is_some() {
            return;
        }
        let (Some(a), Some(b)) = (self.old.named.get(was), self.new.named.get(is)) else { return };
        if a.name.simple != b.name.simple {
            self.found.push(format!("{at}: was {was} and is {is}; name the type {} again", a.name.simple));
            return;
        }
        match (&a.body, &b.body) {
            (Body::Record(x), Body::Record(y)) => self.records(&b.name, x, y),
            (Body::Enum { symbols: x, default: was }, Body::Enum { symbols: y, default: is }) => {
                self.symbols(
                    &b.name,
                    y,
                    x,
                    was.is_none(),
                    "new, and older readers have no default for it; put it into a new enum",
                );
                self.symbols(
                    &b.name,
                    x,
                    y,
                    is.is_none(),
                    "gone, and there is no default for it; put it back, or give the enum a default",
                );
            }
            (Body::Fixed { size: x, logical: l }, Body::Fixed { size: y, logical: m }) => {
                if (x, l) != (y, m) {
                    let words =
                        |size, logical: &Option<String>| format!("{size} bytes ({})", logical.as_deref().unwrap_or("plain"));
                    self.found.push(format!("{at}: {is} was {} and is {}; {KEEP}", words(x, l), words(y, m)));
                }
            }
            _ => self.found.push(format!("{at}: {is} is another kind of type than it was; {KEEP}")),
        }
    }

    /// Symbols of `these` that `those` lack, where that matters.
    fn symbols(&mut self, name: &Name, these: &[String], those: &[String], matters: bool, why: &str) {
        let lacking = these.iter().filter(|symbol| matters && !those.contains(symbol));
        self.found.extend(lacking.map(|symbol| format!("{}: the symbol {symbol} is {why}", name.simple)));
    }

    fn records(&mut self, name: &Name, was: &[Field], is: &[Field]) {
        for a in was {
            let at = format!("{}.{}", name.simple, a.name);
            match is.iter().find(|b| b.name == a.name) {
                Some(b) => self.types(&at, &a.ty, &b.ty),
                None if a.default.is_none() => {
                    self.found.push(format!("{at}: gone, and without a default older readers can't do without it; put it back"));
                }
                None => {}
            }
        }
        for b in is.iter().filter(|b| b.default.is_none() && !was.iter().any(|a| a.name == b.name)) {
            self.found.push(format!(
                "{}.{}: new, without a default, so what was written before can't be read; give it a default",
                name.simple, b.name
            ));
        }
    }
}

/// Whether two types of unions are one another's counterpart.
fn alike(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Primitive(a, _), Type::Primitive(b, _)) => a == b,
        (Type::Array(_), Type::Array(_)) | (Type::Map(_), Type::Map(_)) => true,
        (Type::Named(a), Type::Named(b)) => a.rsplit('.').next() == b.rsplit('.').next(),
        _ => false,
    }
}
