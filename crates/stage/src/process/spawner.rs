//! The one thread that starts all children, and that lives as long as the process: see the module above.

use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

struct Job {
    command: Command,
    reply: mpsc::Sender<io::Result<Child>>,
}

/// Never dropped, so the thread's loop never ends.
static JOBS: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();

/// Starts `command` from that thread.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let jobs = JOBS.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        // If there is no thread left for it, the channel closes and each send below says so.
        let _ = std::thread::Builder::new().name("stage-spawner".into()).spawn(move || {
            for mut job in jobs {
                let _ = job.reply.send(job.command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let gone = || io::Error::other("the thread that starts processes is not there");
    let (reply, child) = mpsc::channel();
    jobs.lock().unwrap_or_else(PoisonError::into_inner).send(Job { command, reply }).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
