//! Removes what dead owners left: their processes, then their folders.
//!
//! A process is killed only if its number, its start time and its command line (which names the run's folder) are all those written down:
//! a number that the kernel has given to somebody else since is nobody's business here.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::Error;
use crate::process::{
    send,
    table::{self, Identity},
};
use crate::runs;

/// PostgreSQL's time to free its shared memory after SIGQUIT; it gives its own children 5 s.
const ORDERLY: Duration = Duration::from_secs(6);

/// What a sweep removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Folders of runs.
    pub runs: usize,
    /// Processes that still ran.
    pub processes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Spare,
    Remove,
}

/// Removes all runs in `dir` that have no owner any more, those that were to be kept as well. Running stages are left alone.
pub fn clean(dir: &Path) -> Result<Swept, Error> {
    if !dir.is_dir() {
        return Ok(Swept::default());
    }
    let _lock = runs::lock(dir)?;
    Ok(sweep(dir, Kept::Remove))
}

/// As [`clean`], and removes logs and jars too; the jars are downloaded again at the next start.
pub fn clean_all(dir: &Path) -> Result<Swept, Error> {
    let swept = clean(dir)?;
    if runs::runs(dir).is_empty() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name == "logs" || name.to_string_lossy().starts_with("jars-") {
                runs::remove(&entry.path());
            }
        }
    }
    Ok(swept)
}

/// With the lock of `dir` held.
pub(crate) fn sweep(dir: &Path, kept: Kept) -> Swept {
    let mut swept = Swept::default();
    for run in runs::runs(dir).into_iter().filter(|run| has_no_owner(run)) {
        swept.processes += kill_left(&run);
        if kept == Kept::Remove || !run.join("keep").exists() {
            runs::remove(&run);
            swept.runs += 1;
        }
    }
    swept
}

fn has_no_owner(run: &Path) -> bool {
    // No file: the owner died before it was written. The lock of the stage's folder is held, so it isn't about to be.
    File::open(run.join("owner")).map_or(true, |owner| owner.try_lock().is_ok())
}

/// Kills what still runs, and returns how many there were.
fn kill_left(run: &Path) -> usize {
    let list = fs::read_to_string(run.join("processes")).unwrap_or_default();
    let mark = run.to_string_lossy();
    let left: Vec<(Identity, &str)> = list
        .lines()
        .filter_map(parse)
        .filter(|(process, _)| process.is_running() && table::command_line(process.pid).contains(&*mark))
        .collect();
    for (process, part) in &left {
        let signal = if *part == "postgres" { Signal::QUIT } else { Signal::KILL };
        send(process.pid, signal);
        send(process.pid, Signal::CONT);
    }
    let end = Instant::now() + ORDERLY;
    while left.iter().any(|(process, _)| process.is_running()) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    for (process, _) in left.iter().filter(|(process, _)| process.is_running()) {
        send(process.pid, Signal::KILL);
    }
    left.len()
}

fn parse(line: &str) -> Option<(Identity, &str)> {
    let mut fields = line.splitn(3, ' ');
    let identity = Identity { pid: fields.next()?.parse().ok()?, started: fields.next()?.parse().ok()? };
    Some((identity, fields.next()?))
}
