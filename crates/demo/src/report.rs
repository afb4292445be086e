//! Says what happened.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use uuid::Uuid;

use audit::facts::{End, Facts, Order};
use audit::{Audit, history};

use crate::scripted::Scripted;
use crate::shop::{SERVICES, STANDINS, Shop};

/// What says whether an order is taken.
const SETTLES: [&str; 3] = ["OrderConfirmed", "OrderRejected", "OrderCancelled"];

/// Milliseconds from placed to confirmed over all orders that were, and orders confirmed a second.
struct Speed {
    p50: f64,
    p99: f64,
    orders_per_second: f64,
}

fn speed(facts: &Facts) -> Option<Speed> {
    // Three digits suffice to read; up to an hour in microseconds.
    let mut times = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).ok()?;
    let (mut first, mut last, mut placed) = (i64::MAX, i64::MIN, 0u32);
    for order in facts.orders.values() {
        let Some(at) = order.placed else { continue };
        placed += 1;
        first = first.min(at);
        // How long parcels travel says nothing of the shop.
        let settled = order.events.iter().filter(|e| SETTLES.contains(&e.kind)).map(|e| e.time).min();
        last = last.max(settled.unwrap_or(at));
        if let Some(confirmed) = order.confirmed {
            times.saturating_record(u64::try_from(confirmed - at).unwrap_or(1).max(1));
        }
    }
    let seconds = (last - first) as f64 / 1e6;
    (placed > 0 && seconds > 0.0).then(|| Speed {
        p50: times.value_at_quantile(0.5) as f64 / 1e3,
        p99: times.value_at_quantile(0.99) as f64 / 1e3,
        orders_per_second: f64::from(placed) / seconds,
    })
}

/// The way of a confirmed order, event by event.
const WAY: [&str; 5] = ["OrderPlaced", "StockReserved", "PaymentRequested", "PaymentAuthorised", "OrderConfirmed"];
/// An order's story is told with so many ways: the event that such an order has, and how it ended.
const STORIES: [(&str, &str, End); 3] = [
    ("An order that was delivered and paid", "OrderCompleted", End::Delivered),
    ("An order that was compensated late: shipping still had its parcel", "ShipmentCancelled", End::Cancelled),
    ("An order whose parcel was lost", "PaymentRefunded", End::Refunded),
];

/// Where the time goes between placed and confirmed: p50 and p99 of each step, in milliseconds.
fn steps(facts: &Facts) -> Vec<(String, f64, f64)> {
    let time = |order: &Order, kind: &str| order.events.iter().find(|e| e.kind == kind).map(|e| e.time);
    let quantile = |sorted: &[i64], of: usize| sorted.get(sorted.len() * of / 100).map_or(0.0, |micros| *micros as f64 / 1e3);
    WAY.windows(2)
        .map(|step| {
            let between = |order| Some(time(order, step[1])? - time(order, step[0])?);
            let mut times: Vec<i64> = facts.orders.values().filter_map(between).collect();
            times.sort_unstable();
            (format!("{} to {}", step[0], step[1]), quantile(&times, 50), quantile(&times, 99))
        })
        .collect()
}

/// Prints the whole report to standard output.
pub fn print(
    shop: &Shop,
    (account, scripted): (&importer::Account, &Scripted),
    audit: &Audit,
    memory: &[(String, u64)],
    first: Option<Duration>,
    began: Instant,
) {
    println!("\nRows: {} read = {} taken + {} turned away", account.rows_read, account.rows_taken, account.rows_turned_away);
    for (reason, n) in &account.reasons {
        println!("  {n:>7}  {}", reason.replace('_', " "));
    }
    let facts = &audit.facts;
    println!("\nOrders: {} placed, {} of them scripted", account.placed + scripted.placed, scripted.placed);
    for end in End::ALL {
        match facts.ended(end) {
            0 => {}
            n => println!("  {n:>7}  {}", end.word()),
        }
    }
    println!(
        "  {} cancel requests; refused: {} since the order had been rejected, {} since its parcel had left",
        account.cancels_from_data + account.cancels_scripted + scripted.cancels_taken + scripted.cancels_late,
        account.cancels_refused,
        account.cancels_late + scripted.cancels_late,
    );
    let (sent, failed) = facts.mails();
    println!("\nMails: {sent} sent, {failed} that couldn't be; they can be read at {}", shop.parts.mail);
    for (title, with, end) in STORIES {
        if let Some((id, order)) = pick(facts, end, with) {
            story(title, id, order);
        }
    }
    if let Some(speed) = speed(facts) {
        println!(
            "\nSpeed: {:.0} orders a second from the first placed to the last confirmed or refused; placed to confirmed p50 {:.0} ms, p99 {:.0} ms",
            speed.orders_per_second, speed.p50, speed.p99
        );
        for (step, p50, p99) in steps(facts) {
            println!("  {step:<37} p50 {p50:>6.0} ms, p99 {p99:>6.0} ms");
        }
    }
    if let Some(first) = first {
        println!(
            "First confirmed order {:.1} s after the start; {:.1} s in all",
            first.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
    }
    println!("\nMemory (resident):");
    for (name, mb) in memory {
        println!("  {mb:>5} MB  {name}");
    }
    println!("\nAudit, read back from topics, databases, the acquirer, the carrier and the mail catcher ({}):", shop.parts.kafka);
    audit.checks.iter().for_each(|check| println!("{check}"));
}

/// The first such order by id, so that the same data show the same story.
fn pick<'a>(facts: &'a Facts, end: End, with: &str) -> Option<(Uuid, &'a Order)> {
    let such = facts.orders.iter().filter(|(_, o)| o.end() == end && o.events.iter().any(|e| e.kind == with));
    such.min_by_key(|(id, _)| **id).map(|(id, order)| (*id, order))
}

fn story(title: &str, id: Uuid, order: &Order) {
    println!("\n{title}: {id}");
    history::lines(order).for_each(|line| println!("  {line}"));
}

/// What a shell needs to speak to the shop: variables, and in the folder that `SERVICES` names a file of settings for each service and for
/// `audit`.
///
/// # Errors
/// When a file can't be written.
pub fn exports(shop: &Shop) -> anyhow::Result<Vec<(String, String)>> {
    let url = |name: &str| (name.to_uppercase(), shop.url(name));
    let mut exports: Vec<_> = shop.sources().services().chain(STANDINS).map(url).collect();
    for name in ["KAFKA", "FARANDOLE_KAFKA_BOOTSTRAP"] {
        exports.push((name.to_owned(), shop.parts.kafka.clone()));
    }
    exports.push(("FARANDOLE_REGISTRY_URL".to_owned(), shop.parts.registry.clone()));
    if !shop.parts.mail.is_empty() {
        exports.push(("MAIL".to_owned(), shop.parts.mail.clone()));
    }
    for service in shop.sources().services() {
        shop.env_file(service)?;
    }
    shop.audit_file()?;
    exports.push(("SERVICES".to_owned(), shop.folder().display().to_string()));
    Ok(exports)
}

/// What to try while it stays up.
///
/// # Errors
/// When the services' environments can't be written to their files.
pub fn invite(shop: &Shop, audit: &Audit) -> anyhow::Result<()> {
    println!(
        "\nIt stays up until Ctrl-C. PostgreSQL and logs are under the stage's folder. For another terminal, in this repository:"
    );
    for (name, value) in exports(shop)? {
        println!("  export {name}='{value}'");
    }
    let folder = shop.folder().display();
    println!("\nA service's own program, on its database, whose password is in these files:");
    for (service, verb) in SERVICES.into_iter().zip(["describe", "positions", "parked", "openapi"]) {
        println!("  (. '{folder}/{service}.env' && target/release/{service} {verb})");
    }
    let id = pick(&audit.facts, End::Delivered, "OrderCompleted").map_or_else(|| "ORDER_ID".to_owned(), |(id, _)| id.to_string());
    println!("\nSome things to try:");
    println!("  curl -s {}/orders/{id}", shop.url("orders"));
    println!("  curl -s {}/shipments/{id}", shop.url("shipping"));
    println!("  curl -s {}/payments/{id}", shop.url("payments"));
    println!("\nThe audit once more, when all your orders have ended:");
    println!("  (. '{folder}/audit.env' && scripts/audit)");
    Ok(())
}

/// The account as one line of JSON.
pub fn json(
    (account, scripted): (&importer::Account, &Scripted),
    audit: &Audit,
    memory: &[(String, u64)],
    first: Option<Duration>,
    killed: Option<&str>,
) -> Value {
    let facts = &audit.facts;
    let speed = speed(facts);
    json!({
        "placed": account.placed + scripted.placed,
        "delivered": facts.ended(End::Delivered),
        "refunded": facts.ended(End::Refunded),
        "unpaid": facts.ended(End::Unpaid),
        "rejected": facts.ended(End::Rejected),
        "cancelled": facts.ended(End::Cancelled),
        "rows_read": account.rows_read,
        "rows_taken": account.rows_taken,
        "rows_turned_away": account.rows_turned_away,
        "reasons": account.reasons,
        "cancel_requests": account.cancels_from_data + account.cancels_scripted,
        "mails_sent": facts.mails().0,
        "mails_failed": facts.mails().1,
        "events": facts.events,
        "orders_per_second": speed.as_ref().map(|s| s.orders_per_second.round()),
        "p50_ms": speed.as_ref().map(|s| s.p50),
        "p99_ms": speed.as_ref().map(|s| s.p99),
        "first_confirmed_s": first.map(|d| d.as_secs_f64()),
        "memory_mb": memory.iter().map(|(name, mb)| (name.clone(), json!(mb))).collect::<serde_json::Map<_, _>>(),
        "killed": killed,
        "violations": audit.checks.iter().map(|c| c.violations).sum::<usize>(),
        "audit": audit.holds(),
    })
}
