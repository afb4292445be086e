//! Files, what they define, what they bring into scope, and what they name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Item, UseTree};

/// A file.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// What it defines at its top.
    pub defined: BTreeSet<String>,
    /// Modules in files of their own below it.
    pub children: BTreeSet<String>,
    /// Names in its scope, and the paths that they stand for.
    pub scope: BTreeMap<String, Vec<String>>,
    /// Paths that it names.
    pub named: BTreeSet<Vec<String>>,
}

pub(crate) fn modules(root: &Path) -> anyhow::Result<BTreeMap<String, Module>> {
    let mut modules = BTreeMap::new();
    let folder = root.parent().unwrap_or(Path::new("")).to_owned();
    let mut waiting = vec![(String::new(), root.to_owned(), folder)];
    while let Some((path, file, folder)) = waiting.pop() {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("parsing {}", file.display()))?;
        let mut module = Module::default();
        take(&mut module, parsed.items, 0);
        for child in &module.children {
            let path = if path.is_empty() { child.clone() } else { format!("{path}::{child}") };
            waiting.push((path, file_of(&folder, child), folder.join(child)));
        }
        modules.insert(path, module);
    }
    Ok(modules)
}

fn file_of(folder: &Path, child: &str) -> PathBuf {
    let beside = folder.join(format!("{child}.rs"));
    if beside.exists() { beside } else { folder.join(child).join("mod.rs") }
}

fn take(module: &mut Module, items: Vec<Item>, depth: usize) {
    for item in items {
        if attributes(&item).iter().any(is_test) {
            continue;
        }
        match item {
            Item::Use(item) => uses(module, &mut Vec::new(), &item.tree, depth),
            Item::Mod(item) => match item.content {
                // What is written within a file is that file's, whatever module it is put in.
                Some((_, items)) => take(module, items, depth + 1),
                None => drop(module.children.insert(item.ident.to_string())),
            },
            item => {
                if depth == 0 {
                    module.defined.extend(name(&item));
                }
                let mut found = Vec::new();
                paths(quoted(&item), &mut found);
                module.named.extend(found.into_iter().filter_map(|path| lifted(path, depth)));
            }
        }
    }
}

/// A path from `depth` modules within the file, as its top would write it.
fn lifted(mut path: Vec<String>, depth: usize) -> Option<Vec<String>> {
    for _ in 0..depth {
        match path.first().map(String::as_str) {
            Some("super") => drop(path.remove(0)),
            _ => break,
        }
    }
    (path.len() > 1).then_some(path)
}

fn uses(module: &mut Module, before: &mut Vec<String>, tree: &UseTree, depth: usize) {
    let mut end = |last: &syn::Ident, called: &syn::Ident| {
        let mut path = before.clone();
        if last != "self" {
            path.push(last.to_string());
        }
        let called = if called == "self" { before.last().cloned().unwrap_or_default() } else { called.to_string() };
        if depth == 0 {
            module.scope.insert(called, path.clone());
        }
        module.named.extend(lifted(path, depth));
    };
    match tree {
        UseTree::Path(tree) => {
            before.push(tree.ident.to_string());
            uses(module, before, &tree.tree, depth);
            before.pop();
        }
        UseTree::Name(tree) => end(&tree.ident, &tree.ident),
        UseTree::Rename(tree) => end(&tree.ident, &tree.rename),
        UseTree::Group(group) => group.items.iter().for_each(|tree| uses(module, before, tree, depth)),
        UseTree::Glob(_) => {}
    }
}

/// Paths of at least two parts in `tokens`, those in macros' arguments too. `$crate` is wherever the macro is used.
fn paths(tokens: TokenStream, found: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == sign);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => paths(group.stream(), found),
            TokenTree::Ident(first) => {
                let continued = at >= 2 && is(at - 1, ':') && is(at - 2, ':');
                let foreign = continued || (at >= 1 && (is(at - 1, '$') || is(at - 1, '.')));
                let mut path = vec![first.to_string()];
                while is(at + 1, ':') && is(at + 2, ':') {
                    let Some(TokenTree::Ident(next)) = tokens.get(at + 3) else { break };
                    path.push(next.to_string());
                    at += 3;
                }
                if path.len() > 1 && !foreign {
                    found.push(path);
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
}

fn quoted(item: &Item) -> TokenStream {
    item.to_token_stream()
}

fn is_test(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg") && list.tokens.to_string() == "test"
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(i) => &i.ident,
        Item::Enum(i) => &i.ident,
        Item::Fn(i) => &i.sig.ident,
        Item::Macro(i) => i.ident.as_ref()?,
        Item::Static(i) => &i.ident,
        Item::Struct(i) => &i.ident,
        Item::Trait(i) => &i.ident,
        Item::Type(i) => &i.ident,
        Item::Union(i) => &i.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
