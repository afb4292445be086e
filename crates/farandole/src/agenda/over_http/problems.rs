//! What another side says in problem documents (RFC 9457).

use serde::Deserialize;

/// How another side names what it didn't do. Only documents of these types are its own: a gateway's 404 isn't.
///
/// ```
/// use farandole::agenda::over_http::{HttpClient, Problems};
///
/// const PROBLEMS: Problems =
///     Problems { types: "https://acquirer.example/problems/", not_done: &[(503, "busy"), (404, "no_such_path")] };
/// let http = HttpClient::new()?.problems(PROBLEMS);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Problems {
    /// What their member `type` begins with. The `code` follows, and is a member of its own as well.
    pub types: &'static str,
    /// Statuses and codes that say that nothing was done, and that it may be tried again: it was too busy, say.
    pub not_done: &'static [(u16, &'static str)],
}

/// A problem document of the other side.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    /// Which problem.
    pub code: String,
    /// More of it, where the other side says more.
    pub reason: Option<String>,
}

impl Problem {
    pub(super) fn is_of(&self, problems: Option<Problems>) -> bool {
        problems.is_some_and(|problems| self.kind.strip_prefix(problems.types) == Some(&self.code))
    }
}
