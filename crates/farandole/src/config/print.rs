//! The effective configuration as TOML, without its secrets.

use std::fmt::Write as _;

use crate::config::layers::Layers;
use crate::config::mask::masked;

pub(super) fn print(layers: &Layers) -> String {
    let mut out = String::new();
    for section in layers.sections.iter().filter(|s| !s.values.is_empty() || s.fields.is_some_and(|f| !f.is_empty())) {
        let _ = writeln!(out, "{}[{}]", if out.is_empty() { "" } else { "\n" }, section.name); // a String takes everything
        let named = section.fields.unwrap_or_default().iter().map(|f| (*f).to_owned());
        let others = section.values.keys().filter(|k| section.fields.is_none_or(|f| !f.contains(&k.as_str()))).cloned();
        for field in named.chain(others) {
            let source = layers.source(section.name, &field);
            let _ = match section.values.get(&field) {
                Some(value) => writeln!(out, "{field} = {}  # {source}", masked(&field, value)),
                None => writeln!(out, "# {field} is not set"),
            };
        }
    }
    out
}
