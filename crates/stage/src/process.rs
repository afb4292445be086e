//! Child processes that don't outlive their parent. The stage's parts are such, and so are the services of the demo and of the fault tests.
//!
//! The kernel sends a child its parent-death signal when the *thread* that started it ends. All children are therefore started by one
//! thread, which lives as long as the process; the signal is set by `setpriv` (util-linux), which then becomes the program.
//! A parent that dies in the microseconds before `setpriv` has run leaves its child behind: for the parts the janitor covers that.
//!
//! Waiting here blocks the thread: call [`Child::stop`] and [`Child::wait`] from `spawn_blocking` in async code.

mod spawner;
pub(crate) mod table;

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{At, Error};
use table::Identity;

/// How long what was killed may take to be gone: its memory is given back first.
const GONE: Duration = Duration::from_secs(10);
/// How often that is looked at.
const SOON: Duration = Duration::from_millis(1);
/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `so`, for as long as the kernel may take.
fn soon(so: impl Fn() -> bool) {
    let until = Instant::now() + GONE;
    while !so() && Instant::now() < until {
        std::thread::sleep(SOON);
    }
}

/// A process to start.
#[derive(Debug, Clone)]
pub struct Command {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    log: Option<PathBuf>,
    user: Option<User>,
    death: &'static str,
}

/// Whom a process runs as, when not as its parent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub uid: u32,
    pub gid: u32,
    /// A capability to keep (`dac_read_search`), without which the user would not reach the run's folder.
    pub keep: Option<&'static str>,
}

impl Command {
    /// `program` under a name for messages. Unless [`log`](Self::log) is set it shares the parent's terminal and its process group.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: None,
            log: None,
            user: None,
            death: "KILL",
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Adds environment variables to those of the parent.
    #[must_use]
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, env: impl IntoIterator<Item = (K, V)>) -> Self {
        self.env.extend(env.into_iter().map(|(k, v)| (k.as_ref().to_owned(), v.as_ref().to_owned())));
        self
    }

    /// The working directory; the parent's otherwise.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Appends what it writes to `log` instead, gives it no input, and its own process group: a Ctrl-C in the terminal is its parent's.
    #[must_use]
    pub fn log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// Asks it to stop (SIGTERM) when the parent dies, instead of killing it.
    #[must_use]
    pub fn terminate_on_death(self) -> Self {
        self.death("TERM")
    }

    pub(crate) fn death(mut self, signal: &'static str) -> Self {
        self.death = signal;
        self
    }

    pub(crate) fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// Starts it.
    pub fn spawn(&self) -> Result<Child, Error> {
        let mut line = self.line()?;
        if let Some(log) = &self.log {
            let out = OpenOptions::new().create(true).append(true).open(log).at("opening", log)?;
            let err = out.try_clone().at("opening", log)?;
            line.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        }
        let child = spawner::spawn(line).at("starting", &self.program)?;
        let pid = child.id();
        Ok(Child { name: self.name.clone(), log: self.log.clone(), pid, inner: Mutex::new(child) })
    }

    fn line(&self) -> Result<std::process::Command, Error> {
        let setpriv = find("setpriv").ok_or_else(|| Error::missing("setpriv", "util-linux"))?;
        // `setpriv` would start and then complain in the log; better here, and as an error.
        let there =
            if self.program.components().count() > 1 { self.program.is_file() } else { find_in_path(&self.program).is_some() };
        if !there {
            return Err(std::io::ErrorKind::NotFound.into()).at("starting", &self.program);
        }
        let mut line = std::process::Command::new(&setpriv);
        if let Some(user) = self.user {
            line.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid)).arg("--clear-groups");
            if let Some(keep) = user.keep {
                line.arg(format!("--inh-caps=+{keep}")).arg(format!("--ambient-caps=+{keep}"));
            }
            // A second one: the kernel forgets the signal when the user changes, so it is set after that.
            line.arg("--").arg(&setpriv);
        }
        line.args(["--pdeathsig", self.death, "--"]).arg(&self.program).args(&self.args);
        line.envs(self.env.iter().map(|(k, v)| (k, v)));
        if let Some(folder) = &self.folder {
            line.current_dir(folder);
        }
        Ok(line)
    }
}

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Child {
    name: String,
    log: Option<PathBuf>,
    pid: u32,
    inner: Mutex<std::process::Child>,
}

impl Child {
    /// Starts `program`; what it writes is appended to `log`. [`Command`] has more choices.
    pub fn spawn(
        name: &str,
        program: impl AsRef<Path>,
        args: &[&str],
        env: &[(String, String)],
        log: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        let env = env.iter().map(|(k, v)| (k, v));
        Command::new(name, program.as_ref()).args(args).env(env).log(log.as_ref()).spawn()
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its output goes.
    pub fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// Whether it has not ended; a paused one has not.
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        // An error means that nobody can wait for it any more: it is gone.
        self.inner().try_wait().unwrap_or(Some(ExitStatus::from_raw(0)))
    }

    /// Waits for its end, at most `limit`.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            match self.exit_status() {
                Some(status) => return Some(status),
                None if Instant::now() >= end => return None,
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// SIGTERM, then up to `limit` for it to end, then SIGKILL. The status tells which it was (`status.signal()`).
    pub fn stop(&self, limit: Duration) -> ExitStatus {
        self.stop_with(Signal::TERM, limit)
    }

    pub(crate) fn stop_with(&self, signal: Signal, limit: Duration) -> ExitStatus {
        self.signal(signal);
        self.resume();
        self.wait(limit).unwrap_or_else(|| self.kill())
    }

    /// SIGKILL to it and its children, and waits until all are gone: what they hold of the system, as PostgreSQL's shared memory, is
    /// free then.
    pub fn kill(&self) -> ExitStatus {
        // Stopped first, so that it starts none while its children are counted. That takes the kernel a moment.
        self.signal(Signal::STOP);
        soon(|| !self.is_running() || table::is_stopped(self.pid));
        let children: Vec<Identity> = if self.is_running() { table::descendants(self.pid) } else { Vec::new() }
            .into_iter()
            .filter_map(Identity::of)
            .collect();
        self.signal(Signal::KILL);
        for child in &children {
            send(child.pid, Signal::KILL);
        }
        let status = self.inner().wait().unwrap_or(ExitStatus::from_raw(0));
        soon(|| !children.iter().any(Identity::is_running));
        status
    }

    /// SIGSTOP to it and its children: alive, holding its connections, answering nobody.
    pub fn pause(&self) {
        self.tree(Signal::STOP);
    }

    /// SIGCONT after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.tree(Signal::CONT);
    }

    /// Resident memory in KiB, 0 when it has ended.
    pub fn rss_kb(&self) -> u64 {
        if self.is_running() { table::rss_kb(self.pid) } else { 0 }
    }

    /// Sends it the signal of this number; none if there is no such signal.
    pub fn hand_on(&self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            self.signal(signal);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // The lock is held meanwhile: nobody else reaps it, so the id is still its own.
        let mut inner = self.inner();
        if matches!(inner.try_wait(), Ok(None)) {
            send(self.pid, signal);
        }
    }

    fn tree(&self, signal: Signal) {
        self.signal(signal);
        if self.is_running() {
            for pid in table::descendants(self.pid) {
                send(pid, signal);
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, std::process::Child> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
        }
    }
}

/// Sends a signal; a process that has ended meanwhile is no error.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// A program by its name in PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    find_in_path(Path::new(program))
}

fn find_in_path(program: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
