//! The stage's folder, and what a run has in it:
//!
//! ```text
//! .stage/lock            held while a run is set up or swept
//! .stage/jars-<hash>/    Kafka and the registry, shared by all runs; `jars-<name>-<hash>/` for those of a pom of others'
//! .stage/mailpit-<version>/ the mail catcher, built by `scripts/install --mail`
//! .stage/restate-<version>/ the benchmarks' peer, got and built by `scripts/restate`
//! .stage/logs/run-<pid>/ one log per part; those of the last runs stay, `logs/latest` is the newest
//! .stage/run-<pid>/      removed at the end:
//!     owner              locked by the process that owns the run: no lock, no owner
//!     processes          "<pid> <start time> <part>" a line
//!     ports              the ports given to this run
//!     keep               there if the data are to stay
//!     kafka-1/ …         a folder for each part
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{At, Error};
use crate::process::table::Identity;
use crate::runs::{lock, remove, runs};

/// How many runs' logs stay.
const LOGS_KEPT: usize = 5;

/// What to start, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kafka brokers: 1, or 3 for fault tests, or 0 for none.
    pub brokers: u8,
    /// Whether to start the schema registry.
    pub registry: bool,
    /// Whether to start the mail catcher, which `scripts/install --mail` builds; see [`mail`](crate::mail).
    pub mail: bool,
    /// Whether PostgreSQL writes what logical decoding needs (`wal_level=logical`), which a peer that reads the log wants.
    pub logical: bool,
    /// Whether records have the broker's time, of when it wrote them, instead of the sender's: for measurements that tell both apart.
    pub brokers_time: bool,
    /// The stage's folder, `STAGE_DIR` or else `.stage` at the workspace's root.
    pub dir: PathBuf,
    /// Whether the run's data stay when it ends, until `stage clean`.
    pub keep: bool,
    /// Ports of proxies of the caller's, one a broker, or none. Each broker then listens once more, at [`Stage::behind`](crate::Stage::behind),
    /// and tells the clients that come that way to go on through its proxy.
    pub proxies: Vec<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: 1,
            registry: true,
            mail: false,
            logical: false,
            brokers_time: false,
            dir: default_folder(),
            keep: false,
            proxies: Vec::new(),
        }
    }
}

/// `STAGE_DIR`, or `.stage` beside the pom's `deploy` in a folder above this one, or in the workspace that this was built from.
fn default_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("STAGE_DIR").filter(|f| !f.is_empty()) {
        return PathBuf::from(folder);
    }
    let here = std::env::current_dir().unwrap_or_default();
    let above = here.ancestors().find(|folder| folder.join("deploy/stage/pom.xml").is_file());
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = above.map(Path::to_owned).or_else(|| built.canonicalize().ok()).unwrap_or(here);
    root.join(".stage")
}

/// A run's folder. It stays when this is dropped; see [`Run::end`].
#[derive(Debug)]
pub(crate) struct Run {
    pub folder: PathBuf,
    pub logs: PathBuf,
    ports: Vec<u16>,
    /// Its lock says that the owner lives.
    _owner: File,
}

impl Run {
    /// Sweeps what dead owners left, then makes the folders and takes `ports` free ports.
    pub fn create(options: &Options, ports: usize) -> Result<Self, Error> {
        let dir = &options.dir;
        fs::create_dir_all(dir).at("creating", dir)?;
        let dir = dir.canonicalize().at("resolving", dir)?;
        let _lock = lock(&dir)?;
        crate::sweep::sweep(&dir, crate::sweep::Kept::Spare);
        let name = free_name(&dir);
        let folder = dir.join(&name);
        fs::create_dir(&folder).at("creating", &folder)?;
        let owner = File::create(folder.join("owner")).at("creating", &folder.join("owner"))?;
        owner.try_lock().map_err(io::Error::from).at("locking", &folder.join("owner"))?;
        if options.keep {
            File::create(folder.join("keep")).at("creating", &folder.join("keep"))?;
        }
        let ports = free_ports(&dir, ports)?;
        let list: Vec<String> = ports.iter().map(u16::to_string).collect();
        fs::write(folder.join("ports"), list.join("\n")).at("writing", &folder.join("ports"))?;
        fs::write(folder.join("processes"), "").at("writing", &folder.join("processes"))?;
        let logs = log_folder(&dir, &name)?;
        Ok(Self { folder, logs, ports, _owner: owner })
    }

    /// Hands out one of the ports taken at the start.
    pub fn port(&mut self) -> Result<u16, Error> {
        self.ports.pop().ok_or(Error::Options("more parts than ports"))
    }

    /// Creates a part's folder.
    pub fn part(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).at("creating", &folder)?;
        Ok(folder)
    }

    /// Writes a process down, so that a sweep finds it.
    pub fn record(&self, pid: u32, part: &str) -> Result<(), Error> {
        let Some(identity) = Identity::of(pid) else { return Ok(()) };
        let path = self.folder.join("processes");
        let line = format!("{pid} {} {part}\n", identity.started);
        let file = OpenOptions::new().append(true).open(&path).at("opening", &path);
        file?.write_all(line.as_bytes()).at("writing", &path)
    }

    /// Removes the folder, unless its data are to stay.
    pub fn end(&self) {
        if !self.folder.join("keep").exists() {
            remove(&self.folder);
        }
    }
}

fn free_name(dir: &Path) -> String {
    let pid = std::process::id();
    let mut name = format!("run-{pid}");
    let mut next = 2;
    while dir.join(&name).exists() {
        name = format!("run-{pid}-{next}");
        next += 1;
    }
    name
}

/// Free ports that no other run of the same folder has.
fn free_ports(dir: &Path, count: usize) -> Result<Vec<u16>, Error> {
    let listed = |run: PathBuf| fs::read_to_string(run.join("ports")).unwrap_or_default();
    let mut taken: Vec<u16> =
        runs(dir).into_iter().flat_map(|run| listed(run).lines().filter_map(|l| l.parse().ok()).collect::<Vec<_>>()).collect();
    let others = taken.len();
    for _ in 0..count {
        taken.push(free_port(&taken)?);
    }
    Ok(taken.split_off(others))
}

/// A free port on loopback, other than those that are `taken`, from below the range that the kernel takes for outgoing connections:
/// who is restarted finds the port free, and a client that dials a stopped server can't be connected with itself.
///
/// # Errors
/// When a thousand tries find none.
pub fn free_port(taken: &[u16]) -> Result<u16, Error> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end: u16 = range.split_whitespace().next().and_then(|low| low.parse().ok()).filter(|low| *low > 12_000).unwrap_or(32_768);
    let start = end.saturating_sub(20_000).max(10_000);
    for _ in 0..1_000 {
        let port = start + (uuid::Uuid::new_v4().as_u128() % u128::from(end - start)) as u16;
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Options("no free ports on 127.0.0.1"))
}

/// A new folder for logs, `latest` pointing to it; the oldest go.
fn log_folder(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let all = dir.join("logs");
    let folder = all.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).at("creating", &folder)?;
    let latest = all.join("latest");
    let _ = fs::remove_file(&latest);
    let _ = std::os::unix::fs::symlink(name, &latest);
    let mut old: Vec<(SystemTime, PathBuf)> = runs(&all)
        .into_iter()
        .filter(|logs| logs.file_name().is_some_and(|run| !dir.join(run).exists()))
        .filter_map(|logs| Some((logs.metadata().ok()?.modified().ok()?, logs)))
        .collect();
    old.sort();
    old.reverse();
    for (_, logs) in old.into_iter().skip(LOGS_KEPT - 1) {
        let _ = fs::remove_dir_all(logs);
    }
    Ok(folder)
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    const LINES: usize = 25;
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().rev().take(LINES).collect();
    lines.reverse();
    if lines.is_empty() { "(empty)".into() } else { lines.join("\n") }
}
