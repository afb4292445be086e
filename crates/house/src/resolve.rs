//! From a path to the file that defines what it names.

use std::collections::BTreeMap;

use crate::read::Module;

/// Re-exports of re-exports that are followed; more are a circle of names, which no compiler takes.
const HOPS: usize = 16;

/// The module that defines what `path`, written in `from`, names, and the name; none if that is another crate's.
pub(crate) fn definition(modules: &BTreeMap<String, Module>, from: &str, path: &[String]) -> Option<(String, String)> {
    let mut path = absolute(modules, from, path)?;
    for _ in 0..HOPS {
        let (at, rest) = down(modules, &path);
        // A module as such: what is used of it is named elsewhere.
        let name = rest.first()?;
        let module = &modules[&at];
        match module.scope.get(name) {
            Some(stands_for) if !module.defined.contains(name) => {
                let mut next = absolute(modules, &at, stands_for)?;
                next.extend(rest[1..].iter().cloned());
                path = next;
            }
            _ => return Some((at, name.clone())),
        }
    }
    None
}

/// The deepest module that `path` leads to, and what is left of it.
fn down(modules: &BTreeMap<String, Module>, path: &[String]) -> (String, Vec<String>) {
    let mut at = String::new();
    for (n, part) in path.iter().enumerate() {
        let next = if at.is_empty() { part.clone() } else { format!("{at}::{part}") };
        if !modules.contains_key(&next) {
            return (at, path[n..].to_vec());
        }
        at = next;
    }
    (at, Vec::new())
}

/// From the crate's root on; none for another crate's.
pub(crate) fn absolute(modules: &BTreeMap<String, Module>, from: &str, path: &[String]) -> Option<Vec<String>> {
    within(modules, from, path, HOPS)
}

/// In so many hops from name to name: `use anyhow::anyhow` gives one that begins with itself.
fn within(modules: &BTreeMap<String, Module>, from: &str, path: &[String], hops: usize) -> Option<Vec<String>> {
    let mut here: Vec<String> = from.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let mut path = path.iter();
    let mut first = path.next()?;
    match first.as_str() {
        "crate" => here.clear(),
        "self" => {}
        "super" => {
            while first == "super" {
                here.pop();
                first = path.next()?;
            }
            here.push(first.clone());
        }
        name => {
            let module = modules.get(from)?;
            if module.children.contains(name) {
                here.push(name.to_owned());
            } else {
                here = within(modules, from, module.scope.get(name)?, hops.checked_sub(1)?)?;
            }
        }
    }
    here.extend(path.cloned());
    Some(here)
}
