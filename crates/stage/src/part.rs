//! One part: how to start it, how to ask it whether it is ready, and how to stop it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::Error;
use crate::folder::{Run, tail};
use crate::process::{Child, Command};

/// The bound of every wait for a part: they need 1–10 s on two cores, and ten times as long where builds run beside them.
const READY: Duration = Duration::from_secs(180);
/// A broker that has lost its quorum takes long to give up.
const STOP: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// Asks a part whether it serves; `Err` says why not yet. Bounded to about 2 s each time.
pub(crate) type Ask = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A part of the stage, running or not.
pub(crate) struct Part {
    pub name: String,
    command: Command,
    ask: Ask,
    /// The polite signal: data on disk, no work lost.
    stop: Signal,
    /// For a part whose data are thrown away with it.
    discard: Signal,
    child: Mutex<Option<Child>>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("name", &self.name).field("child", &self.child).finish_non_exhaustive()
    }
}

impl Part {
    pub fn new(name: &str, command: Command, ask: Ask) -> Self {
        Self { name: name.into(), command, ask, stop: Signal::TERM, discard: Signal::KILL, child: Mutex::new(None) }
    }

    pub fn signals(mut self, stop: Signal, discard: Signal) -> Self {
        self.stop = stop;
        self.discard = discard;
        self
    }

    /// Starts it and returns when it serves. `given_up` ends the wait early.
    pub fn start(&self, run: &Run, given_up: &AtomicBool) -> Result<(), Error> {
        let begun = Instant::now();
        {
            let mut child = self.child();
            if child.as_ref().is_some_and(Child::is_running) {
                return Ok(());
            }
            let started = child.insert(self.command.spawn()?);
            run.record(started.pid(), &self.name)?;
        }
        let mut answer = String::from("was not asked");
        while begun.elapsed() < READY {
            if given_up.load(Ordering::Relaxed) {
                return Err(Error::GivenUp { part: self.name.clone() });
            }
            // Not in the `match` itself: it would hold the lock, which telling of a failure takes again.
            let status = self.child().as_ref().map(Child::exit_status);
            match status {
                Some(None) => {}
                Some(Some(status)) => return Err(self.failed(format!("ended before it was ready ({status})"))),
                None => return Err(self.failed("was stopped before it was ready".into())),
            }
            match (self.ask)() {
                Ok(()) => {
                    eprintln!("stage: {} is ready after {:.1} s", self.name, begun.elapsed().as_secs_f64());
                    return Ok(());
                }
                Err(why) => answer = why,
            }
            std::thread::sleep(LOOK);
        }
        Err(self.failed(format!("was not ready within {} s ({answer})", READY.as_secs())))
    }

    fn failed(&self, what: String) -> Error {
        let log = self.child().as_ref().and_then(|c| c.log().map(Path::to_owned)).unwrap_or_default();
        Error::NotReady { part: self.name.clone(), what, tail: tail(&log), log }
    }

    /// Stops it in order; its data are whole afterwards.
    pub fn stop(&self) {
        if let Some(child) = self.child().take() {
            child.stop_with(self.stop, STOP);
        }
    }

    /// Stops it as fast as leaves nothing behind in the system; its data are worth nothing afterwards.
    pub fn discard(&self) {
        if let Some(child) = self.child().take() {
            child.stop_with(self.discard, STOP);
        }
    }

    /// Kills it and its children at once: the crash.
    pub fn kill(&self) {
        if let Some(child) = self.child().take() {
            child.kill();
        }
    }

    pub fn pause(&self) {
        if let Some(child) = self.child().as_ref() {
            child.pause();
        }
    }

    pub fn resume(&self) {
        if let Some(child) = self.child().as_ref() {
            child.resume();
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().filter(|c| c.is_running()).map(Child::pid)
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a preparing step of a part (`initdb`, formatting) to its end; its output goes to the part's log.
pub(crate) fn prepare(step: &Command, run: &Run, name: &str, log: &Path) -> Result<(), Error> {
    let failed = |what| Error::NotReady { part: name.into(), what, log: log.to_owned(), tail: tail(log) };
    let child = step.spawn()?;
    run.record(child.pid(), name)?;
    match child.wait(READY) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(failed(format!("could not be prepared ({status})"))),
        None => Err(failed(format!("was not prepared within {} s", READY.as_secs()))),
    }
}

/// One HTTP request; anything but 200 is an error. A client would bring TLS along, which nobody needs here.
pub(crate) fn get(port: u16, path: &str) -> Result<(), String> {
    const LIMIT: Duration = Duration::from_secs(2);
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 64];
        let read = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    let answer = ask().map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer.lines().next().unwrap_or("no answer").to_owned()) }
}
