//! Names of a schema as names of Rust.

use std::collections::BTreeSet;

/// Words that no identifier may be. The first four can't be written `r#…` either.
const KEYWORDS: &[&str] = &[
    "self", "Self", "super", "crate", "_", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try",
    "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The identifiers of one Rust scope.
#[derive(Debug, Default)]
pub(crate) struct Scope(BTreeSet<String>);

impl Scope {
    /// `wanted` as an identifier; followed by `_` as long as another has it.
    pub(crate) fn add(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while !self.0.insert(name.clone()) {
            name.push('_');
        }
        match KEYWORDS.iter().position(|keyword| *keyword == name) {
            Some(0..=4) => self.add(&format!("{name}_")),
            Some(_) => format!("r#{name}"),
            None => name,
        }
    }

    /// Whether the name is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// `orderId`, `OrderID`, `order-id` → `order_id`.
pub(crate) fn snake(name: &str) -> String {
    let mut snake = String::new();
    let letters: Vec<char> = name.chars().collect();
    for (i, c) in letters.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            if !snake.ends_with('_') {
                snake.push('_');
            }
            continue;
        }
        let after_small = i > 0 && (letters[i - 1].is_ascii_lowercase() || letters[i - 1].is_ascii_digit());
        let before_small = letters.get(i + 1).is_some_and(char::is_ascii_lowercase);
        let after_capital = i > 0 && letters[i - 1].is_ascii_uppercase();
        if c.is_ascii_uppercase() && (after_small || (after_capital && before_small)) {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    begun(snake)
}

/// `OUT_OF_STOCK`, `outOfStock`, `out_of_stock` → `OutOfStock`.
pub(crate) fn camel(name: &str) -> String {
    let word = |word: &str| {
        let shouted = !word.chars().any(|c| c.is_ascii_lowercase());
        let rest = word.chars().skip(1).map(|c| if shouted { c.to_ascii_lowercase() } else { c });
        word.chars().take(1).map(|c| c.to_ascii_uppercase()).chain(rest).collect::<String>()
    };
    let camel: String = name.split(|c: char| !c.is_ascii_alphanumeric()).map(word).collect();
    if camel.is_empty() { "Underscore".to_owned() } else { begun(camel) }
}

/// No identifier begins with a digit.
fn begun(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// As Avro asks of every name.
pub(crate) fn is_avro(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether Kafka takes it for a topic.
pub(crate) fn is_topic(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name.chars().all(letters) && name != "." && name != ".."
}

/// `order_id`.
pub(crate) fn is_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `OrderPlaced`.
pub(crate) fn is_camel(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_rusts() {
        for (name, snaked) in [
            ("orderId", "order_id"),
            ("order_id", "order_id"),
            ("OrderID", "order_id"),
            ("HTTPStatus", "http_status"),
            ("line2Price", "line2_price"),
            ("acme.order-events", "acme_order_events"),
            ("2024", "_2024"),
            ("_id", "_id"),
        ] {
            assert_eq!(snake(name), snaked, "{name}");
        }
        for (name, camelled) in [
            ("OUT_OF_STOCK", "OutOfStock"),
            ("outOfStock", "OutOfStock"),
            ("out_of_stock", "OutOfStock"),
            ("EUR", "Eur"),
            ("_1", "_1"),
            ("__", "Underscore"),
        ] {
            assert_eq!(camel(name), camelled, "{name}");
        }
    }

    #[test]
    fn a_scope_gives_each_its_own() {
        let mut scope = Scope::default();
        let given: Vec<String> = ["a", "a", "type", "self", "a", "Self"].iter().map(|name| scope.add(name)).collect();
        assert_eq!(given, ["a", "a_", "r#type", "self_", "a__", "Self_"]);
    }
}
