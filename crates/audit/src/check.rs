//! One check of an audit.

/// One thing that must be true, and the first few places where it isn't.
#[derive(Debug)]
pub struct Check {
    pub what: &'static str,
    pub checked: usize,
    pub violations: usize,
    pub examples: Vec<String>,
    /// What isn't wrong, and has to be known.
    pub notes: Vec<String>,
}

/// Violations that are shown of each check.
const EXAMPLES: usize = 5;

impl Check {
    /// Nothing checked yet.
    pub fn new(what: &'static str) -> Self {
        Self { what, checked: 0, violations: 0, examples: Vec::new(), notes: Vec::new() }
    }

    /// One thing checked; `otherwise` says what is there instead.
    pub fn that(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.violations += 1;
            if self.examples.len() < EXAMPLES {
                self.examples.push(otherwise());
            }
        }
    }
}

/// A line, and one for each example and note.
impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.violations == 0 { "holds" } else { "VIOLATED" };
        write!(f, "  {verdict:<8} {} ({} checked, {} violated)", self.what, self.checked, self.violations)?;
        self.examples.iter().chain(&self.notes).try_for_each(|example| write!(f, "\n           {example}"))
    }
}
