//! Logs to standard error, metrics for `/metrics`, panics as log lines.
//!
//! Nothing is sent anywhere: a collector reads both. Both are once a process; a second call leaves the first in place.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Format, Log};

/// From a query in memory to a request that times out.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// For sizes of batches, the only other histograms.
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 2000.0];
/// Linux counts a process's processor time in hundredths of a second, whatever the kernel's own tick (`USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Sets up logging, and that a panic is a log line. A filter that can't be read counts as `info`; the configuration has
/// checked it before.
pub fn init(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that the caller has set up its own, which stands.
    let _ = match log.format {
        Format::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        Format::Text => builder.with_ansi(std::env::var_os("NO_COLOR").is_none()).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        metrics::counter!("farandole_panics_total").increment(1);
        tracing::error!(message, location, thread, "panic");
    }));
}

/// The process's metrics; sets up their recorder at the first call.
pub fn recorder() -> &'static PrometheusHandle {
    METRICS.get_or_init(|| {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new();
        // Only an empty list is refused, and neither is.
        let builder = builder.set_buckets_for_metric(seconds, &SECONDS).unwrap_or_else(|_| PrometheusBuilder::new());
        let builder = builder.set_buckets(&COUNTS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics are recorded by another recorder; /metrics shows none of them");
        }
        metrics::describe_gauge!("process_resident_memory_bytes", "Resident memory.");
        metrics::describe_gauge!("process_cpu_seconds_total", "Processor time used, user and system.");
        metrics::describe_counter!("farandole_http_requests_total", "Requests, by route and status.");
        metrics::describe_histogram!("farandole_http_requests_seconds", "Time from a request to its answer, by route.");
        handle
    })
}

/// All metrics, in Prometheus' text format.
pub fn render() -> String {
    if let Some(bytes) = resident_bytes() {
        metrics::gauge!("process_resident_memory_bytes").set(bytes);
    }
    if let Some(seconds) = cpu_seconds() {
        metrics::gauge!("process_cpu_seconds_total").set(seconds);
    }
    recorder().render()
}

/// `None` where there is no `/proc`.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; fields are counted from behind it. utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_process_is_measured() {
        let text = super::render();
        assert!(super::resident_bytes().is_none_or(|b| b > 100_000.0), "{text}");
        assert!(super::cpu_seconds().is_none_or(|s| s >= 0.0));
    }
}
