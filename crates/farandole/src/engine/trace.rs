//! Spans: one a request, one a batch with links to what led to it, one an event at debug, one an attempt at an effect.
//!
//! A request goes on under its caller's `traceparent`, or begins a trace; what follows from it carries that through outbox, Kafka
//! and agenda to the outside world, whether spans are exported or not. A batch serves many traces, so it belongs to none and links to
//! all; the spans of its events belong to the traces of their causes and link to the batch.
//!
//! Without `otlp.endpoint` trace contexts aren't read here at all; what is left is an unused span a request, batch and attempt.

use tracing::Span;

use crate::publish::outbox;

/// The span of a request that came with `traceparent`, and the trace context that what follows from it goes on under, if it isn't
/// the caller's.
#[cfg(feature = "http")]
pub(crate) fn request(method: &'static str, route: &str, traceparent: Option<&str>) -> (Span, Option<String>) {
    let span = tracing::info_span!("request", method, route);
    under(&span, traceparent);
    let context = context(&span);
    (span, context)
}

/// The span of a batch of `inputs` that `causes` (trace contexts) led to.
pub(crate) fn batch<'a>(inputs: usize, causes: impl Iterator<Item = &'a str>) -> Span {
    let span = tracing::info_span!(parent: None, "batch", inputs);
    causes.for_each(|cause| link(&span, cause));
    span
}

/// The spans of a batch's events, to be dropped once they are stored.
pub(crate) fn events(batch: &Span, rows: &[outbox::Row]) -> Vec<Span> {
    let event = |row: &outbox::Row| {
        let span = tracing::debug_span!("event", kind = row.kind, aggregate = row.aggregate, id = %row.id, cause = row.cause);
        if span.is_disabled() {
            return None;
        }
        under(&span, row.traceparent.as_deref());
        span.follows_from(batch);
        Some(span)
    };
    rows.iter().filter_map(event).collect()
}

/// The span of an attempt at an effect, and the trace context to pass on, if it isn't the effect's own.
pub(crate) fn effect(target: &'static str, name: &str, attempt: u32, traceparent: Option<&str>) -> (Span, Option<String>) {
    let span = tracing::info_span!("effect", target_name = target, name, attempt);
    under(&span, traceparent);
    let context = context(&span);
    (span, context)
}

#[cfg(feature = "otlp")]
pub(crate) use exported::Exporter;
#[cfg(feature = "otlp")]
use exported::{context, link, under};

#[cfg(not(feature = "otlp"))]
fn under(_span: &Span, _traceparent: Option<&str>) {}
#[cfg(not(feature = "otlp"))]
fn link(_span: &Span, _cause: &str) {}
#[cfg(not(feature = "otlp"))]
fn context(_span: &Span) -> Option<String> {
    None
}

/// Spans to an OpenTelemetry collector.
#[cfg(feature = "otlp")]
mod exported {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _};
    use opentelemetry::{Context, KeyValue};
    use opentelemetry_otlp::{Protocol, WithExportConfig as _};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use crate::wire::traceparent::is_traceparent;

    /// How long a collector may take to accept spans, and how long the last ones may hold up the end of the process.
    const TIMEOUT: Duration = Duration::from_secs(5);
    /// Links a span: as many as a batch has inputs, and no more.
    const LINKS: u32 = 1_000;

    /// Whether spans go anywhere: otherwise trace contexts aren't read at all.
    static EXPORTS: AtomicBool = AtomicBool::new(false);

    /// What sends spans, a batch at a time, from a thread of its own. When the collector is slower than they come, or away, spans
    /// are lost and nothing waits.
    #[derive(Debug)]
    pub(crate) struct Exporter(SdkTracerProvider);

    impl Exporter {
        /// An exporter to `<endpoint>/v1/traces` by OTLP over HTTP, in protobuf.
        pub(crate) fn new(service: &'static str, endpoint: &str) -> Result<Self, String> {
            let exporter = opentelemetry_otlp::SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
                .with_timeout(TIMEOUT)
                .build()
                .map_err(|e| e.to_string())?;
            let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", service)).build();
            let provider = SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_max_links_per_span(LINKS)
                .with_resource(resource)
                .build();
            EXPORTS.store(true, Ordering::Relaxed);
            Ok(Self(provider))
        }

        pub(crate) fn tracer(&self) -> SdkTracer {
            self.0.tracer("farandole")
        }

        /// Sends what is left. Not from within a runtime.
        pub(crate) fn end(&self) {
            if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
                tracing::warn!(%error, "the last spans could not be exported");
            }
        }
    }

    /// A `traceparent` as the context of a span elsewhere.
    fn remote(traceparent: &str) -> Option<SpanContext> {
        let mut parts = traceparent.split('-').skip(1);
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        Some(SpanContext::new(trace, span, flags, true, TraceState::default()))
    }

    fn wanted(traceparent: &str) -> Option<SpanContext> {
        let exports = EXPORTS.load(Ordering::Relaxed) && is_traceparent(traceparent);
        if exports { remote(traceparent) } else { None }
    }

    /// Puts `span` under the span that `traceparent` names.
    pub(super) fn under(span: &Span, traceparent: Option<&str>) {
        if let Some(parent) = traceparent.and_then(wanted) {
            // An error means that the span isn't exported.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
    }

    /// Links `span` to the span that `cause` names.
    pub(super) fn link(span: &Span, cause: &str) {
        if let Some(cause) = wanted(cause) {
            span.add_link(cause);
        }
    }

    /// `span` as a trace context, if it is exported.
    pub(super) fn context(span: &Span) -> Option<String> {
        if !EXPORTS.load(Ordering::Relaxed) {
            return None;
        }
        let context = span.context();
        let context = context.span().span_context().clone();
        let flags = context.trace_flags().to_u8();
        context.is_valid().then(|| format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_traceparent_is_read_as_it_says() {
            let context = remote("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
            assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
            assert!(context.is_sampled() && context.is_remote());
            assert!(!remote("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().is_sampled());
        }
    }
}
