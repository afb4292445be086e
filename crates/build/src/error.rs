//! What is wrong with schemas.

use std::fmt;

/// What is wrong with the schemas: every problem that was found, each with its file, its field, the reason and what to do about it.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// let schema = r#"{"type": "record", "name": "Placed", "fields": [{"name": "total", "type": "money"}]}"#;
/// std::fs::write(dir.path().join("Placed.avsc"), schema)?;
/// let error = farandole_build::Schemas::in_folder(dir.path()).code().unwrap_err();
/// assert!(error.to_string().contains("Placed.avsc: Placed.total: the type \"money\" isn't known"), "{error}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    problems: Vec<String>,
}

impl Error {
    pub(crate) fn new(problems: Vec<String>) -> Self {
        Self { problems }
    }

    pub(crate) fn one(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()] }
    }

    /// `Ok` when nothing is wrong.
    pub(crate) fn unless_empty(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// The problems, one a line, in the order of the files.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for Error {}
