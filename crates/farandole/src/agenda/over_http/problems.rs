//! What another side says in problem documents (RFC 9457).

use serde::Deserialize;

use crate::agenda::EffectError;
use crate::agenda::over_http::Sorting;

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
    fn is_of(&self, problems: Option<Problems>) -> bool {
        problems.is_some_and(|problems| self.kind.strip_prefix(problems.types) == Some(&self.code))
    }
}

impl<T> Sorting<T> {
    /// An answer with this status and a [problem](Problems) of one of these codes is the outcome: it was refused for good.
    #[must_use]
    pub fn refused(self, status: u16, codes: &[&str], outcome: impl FnOnce(Problem) -> T) -> Self {
        let problems = self.problems();
        self.done(status, |p: Problem| (p.is_of(problems) && codes.contains(&&*p.code)).then(|| outcome(p)))
    }

    /// What the other side's [problems](Problems) say wasn't done is attempted again, not before its `Retry-After`; anything else is unknown.
    ///
    /// # Errors
    /// Where no rule found an outcome.
    pub fn or_not_done(self) -> Result<T, EffectError> {
        let problems = self.problems();
        let mut sorting = self;
        for (status, code) in problems.iter().flat_map(|problems| problems.not_done) {
            sorting = sorting.not_done(*status, |p: Problem| (p.is_of(problems) && p.code == *code).then_some(p.code));
        }
        sorting.seen(|p: Problem| p.is_of(problems).then_some(p.code)).or_unknown()
    }
}
