//! What is wrong with a configuration: everything at once, so that it takes one try to put right.

/// Wrong or unknown keys, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub(crate) Vec<String>);

impl Error {
    /// What is wrong, one key each.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "configuration: {}", self.0.join("\n"))
    }
}

impl std::error::Error for Error {}

/// `; did you mean …?` for the known name that is nearest to `wrong`, if one is near.
pub(super) fn suggest(wrong: &str, known: impl IntoIterator<Item = String>) -> String {
    let near = known.into_iter().map(|k| (distance(&k, wrong), k)).min();
    match near {
        // A third of the name wrong is still a slip; more is another word.
        Some((steps, name)) if steps <= (wrong.len() / 3).max(2) => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}

/// Levenshtein's distance, in bytes: names are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
