//! The middleware around a service's routes.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::FutureExt as _;
use listener::Seen;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

use crate::config::Http;
use crate::participant::problem::Problem;
use crate::service::http::{Checks, address, body, headers};
use crate::service::metrics;
use crate::service::telemetry;
use crate::wire::traceparent::new_traceparent;

/// The request's trace context, as an extension: the caller's, or a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traceparent(pub String);

#[derive(Clone)]
struct Limits {
    slots: Arc<Semaphore>,
    /// Bodies that are coming: apart from the slots, so that who sends slowly takes none of them.
    coming: Arc<Semaphore>,
    body: usize,
    time: Duration,
}

/// `routes` with the limits, problems and metrics of the module's description.
pub fn around(routes: Router, http: &Http) -> Router {
    let semaphore = || Arc::new(Semaphore::new(http.max_in_flight.min(Semaphore::MAX_PERMITS)));
    let limits = Limits { slots: semaphore(), coming: semaphore(), body: http.body_limit, time: http.request_timeout };
    routes
        .method_not_allowed_fallback(async || Problem::new(405, "method-not-allowed", "method not allowed; see Allow"))
        .fallback(async |request: Request| Problem::not_found(format!("no resource at {}", request.uri().path())))
        .layer(DefaultBodyLimit::max(http.body_limit))
        .layer(middleware::from_fn_with_state(limits, pass))
}

/// The whole interface: `/healthz`, `/readyz`, `/metrics`, `/openapi.json`, and, once it is set, what [`around`] gave. Until
/// then the service's own addresses answer that they aren't ready.
pub fn service(checks: Checks, openapi: Option<String>, business: Arc<OnceLock<Router>>) -> Router {
    let readiness = checks.clone();
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || (&readiness).into_response()))
        .route("/metrics", get(async || ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], telemetry::render())));
    let router = match openapi {
        Some(json) => {
            router.route("/openapi.json", get(async move || ([(header::CONTENT_TYPE, "application/json")], json.clone())))
        }
        None => router,
    };
    router.fallback(async move |request: Request| match business.get() {
        Some(routes) => match routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => not_ready(&checks).into_response(),
    })
}

fn not_ready(checks: &Checks) -> Problem {
    let waiting: Vec<&str> = checks.list().iter().filter(|c| !c.ok && c.required).map(|c| c.name).collect();
    Problem::unavailable(format!("the service is starting; waiting for: {}", waiting.join(", ")), 1)
}

async fn pass(State(limits): State<Limits>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = known(request.method());
    let span = trace(&mut request, method, &route);
    let mut response = body::reworded(limited(&limits, request, next).instrument(span).await).await;
    let status = response.status().as_u16();
    if status == 503 && !response.headers().contains_key(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    tracing::debug!(method, route, status, micros = began.elapsed().as_micros() as u64, "request"); // 580,000 years fit
    metrics::REQUESTS.add(1, [method.into(), route.clone().into(), status.to_string().into()]);
    metrics::REQUESTS_SECONDS.record(began.elapsed(), [route.into()]);
    response
}

async fn limited(limits: &Limits, request: Request, next: Next) -> Response {
    if let Err(problem) = address::check(request.uri()) {
        return problem.into_response();
    }
    if limits.slots.available_permits() == 0 {
        return shed().into_response();
    }
    let request = match whole(limits, request).await {
        Ok(request) => request,
        Err(problem) => return problem.into_response(),
    };
    let Ok(_slot) = limits.slots.try_acquire() else { return shed().into_response() };
    match tokio::time::timeout(limits.time, AssertUnwindSafe(next.run(request)).catch_unwind()).await {
        Ok(Ok(response)) => response,
        // The panic hook has logged it.
        Ok(Err(_)) => Problem::new(500, "internal", "internal error; an operator has been notified").into_response(),
        Err(_) => {
            let detail = format!(
                "not completed within {} s; it may still complete. Send it again with the same Idempotency-Key",
                limits.time.as_secs_f32()
            );
            Problem::unavailable(detail, 1).into_response()
        }
    }
}

fn shed() -> Problem {
    metrics::REQUESTS_SHED.add(1, []);
    Problem::unavailable("too many requests in flight; try again", 1)
}

/// The request with its body read.
async fn whole(limits: &Limits, request: Request) -> Result<Request, Problem> {
    body::encoding(request.headers())?;
    // A size that is announced is judged before anything is read; one that isn't, while reading.
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|size| size > limits.body) {
        return Err(body::too_large());
    }
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let Ok(_coming) = limits.coming.try_acquire() else { return Err(shed()) };
    let (parts, body) = request.into_parts();
    Ok(Request::from_parts(parts, body::whole(body, limits.body).await?.into()))
}

/// How long callers may take, as `http` says.
pub(crate) fn limits(http: &Http) -> listener::Limits {
    // There from the beginning, so that a rate knows where it began.
    [SLOW, CROWDED, REFUSED].into_iter().for_each(|why| closed(why).absolute(0));
    listener::Limits {
        head: http.head_timeout,
        body: http.body_timeout,
        idle: http.idle_timeout,
        connections: http.max_connections,
        seen,
        ..listener::Limits::default()
    }
}

const SLOW: &str = "slow";
const CROWDED: &str = "crowded";
const REFUSED: &str = "refused";

/// Connections that this side closed.
fn closed(why: &'static str) -> ::metrics::Counter {
    metrics::CONNECTIONS_CLOSED.of([why.into()])
}

fn seen(what: Seen) {
    let why = match what {
        Seen::Opened => return metrics::CONNECTIONS.of([]).increment(1),
        Seen::Ended => None,
        Seen::Slow => Some(SLOW),
        Seen::Crowded => Some(CROWDED),
        Seen::Refused => Some(REFUSED),
    };
    if what != Seen::Refused {
        metrics::CONNECTIONS.of([]).decrement(1);
    }
    if let Some(why) = why {
        closed(why).increment(1);
    }
}

/// A method for a label: callers may invent methods, and each would be a time series.
fn known(method: &Method) -> &'static str {
    let all = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    all.into_iter().find(|m| *m == method.as_str()).unwrap_or("other")
}

/// The request's span. Gives the request that span's trace context; without export the one that it came with, or a new one.
fn trace(request: &mut Request, method: &'static str, route: &str) -> Span {
    let callers = headers::traceparent(request.headers());
    let (span, context) = crate::engine::trace::request(method, route, callers.as_deref());
    let text = context.or(callers).unwrap_or_else(new_traceparent);
    if let Ok(value) = HeaderValue::from_str(&text) {
        request.headers_mut().insert("traceparent", value);
    }
    request.extensions_mut().insert(Traceparent(text));
    span
}
