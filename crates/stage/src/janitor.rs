//! A shell that waits for the owner to die, then kills what the kernel's signal has missed and removes the run's folder.
//!
//! It holds the reading end of a pipe of which the owner holds the other: end of file means that the owner is dead, however it died.
//! It is needed because a process that is killed, or a test binary that simply ends, removes no folders.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::error::{At, Error};

/// `$1` is the run's folder. PostgreSQL has had its signal from the kernel and gets 6 s to free its shared memory; the others are killed.
/// Field 22 of `/proc/<pid>/stat`, the start time, is the 20th behind the name, the first is the state.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r word && exit 0
try=0
while [ $try -lt 70 ]; do
  left=
  while read -r pid start part; do
    fields=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) || continue
    set -- "$1" $fields
    [ "$2" != Z ] && [ "${21}" = "$start" ] || continue
    left=yes
    [ "$part" = postgres ] && [ $try -lt 60 ] || kill -KILL "$pid"
  done < "$1/processes"
  [ "$left" ] || break
  try=$((try + 1))
  sleep 0.1
done
[ -e "$1/keep" ] || rm -rf "$1"
"#;

/// The running janitor of one run.
#[derive(Debug)]
pub(crate) struct Janitor(Mutex<Child>);

impl Janitor {
    /// Starts it, with no parent-death signal and in its own process group: it must outlive the owner.
    pub fn start(run: &Path) -> Result<Self, Error> {
        let mut line = Command::new("/bin/sh");
        line.args(["-c", SCRIPT, "stage-janitor"]).arg(run).current_dir("/");
        line.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = line.spawn().at("starting the janitor of", run)?;
        Ok(Self(Mutex::new(child)))
    }

    /// Sends it home: the run was stopped in order.
    pub fn dismiss(&self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut pipe) = child.stdin.take() {
            let _ = pipe.write_all(b"stopped\n");
        }
        let _ = child.wait();
    }
}
