//! The tree of Rust modules that types are written into: a folder a module.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::names::{Scope, camel, snake};
use crate::schema::{Body, Definition, Name};

/// One module.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Its folder as it is shown.
    pub folder: String,
    pub scope: Scope,
    /// The types by their full names.
    pub types: BTreeMap<String, Known>,
    pub code: String,
    children: BTreeMap<String, Module>,
}

/// A type of a module.
#[derive(Debug)]
pub(crate) struct Known {
    /// Its name in Rust.
    pub rust: String,
    /// What makes its values, once it is written; and the file that did.
    pub written: Option<(String, String)>,
}

/// Names of Rust's own types, which a type in scope hides.
const PRIMITIVES: [&str; 17] =
    ["bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32", "u64", "u128", "usize"];

impl Module {
    /// The module of a folder, made if it isn't there yet, and its path: `orders::`.
    pub(crate) fn of(&mut self, folder: &[String]) -> (&mut Self, String) {
        let (mut module, mut path) = (self, String::new());
        for (i, name) in folder.iter().enumerate() {
            let wanted = snake(name);
            let taken =
                |module: &Self| [wanted.clone(), format!("r#{wanted}")].into_iter().find(|n| module.children.contains_key(n));
            let name = taken(module).unwrap_or_else(|| module.scope.add(&wanted));
            let _ = write!(path, "{name}::");
            let fresh = || Self { folder: folder[..=i].join("/"), ..Self::default() };
            module = module.children.entry(name).or_insert_with(fresh);
        }
        (module, path)
    }

    /// The name in Rust of the type `name`: its own, with its namespace's last word in front if another namespace has the same.
    pub(crate) fn named(&mut self, name: &Name) -> String {
        let full = name.full();
        if let Some(known) = self.types.get(&full) {
            return known.rust.clone();
        }
        let last = name.namespace.rsplit('.').next().unwrap_or_default();
        // A type called `i64` would stand in the place of Rust's.
        let simple = if PRIMITIVES.contains(&&*name.simple) { camel(&name.simple) } else { name.simple.clone() };
        let wanted = if self.scope.has(&simple) && !last.is_empty() { camel(last) + &simple } else { simple };
        let rust = self.scope.add(&wanted);
        self.types.insert(full, Known { rust: rust.clone(), written: None });
        rust
    }

    /// The code of this module and those in it.
    pub(crate) fn render(&self, out: &mut String) {
        out.push_str(&self.code);
        for (name, child) in &self.children {
            let _ = writeln!(out, "/// The schemas in `{}`.\npub mod {name} {{", child.folder);
            child.render(out);
            out.push_str("}\n");
        }
    }
}

/// What makes a type's values: not the words about it, nor its defaults.
pub(crate) fn shape(definition: &Definition) -> String {
    match &definition.body {
        Body::Record(fields) => fields.iter().map(|field| format!("{}: {:?}; ", field.name, field.ty)).collect(),
        Body::Enum { symbols, .. } => symbols.join(" "),
        Body::Fixed { size, logical } => format!("{size} {logical:?}"),
    }
}
