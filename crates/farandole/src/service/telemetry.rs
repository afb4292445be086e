//! Logs to standard error, metrics for `/metrics`, panics as log lines, spans to a collector if one is named.
//!
//! [`farandole::main`](crate::main) sets all of it up. A program of your own that runs a [`Service`](crate::Service), a
//! [`Reader`](crate::Reader) or a relay calls [`init`] for logs and spans and serves [`render`] as `/metrics`:
//!
//! ```no_run
//! let config = farandole::Config::default();
//! let spans = farandole::telemetry::init("mailing-list", &config.log, &config.otlp);
//! farandole::telemetry::recorder(); // before anything that is measured
//! // … run, and serve this:
//! let metrics: String = farandole::telemetry::render();
//! spans.end();
//! ```
//!
//! Everything here exists once in a process; a second call leaves the first in place.
//!
//! # Metrics
//!
#![doc = include_str!("telemetry/metrics.md")]

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{Format, Log, Otlp};
use crate::ground::metric::{Kind, Metric};
use crate::publish::metrics as relay;
use crate::service::metrics;
use crate::{agenda, consume, engine, parking};

/// From a query in memory to a request that times out.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// For sizes of batches, the only other histograms.
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 2000.0];
/// Linux counts a process's processor time in hundredths of a second, whatever the kernel's own tick (`USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// What sends spans, if anything does.
#[derive(Debug, Default)]
#[must_use = "the last spans are sent by its end"]
pub struct Spans {
    #[cfg(feature = "otlp")]
    exporter: Option<crate::engine::trace::Exporter>,
}

impl Spans {
    /// Sends the spans that are left; waits a few seconds at most. Call it last, outside of any runtime.
    pub fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.end();
        }
    }
}

/// Sets up logging, and that a panic is a log line; and the export of spans under the name `service`. A filter that can't be read
/// counts as `info`; the configuration has checked it before. Not from within a runtime.
pub fn init(service: &'static str, log: &Log, otlp: &Otlp) -> Spans {
    let filter = |level: &str| EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        Format::Text => {
            // In a file or a pipe colours are rubbish between the words.
            lines.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).boxed()
        }
    };
    let registry = tracing_subscriber::registry();
    // An error of `try_init` means that the caller has set up its own, which stands.
    #[cfg(feature = "otlp")]
    let (spans, trouble) = match otlp.endpoint.as_deref().map(|endpoint| crate::engine::trace::Exporter::new(service, endpoint)) {
        Some(Ok(exporter)) => {
            let layer = tracing_opentelemetry::layer().with_tracer(exporter.tracer()).with_location(false);
            let layer = layer.with_filter(asked(filter(&otlp.level)));
            let _ = registry.with(lines.with_filter(asked(filter(&log.level)))).with(layer).try_init();
            (Spans { exporter: Some(exporter) }, None)
        }
        failed => {
            let _ = registry.with(lines).with(filter(&log.level)).try_init();
            (Spans::default(), failed.and_then(Result::err))
        }
    };
    #[cfg(not(feature = "otlp"))]
    let (spans, trouble) = {
        let _ = (service, registry.with(lines).with(filter(&log.level)).try_init());
        (Spans {}, otlp.endpoint.as_ref().map(|_| "this build has no feature `otlp`"))
    };
    if let Some(trouble) = trouble {
        tracing::warn!(trouble, "no spans are exported: check [otlp] in the configuration");
    }
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        metrics::PANICS.add(1, []);
        tracing::error!(message, location, thread, "panic");
    }));
    spans
}

/// `filter`, asked anew for every span and event. Where several layers have filters of their own, a question of a library (sqlx asks
/// whether its queries are to be logged) leaves an answer behind that the next span would take for its own, unless it asks itself:
/// then spans are missing.
#[cfg(feature = "otlp")]
fn asked<S: tracing::Subscriber>(filter: EnvFilter) -> impl tracing_subscriber::layer::Filter<S> {
    use tracing_subscriber::filter::{FilterExt as _, dynamic_filter_fn};
    filter.and(dynamic_filter_fn(|_, _| true))
}

/// Every metric that the kit records.
fn all() -> impl Iterator<Item = &'static Metric> {
    let floors =
        [relay::ALL, consume::metrics::ALL, engine::metrics::ALL, parking::metrics::ALL, agenda::metrics::ALL, metrics::ALL];
    floors.into_iter().flatten()
}

/// Says of each metric what it is; those without labels are there from the beginning, so that a rate knows where it began.
fn describe() {
    for Metric { name, kind, unit, labels, what } in all() {
        let text = format!("{what} Unit: {unit}.");
        match kind {
            Kind::Counter => ::metrics::describe_counter!(*name, text),
            Kind::Gauge => ::metrics::describe_gauge!(*name, text),
            Kind::Histogram => ::metrics::describe_histogram!(*name, text),
        }
        match kind {
            Kind::Counter if labels.is_empty() => ::metrics::counter!(*name).absolute(0),
            Kind::Gauge if labels.is_empty() => ::metrics::gauge!(*name).set(0.0),
            _ => {}
        }
    }
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
        if ::metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; /metrics is empty");
        }
        describe();
        handle
    })
}

/// All metrics, in Prometheus' text format.
pub fn render() -> String {
    if let Some(bytes) = resident_bytes() {
        metrics::PROCESS_RESIDENT_MEMORY_BYTES.set(bytes, []);
    }
    if let Some(seconds) = cpu_seconds() {
        metrics::PROCESS_CPU_SECONDS.set(seconds, []);
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
    use std::collections::BTreeSet;
    use std::path::Path;

    use crate::ground::metric::Kind;

    /// The table is written anew where `WRITE_DOCS` is set.
    #[test]
    fn the_table_is_what_is_declared() {
        let mut table = "| metric | type | unit | labels | what it says |\n|---|---|---|---|---|\n".to_owned();
        for metric in super::all() {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { " ".to_owned() } else { format!(" {} ", labels.join(", ")) };
            table.push_str(&format!("| `{}` | {kind} | {} |{labels}| {} |\n", metric.name, metric.unit, metric.what));
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/service/telemetry/metrics.md");
        if std::env::var_os("WRITE_DOCS").is_some() {
            std::fs::write(&file, &table).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), table, "run this test with WRITE_DOCS=1");
    }

    #[test]
    fn names_end_as_their_types_and_units_say() {
        let names: BTreeSet<&str> = super::all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), super::all().count(), "a metric is there twice");
        for metric in super::all() {
            assert!(!metric.what.is_empty() && !metric.unit.is_empty(), "{metric:?}");
            let counts = metric.kind == Kind::Counter || metric.name == "process_cpu_seconds_total";
            assert_eq!(metric.name.ends_with("_total"), counts, "{metric:?}");
            assert_eq!(metric.name.contains("_seconds"), metric.unit == "seconds", "{metric:?}");
        }
    }

    #[test]
    fn the_process_is_measured() {
        let text = super::render();
        assert!(super::resident_bytes().is_none_or(|b| b > 100_000.0), "{text}");
        assert!(super::cpu_seconds().is_none_or(|s| s >= 0.0));
    }
}
