//! What was done, and what came of it.

use std::fmt;
use std::time::Duration;

use audit::Check;

use crate::plan::Fault;

/// One fault as it was carried out.
#[derive(Debug)]
pub struct Row {
    /// As planned.
    pub fault: Fault,
    /// When it began, from the start of the run.
    pub at: Duration,
    /// How long it lasted, the time to bring it about included.
    pub length: Duration,
    /// How long a probe took while it lasted, if everything else had to go on.
    pub meanwhile: Option<Duration>,
    /// From its end until the probe came through; `None` if it didn't in time.
    pub recovery: Option<Duration>,
    /// Other faults lasted longer, and are part of the recovery.
    pub with_others: bool,
    /// Why it could not be carried out.
    pub trouble: Option<String>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |d: Duration| format!("{:.1} s", d.as_secs_f64());
        let recovery = match self.recovery {
            Some(took) if self.with_others => format!("{} *", seconds(took)),
            Some(took) => format!("{}  ", seconds(took)),
            None => "NONE".to_owned(),
        };
        let (target, harm, at, length) = (&self.fault.target, self.fault.harm, seconds(self.at), seconds(self.length));
        write!(f, "{target:<22} {harm:<21} {at:>9} {length:>8} {recovery:>10}")?;
        if let Some(took) = self.meanwhile {
            write!(f, "  {} meanwhile", seconds(took))?;
        }
        self.trouble.as_ref().map_or(Ok(()), |why| write!(f, "  {why}"))
    }
}

/// Everything that came of a run.
#[derive(Debug)]
pub struct Report {
    /// The faults, in the order of their beginning.
    pub rows: Vec<Row>,
    /// What went wrong although nobody harmed it, and what did not recover.
    pub trouble: Vec<String>,
    /// The audit.
    pub checks: Vec<Check>,
    /// What the load did, in a line.
    pub load: String,
}

impl Report {
    /// Everything that is wrong, in a line each; empty if all is well.
    pub fn violations(&self) -> Vec<String> {
        let name = |row: &Row| format!("{} {}", row.fault.target, row.fault.harm);
        let failed = self.rows.iter().filter_map(|row| Some(format!("{}: {}", name(row), row.trouble.as_ref()?)));
        let stuck = self.rows.iter().filter(|row| row.recovery.is_none()).map(|row| format!("{}: no recovery", name(row)));
        let checks = self.checks.iter().filter(|check| check.violations > 0);
        let checks = checks.map(|check| format!("{} ({} violated)", check.what, check.violations));
        failed.chain(stuck).chain(self.trouble.iter().cloned()).chain(checks).collect()
    }

    /// Whether nothing is wrong.
    pub fn holds(&self) -> bool {
        self.violations().is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:<21} {:>9} {:>8} {:>10}", "target", "fault", "at", "length", "recovery  ")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        writeln!(f, "Recovery is from a fault's end until a probe placed then came through; *: while other faults lasted.")?;
        writeln!(f, "Meanwhile: how long a probe took while it lasted, where everything else has to go on.\n")?;
        writeln!(f, "{}\n", self.load)?;
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        let violations = self.violations();
        violations.iter().try_for_each(|violation| writeln!(f, "  VIOLATED {violation}"))?;
        let what = if violations.is_empty() { String::new() } else { format!(": {}", violations.join("; ")) };
        let s = |n: usize| if n == 1 { "" } else { "s" };
        let (faults, violated) = (self.rows.len(), violations.len());
        write!(f, "\n{faults} fault{}, {violated} violation{}{what}", s(faults), s(violated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Harm;

    fn report() -> Report {
        let fault =
            Fault { bout: 0, target: "orders".into(), harm: Harm::Kill, at: Duration::ZERO, length: Duration::from_secs(1) };
        let second = Duration::from_secs(1);
        let row =
            Row { fault, at: second, length: second, meanwhile: None, recovery: Some(second), with_others: false, trouble: None };
        Report { rows: vec![row], trouble: vec![], checks: vec![Check::new("it holds")], load: "nothing".into() }
    }

    fn last_line(report: &Report) -> String {
        report.to_string().lines().last().unwrap().to_owned()
    }

    #[test]
    fn each_kind_of_violation_shows_in_the_last_line() {
        assert_eq!(last_line(&report()), "1 fault, 0 violations");
        assert!(report().holds());

        let mut stuck = report();
        stuck.rows[0].recovery = None;
        assert_eq!(last_line(&stuck), "1 fault, 1 violation: orders killed with -9: no recovery");

        let mut failed = report();
        failed.rows[0].trouble = Some("can't be ended: no".into());
        assert_eq!(last_line(&failed), "1 fault, 1 violation: orders killed with -9: can't be ended: no");

        let mut died = report();
        died.trouble.push("orders ended by itself".into());
        assert_eq!(last_line(&died), "1 fault, 1 violation: orders ended by itself");

        let mut untrue = report();
        untrue.checks[0].that(false, || "it doesn't".into());
        assert_eq!(last_line(&untrue), "1 fault, 1 violation: it holds (1 violated)");
        assert!(!untrue.holds());
    }
}
