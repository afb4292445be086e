//! The two passes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::account::Account;
use crate::calls::Calls;
use crate::invoices::{Assembler, Demand, Earlier, Invoice, Tally};
use crate::rows;

/// What to import, and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file, plain or gzip.
    pub data: PathBuf,
    /// Base URL of the orders service.
    pub orders: String,
    /// Base URL of the inventory service.
    pub inventory: String,
    /// Requests in flight at most.
    pub concurrency: usize,
    /// Orders a second at most, spread evenly.
    pub rate: Option<u32>,
    /// Further orders to cancel, spread over the import.
    pub scripted_cancels: u32,
    /// Whether to draw a progress bar.
    pub progress: bool,
    /// Told how many orders were placed so far.
    pub placed: Option<watch::Sender<u64>>,
}

/// The order that an invoice became, once its answer is there.
type Placed = watch::Receiver<Option<Uuid>>;

/// Imports the file.
///
/// # Errors
/// When the file can't be read or the shop stays away. What was placed stays; the next run goes on from it.
pub async fn run(options: Options) -> anyhow::Result<Account> {
    let calls = Arc::new(Calls::new()?);
    let size = std::fs::metadata(&options.data).with_context(|| format!("opening {}", options.data.display()))?.len();
    let (demand, mut account) = first_pass(&options, size).await?;
    receive(&options, &calls, &demand).await?;
    account.skus = demand.receipts().count() as u64;
    drop(demand);
    second_pass(&options, &calls, size, &mut account).await?;
    account.retries = calls.retries();
    if account.rows_read != account.rows_taken + account.rows_turned_away {
        bail!(
            "rows don't add up: {} read, {} taken, {} turned away",
            account.rows_read,
            account.rows_taken,
            account.rows_turned_away
        );
    }
    Ok(account)
}

/// Invoices from a thread of its own, so that decompression holds up no request.
fn invoices(options: &Options, bar: ProgressBar) -> (mpsc::Receiver<Invoice>, tokio::task::JoinHandle<anyhow::Result<Tally>>) {
    let (send, receive) = mpsc::channel(64);
    let path = options.data.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let seen = rows::Seen::default();
        let mut tally = Tally::default();
        let mut assembler = Assembler::default();
        for row in rows::open(&path, seen.clone())? {
            if let Some(invoice) = assembler.push(row?, &mut tally)
                && send.blocking_send(invoice).is_err()
            {
                return Ok(tally);
            }
            bar.set_position(seen.load(Ordering::Relaxed));
        }
        if let Some(invoice) = assembler.finish() {
            let _ = send.blocking_send(invoice); // nobody waits for it any more: the other side has failed and says so
        }
        Ok(tally)
    });
    (receive, reading)
}

async fn first_pass(options: &Options, size: u64) -> anyhow::Result<(Demand, Account)> {
    let bar = bar(options, size, "adding up demand");
    let (mut invoices, reading) = invoices(options, bar.clone());
    let mut demand = Demand::default();
    while let Some(invoice) = invoices.recv().await {
        demand.add(&invoice);
    }
    reading.await.context("reading the file")??;
    bar.finish_and_clear();
    Ok((demand, Account::default()))
}

async fn receive(options: &Options, calls: &Arc<Calls>, demand: &Demand) -> anyhow::Result<()> {
    let bar = bar(options, demand.receipts().count() as u64, "receiving stock");
    let url = format!("{}/receipts", options.inventory);
    let mut flying = JoinSet::new();
    for (sku, quantity) in demand.receipts() {
        if flying.len() >= options.concurrency {
            joined(flying.join_next().await)?;
        }
        let (calls, url, bar) = (calls.clone(), url.clone(), bar.clone());
        let (key, body) = (format!("import-receipt-{sku}"), json!({ "sku": sku, "quantity": quantity }));
        flying.spawn(async move {
            let (status, answer) = calls.post(&url, &key, &body).await?;
            if !status.is_success() {
                bail!("receiving {body}: {status} {answer}");
            }
            bar.inc(1);
            Ok(())
        });
    }
    while let Some(done) = flying.join_next().await {
        joined(Some(done))?;
    }
    bar.finish_and_clear();
    Ok(())
}

async fn second_pass(options: &Options, calls: &Arc<Calls>, size: u64, account: &mut Account) -> anyhow::Result<()> {
    let bar = bar(options, size, "placing orders");
    let (mut invoices, reading) = invoices(options, bar.clone());
    let slots = Arc::new(Semaphore::new(options.concurrency));
    let mut flying = JoinSet::new();
    let mut earlier: Earlier<(String, Placed)> = Earlier::default();
    let mut tally = Tally::default();
    let (mut orders, mut scripted) = (0u64, 0u32);
    let mut ticks = options.rate.map(|rate| tokio::time::interval(Duration::from_secs(1) / rate.max(1)));
    let began = Instant::now();
    while let Some(invoice) = invoices.recv().await {
        while let Some(done) = flying.try_join_next() {
            count(account, joined(Some(done))?, options);
        }
        // Held by each request until its answer; a cancel waits for its order before it asks for a slot.
        if invoice.cancels {
            match earlier.undo(&invoice.digest()) {
                Some((number, placed)) => {
                    tally.taken += invoice.lines.len() as u64;
                    account.cancels_from_data += 1;
                    flying.spawn(cancel(options.orders.clone(), calls.clone(), slots.clone(), number, placed, Duration::ZERO));
                }
                None => tally.turn_away("return_of_no_single_order", invoice.lines.len()),
            }
            continue;
        }
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        tally.taken += invoice.lines.len() as u64;
        orders += 1;
        let (tell, placed) = watch::channel(None);
        let slot = slots.clone().acquire_owned().await.context("the semaphore is never closed")?;
        earlier.add(invoice.digest(), (invoice.number.clone(), placed.clone()));
        // Every fifth order until there are enough: some while they are being decided, some once they are confirmed.
        if scripted < options.scripted_cancels && orders.is_multiple_of(5) {
            let after = if scripted.is_multiple_of(2) { Duration::ZERO } else { Duration::from_millis(1_500) };
            scripted += 1;
            flying.spawn(cancel(options.orders.clone(), calls.clone(), slots.clone(), invoice.number.clone(), placed, after));
        }
        let (url, calls) = (format!("{}/orders", options.orders), calls.clone());
        flying.spawn(async move {
            let _slot = slot;
            let id = place(&url, &calls, &invoice).await?;
            tell.send_replace(Some(id));
            Ok(Done::Placed)
        });
    }
    while let Some(done) = flying.join_next().await {
        count(account, joined(Some(done))?, options);
    }
    let read = reading.await.context("reading the file")??;
    tally.read = read.read;
    for (reason, n) in read.turned_away {
        *tally.turned_away.entry(reason).or_default() += n;
    }
    account.rows(&tally);
    account.cancels_scripted = u64::from(scripted);
    account.seconds = began.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok(())
}

enum Done {
    Placed,
    Cancelled,
    Refused,
}

fn count(account: &mut Account, done: Done, options: &Options) {
    match done {
        Done::Placed => {
            account.placed += 1;
            if let Some(placed) = &options.placed {
                placed.send_replace(account.placed);
            }
        }
        Done::Cancelled => {}
        Done::Refused => account.cancels_refused += 1,
    }
}

fn joined<T>(done: Option<Result<anyhow::Result<T>, tokio::task::JoinError>>) -> anyhow::Result<T> {
    done.context("no request was in flight")?.context("a request's task ended early")?
}

async fn place(url: &str, calls: &Calls, invoice: &Invoice) -> anyhow::Result<Uuid> {
    let lines: Vec<Value> =
        invoice.lines.iter().map(|l| json!({ "sku": l.sku, "quantity": l.quantity, "unit_price": l.unit_price })).collect();
    let body = json!({ "customer": invoice.customer, "card_token": card(&invoice.customer), "currency": "GBP", "lines": lines });
    let (status, answer) = calls.post(url, &format!("import-{}", invoice.number), &body).await?;
    let id = answer.get("order_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    match id {
        Some(id) if status.is_success() => Ok(id),
        _ => bail!("invoice {} was not taken: {status} {answer}", invoice.number),
    }
}

/// A card token a customer; about one in twenty declines.
fn card(customer: &str) -> String {
    let sum = customer.bytes().fold(7u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(b)));
    if sum.is_multiple_of(20) { format!("tok_decline_{customer}") } else { format!("tok_{customer}") }
}

async fn cancel(
    orders: String,
    calls: Arc<Calls>,
    slots: Arc<Semaphore>,
    number: String,
    mut placed: Placed,
    after: Duration,
) -> anyhow::Result<Done> {
    let id = match placed.wait_for(Option::is_some).await {
        Ok(id) => id.context("wait_for gives what it waited for")?,
        // Its order failed, and the import ends with that error.
        Err(_) => return Ok(Done::Refused),
    };
    tokio::time::sleep(after).await;
    let _slot = slots.acquire_owned().await.context("the semaphore is never closed")?;
    let (status, answer) =
        calls.post(&format!("{orders}/orders/{id}/cancel"), &format!("import-cancel-{number}"), &json!({})).await?;
    match status.as_u16() {
        200..=299 => Ok(Done::Cancelled),
        409 => Ok(Done::Refused),
        _ => bail!("cancelling order {id}: {status} {answer}"),
    }
}

fn bar(options: &Options, length: u64, what: &'static str) -> ProgressBar {
    if !options.progress {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:>18} {wide_bar} {percent:>3} %  {per_sec}  {eta} left");
    let bar = ProgressBar::new(length).with_message(what);
    // The template is fixed and right; were it not, the default one would do.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
