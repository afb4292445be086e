//! What can go wrong, in words that say what to do now.

use std::io;
use std::path::{Path, PathBuf};

/// Why a part, or the whole stage, is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Programs that the stage needs are not installed.
    #[error("not installed: {tools}. On Debian or Ubuntu: apt-get install {packages}")]
    Missing {
        /// The programs.
        tools: String,
        /// The packages that bring them.
        packages: String,
    },
    /// [`Stage::attach`](crate::Stage::attach) without a stage to attach to.
    #[error("{variable} is not set: run this with scripts/test or `stage run -- …`, which start the parts and set it")]
    NoStage {
        /// The environment variable.
        variable: &'static str,
    },
    /// A part ended, or did not answer in time.
    #[error("{part} {what}; the end of {}:\n{tail}", log.display())]
    NotReady {
        /// The part's name.
        part: String,
        /// What was seen.
        what: String,
        /// The part's log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Another part failed first; the error of that one is the one to read.
    #[error("{part} was abandoned because another part failed")]
    GivenUp {
        /// The part's name.
        part: String,
    },
    /// No part of this name.
    #[error("there is no part `{name}`, only {known}")]
    NoPart {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// Parts can be stopped and started only by the process that started them.
    #[error("the stage is attached, not owned: only the process that started the parts can stop or start `{name}`")]
    Attached {
        /// The part's name.
        name: String,
    },
    /// Options that no stage can be made of.
    #[error("{0}")]
    Options(&'static str),
    /// A name that would have to be quoted in SQL or in a topic's name.
    #[error("`{name}` is no name for a database: a letter, then up to 47 letters, digits or _, all lower case")]
    Name {
        /// The name.
        name: String,
    },
    /// An operation on files or processes.
    #[error("{what}")]
    Io {
        /// What was tried, and where.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An operation in the stage's PostgreSQL.
    #[error("{what}")]
    Sql {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
}

impl Error {
    pub(crate) fn missing(tool: &str, package: &str) -> Self {
        Self::Missing { tools: tool.into(), packages: package.into() }
    }

    /// The error with its causes in one line, for a place that prints only one.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Names the operation and the path at an `io::Error`.
pub(crate) trait At<T> {
    fn at(self, doing: &str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: format!("{doing} {}", path.display()), source })
    }
}
