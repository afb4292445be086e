//! `counts`: what an event costs in instructions and allocations, compared with what was written down. See `scripts/counts --help`.

mod allocations;
mod case;
mod cases;
mod sample;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};
use case::{Case, Work};
use counts::figures::{CASES, Figures};
use counts::record::{self, On, Record};
use counts::{benchmarks, callgrind, changelog, compare};

/// The argument under which this program does what is counted, under callgrind.
const RUN: &str = "run";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => check(),
        ["--write"] => write().map(|()| true),
        [RUN] => run().map(|()| true),
        _ => Err(anyhow::anyhow!("usage: counts [--write]")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does each case once, and writes what it allocated: name, events, allocations, bytes.
fn run() -> anyhow::Result<()> {
    for (name, _) in CASES {
        let Case { events, work } = cases::prepare(name).with_context(|| format!("preparing {name}"))?;
        let (calls, bytes) = allocations::so_far();
        counted_section(work).with_context(|| name)?;
        let (calls_after, bytes_after) = allocations::so_far();
        println!("{name} {events} {} {}", calls_after - calls, bytes_after - bytes);
    }
    Ok(())
}

/// What callgrind looks for by this name, and counts: nothing outside of it.
#[inline(never)]
fn counted_section(work: Work) -> anyhow::Result<()> {
    // Not as its last act, which would be a jump out of it.
    black_box(work())
}

/// Counts every case.
fn count() -> anyhow::Result<Record> {
    let program = std::env::current_exe().context("where this program is")?;
    let ran = callgrind::run(&program, RUN, "counted_section", CASES.len())?;
    let mut cases = Vec::new();
    for (line, instructions) in ran.stdout.lines().zip(ran.instructions) {
        let (name, numbers) = line.split_once(' ').context("a line without a name")?;
        let numbers = numbers.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>().with_context(|| line.to_owned())?;
        let [events, allocations, bytes] = numbers[..] else { bail!("not three numbers: {line}") };
        let figures = Figures::of(events, instructions, allocations, bytes);
        cases.push(record::Case { name: name.to_owned(), figures });
    }
    ensure!(cases.len() == CASES.len(), "{} cases instead of {} were counted", cases.len(), CASES.len());
    let libc = Command::new("getconf").arg("GNU_LIBC_VERSION").output().context("getconf")?;
    let libc = String::from_utf8_lossy(&libc.stdout).trim().to_owned();
    Ok(Record { on: On { rustc: env!("COUNTS_RUSTC").to_owned(), libc }, cases })
}

/// The files that hold what was written down.
struct Files {
    record: PathBuf,
    changelog: PathBuf,
    benchmarks: PathBuf,
}

impl Files {
    /// Those of the workspace in which the program is run.
    fn here() -> anyhow::Result<Self> {
        let record = Path::new("crates/counts/counts.toml").to_path_buf();
        ensure!(Path::new("crates/counts").exists(), "run scripts/counts, or this in the workspace's folder");
        Ok(Self { record, changelog: "CHANGELOG.md".into(), benchmarks: "BENCHMARKS.md".into() })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn check() -> anyhow::Result<bool> {
    let files = Files::here()?;
    let before = Record::read(&files.record)?.context("nothing is written down yet: `scripts/counts --write`")?;
    let now = count()?;
    for case in &now.cases {
        println!("{}: {}", case.name, case.figures);
    }
    let compare::Compared { mut failures, hints } = compare::compare(&before, &now);
    failures.extend(changelog::check(&read(&files.changelog)?, &before));
    let text = read(&files.benchmarks)?;
    if benchmarks::with(&text, &before)? != text {
        failures.push("BENCHMARKS.md has other figures than counts.toml: `scripts/counts --write`".to_owned());
    }
    hints.iter().for_each(|hint| eprintln!("note: {hint}"));
    failures.iter().for_each(|failure| eprintln!("FAILED: {failure}"));
    Ok(failures.is_empty())
}

fn write() -> anyhow::Result<()> {
    let files = Files::here()?;
    let record = Record::after(Record::read(&files.record)?.as_ref(), count()?);
    let (changelog, benchmarks) = (read(&files.changelog)?, read(&files.benchmarks)?);
    let (changelog, benchmarks) = (changelog::add(&changelog, &record)?, benchmarks::with(&benchmarks, &record)?);
    record.write(&files.record)?;
    std::fs::write(&files.changelog, &changelog).context("CHANGELOG.md")?;
    std::fs::write(&files.benchmarks, benchmarks).context("BENCHMARKS.md")?;
    for case in &record.cases {
        println!("{}: {}", case.name, case.figures);
    }
    changelog::check(&changelog, &record).iter().for_each(|wrong| eprintln!("now: {wrong}"));
    Ok(())
}
