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

/// The ends of names that settings have elsewhere, and those of the settings here.
const ELSEWHERE: [(&str, &str); 5] = [
    ("farandole_port", "http_listen"),
    ("http_port", "http_listen"),
    ("http_host", "http_listen"),
    ("http_address", "http_listen"),
    ("kafka_brokers", "kafka_bootstrap"),
];

/// `; did you mean …?` for the known name that means the same as `wrong`, or is nearest to it, if one is near.
pub(super) fn suggest(wrong: &str, known: impl IntoIterator<Item = String>) -> String {
    let plain = |name: &str| name.to_ascii_lowercase().replace('.', "_");
    let ours = ELSEWHERE.iter().find(|(theirs, _)| plain(wrong).ends_with(*theirs)).map(|(_, ours)| *ours);
    let steps =
        |name: &str| if ours.is_some_and(|ours| plain(name).ends_with(ours)) { 0 } else { strsim::levenshtein(name, wrong) };
    let near = known.into_iter().map(|k| (steps(&k), k)).min();
    match near {
        // A third of the name wrong is still a slip; more is another word.
        Some((steps, name)) if steps <= (wrong.len() / 3).max(2) => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}
