//! What this runs on, and what a process has used.

use std::fs::{read_to_string, write};

use anyhow::Context as _;
use sqlx::Connection as _;

/// Its version is that of the broker.
const STAGE_POM: &str = include_str!("../../../deploy/stage/pom.xml");

/// CPU model, cores, memory.
pub fn describe() -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m.to_owned()));
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let gib = kib.unwrap_or(0) / 1024 / 1024;
    format!("{cores} cores of {}, {gib} GiB, release build", model.unwrap_or_else(|| "an unknown CPU".to_owned()))
}

/// The kit's.
pub fn kit_version() -> String {
    format!("farandole {}", env!("CARGO_PKG_VERSION"))
}

/// The kit's and the parts' versions: of the stage's broker, of the server at `postgres`, of the client library.
pub async fn versions(postgres: &str) -> anyhow::Result<String> {
    let mut conn = sqlx::PgConnection::connect(postgres).await.context("asking PostgreSQL for its version")?;
    let server: String = sqlx::query_scalar("show server_version").fetch_one(&mut conn).await?;
    let number = server.split_whitespace().next().unwrap_or_default();
    let kafka = between(STAGE_POM, "<kafka.version>", "</").unwrap_or("?");
    let client = rdkafka::util::get_rdkafka_version().1;
    Ok(format!("{}, PostgreSQL {number}, Apache Kafka {kafka}, librdkafka {client}", kit_version()))
}

/// What is between the first `from` and the next `to`.
pub fn between<'t>(text: &'t str, from: &str, to: &str) -> Option<&'t str> {
    text.split_once(from)?.1.split_once(to).map(|(found, _)| found)
}

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU time of all its threads, user and system, in seconds.
    pub cpu_s: f64,
    /// The most memory that it ever had resident, in MB; since [`forget_peak`] if it was called.
    pub peak_mb: f64,
}

/// What this process has used.
///
/// # Errors
/// When `/proc` doesn't say.
pub fn own_usage() -> anyhow::Result<Usage> {
    usage("self")
}

/// What the process of this number has used. It must be running: a number that nobody has is an error, never 0.
///
/// # Errors
/// When `/proc` doesn't say.
pub fn usage_of(pid: u32) -> anyhow::Result<Usage> {
    usage(&pid.to_string())
}

fn usage(process: &str) -> anyhow::Result<Usage> {
    let read = |file| {
        let path = format!("/proc/{process}/{file}");
        read_to_string(&path).with_context(|| format!("reading {path}"))
    };
    let (cpu_s, peak_mb) = (cpu_seconds(&read("stat")?, OWN), peak_mb(&read("status")?));
    let (Some(cpu_s), Some(peak_mb)) = (cpu_s, peak_mb) else {
        anyhow::bail!("/proc/{process} names no CPU time or no peak of memory: has the process ended?")
    };
    Ok(Usage { cpu_s, peak_mb })
}

/// CPU time that this thread has used, in nanoseconds.
///
/// # Errors
/// When `/proc` doesn't say.
pub fn thread_nanos() -> anyhow::Result<u64> {
    let path = "/proc/thread-self/schedstat";
    let text = read_to_string(path).with_context(|| format!("reading {path}"))?;
    text.split_whitespace().next().and_then(|first| first.parse().ok()).with_context(|| format!("{path} holds {text:?}"))
}

/// Where a process's own time stands in `stat`, and that of its children that have ended.
const OWN: usize = 11;
const ENDED: usize = 13;

/// CPU time of the children of this process that have ended, in seconds.
///
/// # Errors
/// When `/proc` doesn't say.
pub fn ended_children(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = read_to_string(&path).with_context(|| format!("reading {path}"))?;
    cpu_seconds(&stat, ENDED).with_context(|| format!("{path} names no CPU time"))
}

/// From the text of `stat`, user and system from field `first` on. The name, in brackets, may contain anything; time is in ticks of a
/// hundredth of a second.
fn cpu_seconds(stat: &str, first: usize) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(first);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / 100.0)
}

/// From the text of `status`.
fn peak_mb(status: &str) -> Option<f64> {
    let kib: f64 = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())?;
    Some(kib / 1024.0)
}

/// Lets this process's peak begin anew, so that each of two sides that share it has its own. What the allocator keeps still counts.
///
/// # Errors
/// When the kernel doesn't let it.
pub fn forget_peak() -> anyhow::Result<()> {
    write("/proc/self/clear_refs", "5").context("resetting the peak of memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 200";
        assert_eq!(cpu_seconds(stat, OWN), Some(3.0));
        assert_eq!(peak_mb("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n"), Some(2.0));
        // A zombie has no memory.
        assert_eq!(peak_mb("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn a_peak_is_forgotten() {
        let before = own_usage().unwrap().peak_mb;
        let big = vec![1_u8; 64 << 20];
        let with = own_usage().unwrap().peak_mb;
        drop(std::hint::black_box(big));
        forget_peak().unwrap();
        let after = own_usage().unwrap().peak_mb;
        assert!(with >= before + 60.0 && after <= with - 60.0, "{before}, {with}, {after} MB");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(usage_of(u32::MAX).is_err());
    }
}
