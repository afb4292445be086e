//! What this runs on, and what this process has used.

use std::fs::read_to_string;

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

/// CPU time of this process, user and system, in seconds.
pub fn cpu_seconds() -> f64 {
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// The most memory that this process ever had, in MB.
pub fn peak_mb() -> f64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
