//! Who can be harmed, and how: what a user describes of their own system.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;
use stage::Stage;
use stage::process::{Child, Command};

use crate::plan::{Harm, Shape};

/// How long a process may take to stop when told to; then it is killed.
const STOP: Duration = Duration::from_secs(25);

/// Something that can be harmed and mended. Both calls may block; both must be harmless when repeated.
pub trait Subject: Send + Sync {
    /// Begins `harm`.
    ///
    /// # Errors
    /// When it can't be done.
    fn strike(&self, harm: Harm) -> anyhow::Result<()>;

    /// Ends `harm`.
    ///
    /// # Errors
    /// When it can't be done: the system isn't what it was.
    fn mend(&self, harm: Harm) -> anyhow::Result<()>;

    /// Asked several times a second: what has gone wrong with it although nobody harmed it. It should heal itself.
    fn look(&self) -> Option<String> {
        None
    }
}

/// A subject, and what the plan needs to know of it.
#[derive(Clone)]
pub struct Target {
    /// Name, group and harms.
    pub shape: Shape,
    /// What is harmed.
    pub subject: Arc<dyn Subject>,
}

impl Target {
    /// `subject` under the name, group and harms of `shape`.
    pub fn new(shape: Shape, subject: Arc<dyn Subject>) -> Self {
        Self { shape, subject }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shape.fmt(f)
    }
}

/// A process of the system's, started here and killed when this is dropped. One that ends by itself is started again, as a
/// supervisor would, and told of.
#[derive(Debug)]
pub struct Process {
    command: Command,
    state: Mutex<Option<Child>>,
}

impl Process {
    /// A process that isn't started yet: a spare one stays so until it joins.
    pub fn new(command: Command) -> Self {
        Self { command, state: Mutex::default() }
    }

    /// Starts it, if it doesn't run.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(&self) -> anyhow::Result<()> {
        let mut state = self.lock();
        if !state.as_ref().is_some_and(Child::is_running) {
            *state = Some(self.command.spawn()?);
        }
        Ok(())
    }

    /// Tells it to stop, and kills it if it doesn't. Blocks.
    pub fn stop(&self) {
        let child = self.lock().take();
        if let Some(child) = child {
            child.stop(STOP);
        }
    }

    /// Kills it.
    pub fn kill(&self) {
        let child = self.lock().take();
        if let Some(child) = child {
            child.kill();
        }
    }

    /// Starts it beside the watch: its end is the caller's to see.
    pub(crate) fn attempt(&self) -> anyhow::Result<Child> {
        Ok(self.command.spawn()?)
    }

    /// Its process id, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.lock().as_ref().filter(|child| child.is_running()).map(Child::pid)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subject for Process {
    fn strike(&self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            Harm::Kill => self.kill(),
            Harm::Stop => self.stop(),
            Harm::Pause => self.lock().iter().for_each(Child::pause),
            Harm::Join | Harm::JoinAndDie => self.start()?,
            _ => bail!("a process can't be {harm}"),
        }
        Ok(())
    }

    fn mend(&self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            Harm::Pause => self.lock().iter().for_each(Child::resume),
            Harm::Join => self.stop(),
            Harm::JoinAndDie => self.kill(),
            _ => self.start()?,
        }
        Ok(())
    }

    fn look(&self) -> Option<String> {
        let mut state = self.lock();
        let status = state.as_ref()?.exit_status()?;
        let name = state.as_ref().map(|child| child.name().to_owned()).unwrap_or_default();
        let log = state.as_ref().and_then(|child| child.log().map(|log| log.display().to_string())).unwrap_or_default();
        let again = match self.command.spawn() {
            Ok(child) => {
                *state = Some(child);
                "started again".to_owned()
            }
            Err(error) => {
                *state = None;
                format!("not started again: {error}")
            }
        };
        Some(format!("{name} ended by itself ({status}), {again}; its log is {log}"))
    }
}

/// A part of the stage: a broker, PostgreSQL, the registry.
#[derive(Debug)]
pub struct Part {
    stage: Arc<Stage>,
    name: String,
}

impl Part {
    /// The part of this name.
    pub fn new(stage: &Arc<Stage>, name: &str) -> Self {
        Self { stage: Arc::clone(stage), name: name.to_owned() }
    }
}

impl Subject for Part {
    fn strike(&self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            Harm::Kill => self.stage.kill_part(&self.name)?,
            Harm::Stop => self.stage.stop_part(&self.name)?,
            Harm::Abort => self.stage.abort_part(&self.name)?,
            Harm::Pause => self.stage.pause(&self.name)?,
            _ => bail!("a part of the stage can't be {harm}"),
        }
        Ok(())
    }

    fn mend(&self, harm: Harm) -> anyhow::Result<()> {
        match harm {
            Harm::Pause => self.stage.resume(&self.name)?,
            _ => self.stage.start_part(&self.name)?,
        }
        Ok(())
    }
}
