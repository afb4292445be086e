//! The `.avsc` files below a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::parse::parse;
use crate::schema::Schema;

/// One file with a schema.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// As it is shown: `schemas/orders/OrderPlaced.avsc`.
    pub shown: String,
    /// Below the folder, without the extension: `["orders", "OrderPlaced"]`.
    pub parts: Vec<String>,
    pub text: String,
    pub schema: Schema,
}

impl File {
    /// `orders/OrderPlaced`.
    pub(crate) fn stem(&self) -> String {
        self.parts.join("/")
    }

    /// The folder that holds it, `["orders"]`; empty for the top one.
    pub(crate) fn folder(&self) -> &[String] {
        self.parts.split_last().map_or(&[], |(_, folder)| folder)
    }

    /// The file's name without the extension.
    pub(crate) fn name(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }
}

/// Every file below `folder`, in the order of their paths; what is below `but`, hidden or a `target` of Cargo's is left out.
///
/// # Errors
/// The problems of all files.
pub(crate) fn read(folder: &Path, but: Option<&Path>) -> Result<Vec<File>, Error> {
    let mut found = Vec::new();
    find(folder, but, &mut Vec::new(), &mut found)?;
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for (path, parts) in found {
        let shown = shown(&path);
        let read = fs::read_to_string(&path).map_err(|e| format!("can't be read: {e}"));
        match read.and_then(|text| parsed(&text).map(|schema| (text, schema))) {
            Ok((text, schema)) => files.push(File { shown, parts, text, schema }),
            Err(why) => problems.push(format!("{shown}: {why}")),
        }
    }
    Error::unless_empty(problems).map(|()| files)
}

fn parsed(text: &str) -> Result<Schema, String> {
    match text.strip_prefix('\u{feff}') {
        // Whoever else reads the file would stop there, as JSON says.
        Some(_) => Err("begins with a byte-order mark; save it as UTF-8 without one".to_owned()),
        None => parse(text),
    }
}

/// A path as messages name it: with slashes, without `./`.
pub(crate) fn shown(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}

/// Folders in folders that are looked into: links of several may still lead round.
const DEEPEST: usize = 32;

type Found = Vec<(PathBuf, Vec<String>)>;

fn find(folder: &Path, but: Option<&Path>, parts: &mut Vec<String>, found: &mut Found) -> Result<(), Error> {
    for name in names(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            // A link may lead to a folder above, and round and round.
            let goes_round = parts.len() >= DEEPEST || path.is_symlink() && is_above(&path, folder);
            if name.starts_with('.') || name == "target" || goes_round || but.is_some_and(|but| same(but, &path)) {
                continue;
            }
            parts.push(name);
            find(&path, but, parts, found)?;
            parts.pop();
        } else if let Some(stem) = name.strip_suffix(".avsc").filter(|_| path.is_file() || !path.exists()) {
            found.push((path.clone(), parts.iter().cloned().chain([stem.to_owned()]).collect()));
        }
    }
    Ok(())
}

/// Whether a link leads to `folder` or to one above it.
fn is_above(link: &Path, folder: &Path) -> bool {
    matches!((link.canonicalize(), folder.canonicalize()), (Ok(to), Ok(folder)) if folder.starts_with(&to))
}

/// Whether both paths are one folder.
pub(crate) fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The entries of a folder in the order of their names, so that the same files give the same code anywhere.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let broken =
        |e: std::io::Error| Error::one(format!("{}: can't be read: {e}; name the folder with the schemas", shown(folder)));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(broken)? {
        names.push(entry.map_err(broken)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
