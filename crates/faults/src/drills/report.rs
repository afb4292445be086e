//! What was drilled, and what came of it.

use std::fmt;
use std::time::{Duration, Instant};

use audit::Check;

/// One drill with one service, or with all.
#[derive(Debug)]
pub struct Drill {
    /// What was done.
    pub name: &'static str,
    /// With what.
    pub of: String,
    /// How long it took.
    pub took: Duration,
    /// What was found, line by line.
    pub lines: Vec<String>,
    /// What was found wrong.
    pub violations: Vec<String>,
    began: Instant,
}

impl Drill {
    pub(super) fn begin(name: &'static str, of: &str) -> Self {
        eprintln!("faults: {name}: {of}");
        Self { name, of: of.to_owned(), took: Duration::ZERO, lines: Vec::new(), violations: Vec::new(), began: Instant::now() }
    }

    pub(super) fn line(&mut self, line: String) {
        eprintln!("faults:   {line}");
        self.lines.push(line);
    }

    /// One thing that has to be so.
    pub(super) fn that(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            let violation = otherwise();
            eprintln!("faults:   VIOLATED {violation}");
            self.violations.push(violation);
        }
    }

    pub(super) fn end(mut self) -> Self {
        self.took = self.began.elapsed();
        self
    }
}

/// Everything that came of a run.
#[derive(Debug)]
pub struct Report {
    /// In the order in which they were carried out.
    pub drills: Vec<Drill>,
    /// What went wrong although nobody did anything.
    pub trouble: Vec<String>,
    /// The audit.
    pub checks: Vec<Check>,
    /// What the load did, in a line.
    pub load: String,
}

impl Report {
    /// Everything that is wrong, in a line each; empty if all is well.
    pub fn violations(&self) -> Vec<String> {
        let of = |drill: &Drill| drill.violations.iter().map(|v| format!("{}: {v}", drill.name)).collect::<Vec<_>>();
        let checks = self.checks.iter().filter(|check| check.violations > 0);
        let checks = checks.map(|check| format!("{} ({} violated)", check.what, check.violations));
        self.drills.iter().flat_map(of).chain(self.trouble.iter().cloned()).chain(checks).collect()
    }

    /// Whether nothing is wrong.
    pub fn holds(&self) -> bool {
        self.violations().is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Drill { name, of, took, lines, violations, .. } in &self.drills {
            let verdict = if violations.is_empty() { "holds" } else { "VIOLATED" };
            writeln!(f, "{name:<16} {of:<28} {:>7.1} s  {verdict}", took.as_secs_f64())?;
            lines.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
            violations.iter().try_for_each(|violation| writeln!(f, "    VIOLATED {violation}"))?;
        }
        writeln!(f, "\n{}\n", self.load)?;
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        self.trouble.iter().try_for_each(|trouble| writeln!(f, "  VIOLATED {trouble}"))?;
        let violations = self.violations();
        let what = if violations.is_empty() { String::new() } else { format!(": {}", violations.join("; ")) };
        let s = |n: usize| if n == 1 { "" } else { "s" };
        let (drills, violated) = (self.drills.len(), violations.len());
        write!(f, "\n{drills} drill{}, {violated} violation{}{what}", s(drills), s(violated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let checks = vec![Check::new("it holds")];
        Report { drills: vec![Drill::begin("swap", "orders").end()], trouble: vec![], checks, load: "nothing".into() }
    }

    fn last_line(report: &Report) -> String {
        report.to_string().lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn each_kind_of_violation_shows_in_the_last_line() {
        assert_eq!(last_line(&report()), "1 drill, 0 violations");
        let mut differs = report();
        differs.drills[0].that(true, || "not this".into());
        differs.drills[0].that(false, || "a row differs".into());
        assert_eq!(last_line(&differs), "1 drill, 1 violation: swap: a row differs");
        let mut died = report();
        died.trouble.push("orders ended by itself".into());
        assert_eq!(last_line(&died), "1 drill, 1 violation: orders ended by itself");
        let mut untrue = report();
        untrue.checks[0].that(false, || "it doesn't".into());
        assert_eq!(last_line(&untrue), "1 drill, 1 violation: it holds (1 violated)");
        assert!(!untrue.holds() && report().holds());
    }
}
