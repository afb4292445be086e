//! What an operator runs: verbs of the services' own binaries.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::process::{Child, Command};

/// How long one may take: of the full file less than a minute, on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(600);
/// What another one's session is told by, which a kill leaves behind for a moment.
const BUSY: &str = "another rebuild of ";
/// How long such a session may last.
const GONE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Lines of a log that are shown.
const LINES: usize = 3;

/// A binary, what it is told of its surroundings, and where its logs go.
#[derive(Debug, Clone)]
pub struct Operator {
    pub program: PathBuf,
    pub env: Vec<(&'static str, String)>,
    /// Each run writes a file of its own below it.
    pub folder: PathBuf,
    pub service: &'static str,
}

/// A verb that runs; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    what: String,
}

/// How a verb ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// None if it was killed.
    pub code: Option<i32>,
    /// What it printed; null if that is no JSON.
    pub report: Value,
    /// The last lines of its log, if it failed.
    pub words: String,
}

impl Operator {
    /// Starts it, with its report as JSON.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(&self, args: &[&str]) -> anyhow::Result<Running> {
        let log = self.folder.join(format!("{}-{}.log", self.service, uuid::Uuid::now_v7().simple()));
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let what = format!("{} {}", self.service, args.join(" "));
        let mut command = Command::new(&self.program);
        command.args(args).args(["--output", "json"]).envs(self.env.iter().cloned()).kill_on_drop(true).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let child = command.spawn().with_context(|| format!("starting `{what}`"))?;
        Ok(Running { child, log, what })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it doesn't start, or doesn't end in time.
    pub async fn run(&self, args: &[&str]) -> anyhow::Result<Ended> {
        self.start(args)?.end().await
    }

    /// Runs it to its end, again if the session of one that was killed is still there.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_after_a_kill(&self, args: &[&str]) -> anyhow::Result<Ended> {
        let until = tokio::time::Instant::now() + GONE;
        loop {
            let ended = self.run(args).await?;
            if !ended.words.contains(BUSY) || tokio::time::Instant::now() > until {
                return Ok(ended);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Running {
    /// Its process id, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it doesn't end in time.
    pub async fn end(self) -> anyhow::Result<Ended> {
        let Self { child, log, what } = self;
        let Ok(ended) = tokio::time::timeout(LIMIT, child.wait_with_output()).await else {
            bail!("`{what}` didn't end within {} s; its log is {}", LIMIT.as_secs(), log.display());
        };
        let ended = ended.with_context(|| format!("waiting for `{what}`"))?;
        let words = if ended.status.success() { String::new() } else { tail(&log) };
        Ok(Ended { code: ended.status.code(), report: serde_json::from_slice(&ended.stdout).unwrap_or_default(), words })
    }

    /// Waits until its log has a line with `word`, it has ended, or `limit` is over. Whether the line is there.
    pub async fn says(&mut self, word: &str, limit: Duration) -> bool {
        let until = tokio::time::Instant::now() + limit;
        loop {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            if read(&self.log).contains(word) {
                return true;
            }
            if ended || tokio::time::Instant::now() > until {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Kills it with -9. Whether it ran until then.
    ///
    /// # Errors
    /// When that can't be told.
    pub async fn kill(mut self) -> anyhow::Result<bool> {
        if self.child.try_wait()?.is_some() {
            return Ok(false);
        }
        self.child.kill().await.with_context(|| format!("killing `{}`", self.what))?;
        Ok(true)
    }
}

impl Ended {
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// How it ended, in words.
    pub fn how(&self) -> String {
        let code = self.code.map_or("was killed".to_owned(), |code| format!("ended with {code}"));
        if self.words.is_empty() { code } else { format!("{code}: {}", self.words) }
    }

    /// How many rows differed, of a comparison.
    pub fn differences(&self) -> i64 {
        let tables = self.report.get("tables").and_then(Value::as_array);
        tables.into_iter().flatten().filter_map(|table| table.get("different")?.as_i64()).sum()
    }
}

fn read(log: &Path) -> String {
    std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn tail(log: &Path) -> String {
    let text = read(log);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join(" | ")
}
