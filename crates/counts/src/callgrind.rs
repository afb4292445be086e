//! Runs a program under callgrind, which counts instructions one by one, on a processor of its own making: the host's load, clock and
//! caches change nothing, and of its model only whether it has AVX2.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// What jemalloc does by the clock it doesn't do: give memory back, and tidy a thread's cache at most every 10 ms (by bytes allocated it
/// tidies all the same). The second moved a figure by as much as 1.4 % from run to run.
const MALLOC_CONF: &str = "narenas:1,dirty_decay_ms:-1,muzzy_decay_ms:-1,experimental_tcache_gc:false";

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// What it wrote.
    pub stdout: String,
    /// Instructions of each call of the function, in order.
    pub instructions: Vec<u64>,
}

/// Runs `program` with `argument`, and counts what is done within each of `calls` calls of `function`. Nothing else counts: neither
/// how the program starts nor how it prepares what is counted.
///
/// # Errors
/// When valgrind isn't there, the program fails, or calls the function another number of times.
pub fn run(program: &Path, argument: &str, function: &str, calls: usize) -> anyhow::Result<Ran> {
    let folder = tempfile::tempdir().context("a folder for callgrind's output")?;
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        // The stack begins behind the environment, which is the same everywhere then.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("MALLOC_CONF", MALLOC_CONF)
        .args(["--tool=callgrind", "--cache-sim=no", "--branch-sim=no", "--error-exitcode=1"])
        .arg(format!("--toggle-collect=*{function}*"))
        // Written otherwise, since of one pattern only the last option counts.
        .arg(format!("--dump-after=?*{function}*"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg(argument)
        .output()
        .context("valgrind can't be run; scripts/install installs it")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "under valgrind, the cases ended with {}:\n{stderr}", output.status);
    let mut instructions = Vec::new();
    for call in 1..=calls {
        let part = folder.path().join(format!("out.{call}"));
        let text = std::fs::read_to_string(&part).with_context(|| format!("callgrind counted no call {call} of {function}"))?;
        instructions.push(totals(&text).with_context(|| format!("part {call} of callgrind's output has no totals"))?);
    }
    ensure!(!folder.path().join(format!("out.{}", calls + 1)).exists(), "{function} was called more than {calls} times");
    Ok(Ran { stdout: String::from_utf8_lossy(&output.stdout).into_owned(), instructions })
}

/// The sum in a part of callgrind's output.
fn totals(part: &str) -> Option<u64> {
    part.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_its_sum() {
        assert_eq!(totals("# callgrind format\nevents: Ir\nsummary: 12\n\nfn=f\n0 12\n\ntotals: 12\n"), Some(12));
        assert_eq!(totals("# callgrind format\n"), None);
    }
}
