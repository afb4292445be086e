//! Words that several forms of a graph have in common.

/// The last part of a type's name: `OrderPlaced` of `farandole.orders.OrderPlaced`.
pub fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// `a`, `a and b`, `a, b and c`; `nobody` for none.
pub fn listed(names: &[&str]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `1 event`, `2 events`.
pub fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What may be in names of files, anchors and nodes, and `_` for anything else.
pub fn plain(text: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let plain: String = text.chars().map(kept).collect();
    // No hidden file, and no folder above.
    if plain.starts_with('.') { format!("_{plain}") } else { plain }
}
