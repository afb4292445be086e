//! What an operator sees: one trace from a request to the acquirer, spans at a collector, metrics as documented.

mod collector;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};

use demo::shop::CORE;

use self::collector::{Collector, Span};
use crate::kit::{self, Own, order};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLERS_SPAN: &str = "b7ad6b7169203331";

fn traceparent() -> String {
    format!("00-{TRACE}-{CALLERS_SPAN}-01")
}

/// Places an order as part of our trace, and gives its id.
async fn place_traced(own: &Own) -> String {
    let request = own.client.post(format!("{}/orders", own.shop.url("orders"))).header("Content-Type", "application/json");
    let body = order("11111", 1, "tok_a").to_string();
    let answer = request.header("traceparent", traceparent()).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let body: serde_json::Value = answer.json().await.unwrap();
    body["order_id"].as_str().unwrap().to_owned()
}

/// All records of `key` in the topic of `service`: type and trace context.
async fn told(own: &Own, service: &str, key: &str) -> Vec<(String, Option<String>)> {
    let of_key = crate::records::of_key(own, service, key).await.into_iter();
    let of_key = of_key.filter(|record| record.key.as_deref() == Some(key.as_bytes()));
    of_key.map(|record| (record.kind().unwrap().to_owned(), record.header("traceparent").map(str::to_owned))).collect()
}

type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// What stands before the acquirer: notes path and trace context of each request, and passes it on.
async fn listening(acquirer: String) -> (String, Seen) {
    let seen = Seen::default();
    let pass = async |State((to, seen)): State<(String, Seen)>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let traceparent = headers.get("traceparent").map(|v| v.to_str().unwrap().to_owned());
        seen.lock().unwrap().push((uri.path().to_owned(), traceparent));
        let mut request = reqwest::Client::new().request(method, format!("{to}{uri}")).body(body);
        for name in ["content-type", "idempotency-key"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
        (status, [("content-type", kind)], answer.bytes().await.unwrap())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state((acquirer, seen.clone()));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, seen)
}

/// Without a collector the caller's trace context goes through unchanged: fails when outbox, intake or agenda drop it.
#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_the_request_to_the_acquirer() {
    let mut own = kit::closed(kit::parts().await);
    own.shop.start_standins().await.unwrap();
    let (address, seen) = listening(own.shop.url("acquirer")).await;
    own.shop.settings.push(("payments", "FARANDOLE_OWN_ACQUIRER_URL", address));
    own.start().await;
    own.receive("11111", 10).await;
    let id = place_traced(&own).await;
    let other = own.place("11111", 1, "tok_a").await;
    own.until(&id, "confirmed").await;
    own.until(&other, "confirmed").await;

    let ours = Some(traceparent());
    for (service, kinds) in [
        ("orders", &["orders.OrderPlaced", "orders.OrderConfirmed"][..]),
        ("inventory", &["inventory.StockReserved"]),
        ("payments", &["payments.PaymentExpected", "payments.PaymentRequested", "payments.PaymentAuthorised"]),
    ] {
        let events = told(&own, service, &id).await;
        for kind in kinds {
            let its = events.iter().find(|(name, _)| *name == format!("farandole.{kind}"));
            assert_eq!(its.map(|(_, traceparent)| traceparent), Some(&ours), "{kind} in {events:?}");
        }
        let others = told(&own, service, &other).await;
        assert!(others.iter().all(|(_, traceparent)| traceparent.as_ref().is_some_and(|t| !t.contains(TRACE))), "{others:?}");
    }
    let calls = seen.lock().unwrap().clone();
    let traced: Vec<_> = calls.iter().filter(|(_, traceparent)| *traceparent == ours).collect();
    // More than one if an answer was late.
    assert!(!traced.is_empty() && traced.iter().all(|(path, _)| path == "/authorisations"), "{calls:?}");
    assert!(calls.len() > traced.len(), "the other order's call is of another trace: {calls:?}");
}

/// Spans arrive at a collector, in the request's trace, and the last ones at the service's end: fails when the exporter isn't shut
/// down, since by itself it sends once in ten minutes here.
#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_in_the_trace_of_the_request() {
    let collector = Collector::start().await;
    let mut own = kit::closed(kit::parts().await);
    for service in CORE {
        own.shop.settings.push((service, "FARANDOLE_OTLP_ENDPOINT", collector.url.clone()));
        own.shop.settings.push((service, "FARANDOLE_OTLP_LEVEL", "info,farandole=debug".to_owned()));
        own.shop.settings.push((service, "OTEL_BSP_SCHEDULE_DELAY", "600000".to_owned()));
    }
    own.shop.start_standins().await.unwrap();
    own.start().await;
    own.receive("11111", 10).await;
    let id = place_traced(&own).await;
    own.until(&id, "confirmed").await;
    for service in CORE {
        own.shop.end(service).await;
    }
    let spans = collector.spans();
    let of = |service: &str, name: &str| -> Vec<&Span> {
        spans.iter().filter(|s| s.service == service && s.name == name && s.trace == TRACE).collect()
    };
    let requests = of("orders", "request");
    assert_eq!(requests.len(), 1, "{spans:#?}");
    assert_eq!((requests[0].parent.as_str(), requests[0].attribute("route")), (CALLERS_SPAN, Some("/orders")));
    // Every event is under the request's span, wherever it was made, and links to the batch that stored it.
    for (service, kinds) in [
        ("orders", &["orders.OrderPlaced", "orders.OrderConfirmed"][..]),
        ("inventory", &["inventory.StockReserved"]),
        ("payments", &["payments.PaymentExpected", "payments.PaymentRequested", "payments.PaymentAuthorised"]),
    ] {
        let events = of(service, "event");
        for kind in kinds {
            let kind = format!("farandole.{kind}");
            let its: Vec<_> = events.iter().filter(|s| s.attribute("kind") == Some(&kind)).collect();
            // More than one if a batch had to be run again.
            assert!(its.first().is_some_and(|one| one.attribute("aggregate") == Some(&id)), "{kind} in {events:#?}");
            let batches = spans.iter().filter(|s| s.service == service && s.name == "batch");
            let linked: Vec<_> =
                batches.filter(|batch| its[0].links.contains(&(batch.trace.clone(), batch.id.clone()))).collect();
            assert_eq!(linked.len(), 1, "{kind} links to no batch: {:#?}", its[0]);
            assert!(linked[0].links.iter().any(|(trace, _)| trace == TRACE), "the batch doesn't link to the cause: {linked:#?}");
            assert_ne!(linked[0].trace, TRACE, "a batch serves many traces and belongs to none");
        }
    }
    let calls = of("payments", "effect");
    assert!(calls.first().is_some_and(|one| one.attribute("target_name") == Some("acquirer")), "{calls:#?}");
    let contexts = told(&own, "payments", &id).await;
    let under = format!("00-{TRACE}-{}-01", requests[0].id);
    assert!(contexts.iter().all(|(_, t)| t.as_deref().is_some_and(|t| t == under || t.contains(TRACE))), "{contexts:?}");
    assert_eq!(told(&own, "orders", &id).await[0].1, Some(under));
}

/// Type and labels of every metric of the documented table.
fn documented() -> BTreeMap<&'static str, (&'static str, BTreeSet<String>)> {
    let rows = include_str!("../../../farandole/src/service/telemetry/metrics.md").lines().skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let labels = cells[3].split(',').map(|label| label.trim().trim_matches('`').to_owned()).filter(|label| !label.is_empty());
        (cells[0].trim_matches('`'), (cells[1], labels.collect()))
    })
    .collect()
}

/// Name, labels and value of a line of Prometheus' text format; the parts of a histogram under its name.
fn sample(line: &str, types: &BTreeMap<String, String>) -> (String, BTreeSet<String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    let name = base.filter(|base| types.get(*base).is_some_and(|t| t == "histogram")).unwrap_or(name);
    let labels = labels.trim_end_matches('}').split("\",").filter_map(|l| l.split_once('=')).map(|(l, _)| l.to_owned());
    (name.to_owned(), labels.filter(|l| l != "le").collect(), value.parse().unwrap())
}

/// What the services export is what the table says, and what an operator needs first is there with values that fit.
#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_those_of_the_table() {
    let own = kit::open().await;
    own.receive("11111", 10).await;
    let id = own.place("11111", 1, "tok_a").await;
    own.until(&id, "confirmed").await;
    let table = documented();
    // Recorded when something goes wrong or after a quarter of an hour; the kit's own tests see them.
    let rare = BTreeSet::from([
        "farandole_agenda_deferred_total",
        "farandole_agenda_deadline_lateness_seconds",
        "farandole_agenda_waits_cut_total",
        "farandole_intake_ignored_total",
    ]);
    kit::eventually("every metric", async || {
        let mut seen = BTreeSet::new();
        let mut figures = BTreeMap::new();
        for service in CORE {
            let answer = own.client.get(format!("{}/metrics", own.shop.url(service))).send().await.unwrap();
            let text = answer.text().await.unwrap();
            let typed = |l: &str| l.strip_prefix("# TYPE ")?.split_once(' ').map(|(n, t)| (n.to_owned(), t.to_owned()));
            let types: BTreeMap<String, String> = text.lines().filter_map(typed).collect();
            for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
                let (name, labels, value) = sample(line, &types);
                let (kind, documented) = table.get(name.as_str()).unwrap_or_else(|| panic!("{name} isn't in the table"));
                assert_eq!((types[&name].as_str(), &labels), (*kind, documented), "{line}");
                assert!(text.contains(&format!("# HELP {name} ")), "{name} has no description");
                figures.insert((service, name.clone()), value);
                seen.insert(name);
            }
        }
        let missing: Vec<_> = table.keys().filter(|name| !seen.contains(**name) && !rare.contains(*name)).collect();
        let figure = |service, name: &str| figures.get(&(service, name.to_owned())).copied();
        // All is done, so nothing is behind.
        let quiet = CORE.iter().all(|service| {
            figure(*service, "farandole_intake_lag_records").is_none_or(|lag| lag == 0.0)
                && figure(*service, "farandole_relay_unsent_rows") == Some(0.0)
                && figure(*service, "farandole_relay_active") == Some(1.0)
                && figure(*service, "farandole_parked_keys") == Some(0.0)
        });
        let closed = figure("payments", "farandole_agenda_breaker_state") == Some(0.0);
        let right = missing.is_empty() && quiet && closed;
        if !right {
            eprintln!("missing: {missing:?}; quiet: {quiet}; breaker closed: {closed}");
        }
        right.then_some(())
    })
    .await;
}
