//! Which file of a crate uses which, read from its sources.
//!
//! A file *uses* another when it names something that is defined there: in a `use`, or by a path in its code, macros' arguments
//! included. Re-exports are followed to where a thing is defined, so a file that only gathers names is used by nobody, and may
//! gather what lies below as well as beside it. Tests (`#[cfg(test)]`) aren't read, nor are comments.
//!
//! ```
//! # fn main() -> anyhow::Result<()> {
//! let dir = tempfile::tempdir()?;
//! std::fs::write(dir.path().join("lib.rs"), "mod a; mod b;")?;
//! std::fs::write(dir.path().join("a.rs"), "use crate::b::B; pub struct A(B);")?;
//! std::fs::write(dir.path().join("b.rs"), "pub struct B;")?;
//! let house = house::House::read(&dir.path().join("lib.rs"))?;
//! assert_eq!(house.arrows().iter().map(|arrow| arrow.to_string()).collect::<Vec<_>>(), ["a -> b: B"]);
//! assert!(house.circles().is_empty());
//! # Ok(())
//! # }
//! ```

mod arrow;
mod circles;
mod read;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use arrow::Arrow;
use read::Module;

/// The files of a crate, by the paths of their modules: `a::b`, and nothing for the root.
#[derive(Debug)]
pub struct House {
    modules: BTreeMap<String, Module>,
}

impl House {
    /// The crate whose first file is `root`: its `lib.rs` or `main.rs`.
    ///
    /// # Errors
    /// When a file that a `mod` names isn't there, or isn't Rust.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        Ok(Self { modules: read::modules(root)? })
    }

    /// The paths of its modules.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// Who uses whom, sorted.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = BTreeMap::<(&str, String), BTreeSet<String>>::new();
        for (from, module) in &self.modules {
            for path in &module.named {
                let Some((to, name)) = resolve::definition(&self.modules, from, path) else { continue };
                if to != *from {
                    arrows.entry((from, to)).or_default().insert(name);
                }
            }
        }
        arrows.into_iter().map(|((from, to), names)| Arrow { from: from.to_owned(), to, names }).collect()
    }

    /// What each module names of its own crate, as it is written, from the root on: a path through a re-export leads by where that is.
    pub fn paths(&self) -> Vec<(&str, Vec<String>)> {
        let named = self.modules.iter().flat_map(|(from, module)| module.named.iter().map(move |path| (from.as_str(), path)));
        named.filter_map(|(from, path)| Some((from, resolve::absolute(&self.modules, from, path)?))).collect()
    }

    /// Sets of files that use each other in a circle.
    pub fn circles(&self) -> Vec<BTreeSet<String>> {
        circles::of(&self.arrows())
    }
}
