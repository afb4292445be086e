//! `counts.toml`: the figures that were last written down, and what they were counted on.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::figures::Figures;

const HEAD: &str = "# What an event costs. `scripts/counts` compares with this; `scripts/counts --write` writes it.\n\n";

/// What was written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it was counted on.
    pub on: On,
    /// The figures.
    #[serde(rename = "case")]
    pub cases: Vec<Case>,
}

/// What decides on instructions beside the sources: the compiler chooses them, and libc copies and compares in its own way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct On {
    /// Release and host.
    pub rustc: String,
    /// Name and version.
    pub libc: String,
}

impl std::fmt::Display for On {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rustc {} with {}", self.rustc, self.libc)
    }
}

/// One case's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// One of [`CASES`](crate::figures::CASES).
    pub name: String,
    /// Of one event.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Record {
    /// What `path` says; none where there is no such file.
    ///
    /// # Errors
    /// When it can't be read, or is another file.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).map(Some).with_context(|| path.display().to_string())
    }

    /// Writes it to `path`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = HEAD.to_owned() + &toml::to_string(self)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }

    /// The figures of a case.
    pub fn figures(&self, name: &str) -> Option<&Figures> {
        self.cases.iter().find(|case| case.name == name).map(|case| &case.figures)
    }

    /// What is to be written after `now` was counted: what hardly moved stays as it was.
    #[must_use]
    pub fn after(before: Option<&Self>, now: Self) -> Self {
        let of = |case: Case| match before.and_then(|before| before.figures(&case.name)) {
            Some(figures) => Case { figures: figures.moved(&case.figures), ..case },
            None => case,
        };
        Self { on: now.on, cases: now.cases.into_iter().map(of).collect() }
    }
}
