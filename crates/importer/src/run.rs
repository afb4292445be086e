//! The two passes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::account::{Account, NO_ORDER, REFUSED, Tally};
use crate::calls::{Answer, Calls};
use crate::invoices::{Assembler, Demand, Earlier, Invoice, Piece, Prices};
use crate::lines::Seen;
use crate::rows::Rows;

/// The currency of the file.
const CURRENCY: &str = "GBP";
/// Pieces of one receipt at most, as the shop takes them.
const MAX_RECEIPT: i64 = 1_000_000_000;

/// Prices a request, as the shop takes them.
const PRICES: usize = 1_000;

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
    /// Where every line that is turned away is written: number, reason and the shop's words if it was the shop, with tabs between.
    pub refused: Option<PathBuf>,
    /// Whether to draw a progress bar.
    pub progress: bool,
    /// Told how many orders were placed so far.
    pub placed: Option<watch::Sender<u64>>,
}

/// The order that an invoice became, once its answer is there.
type Placed = watch::Receiver<Option<Uuid>>;

/// Imports the file. What can't be imported is turned away line by line, with a reason; the rest goes on.
///
/// # Errors
/// When the file can't be read or the shop stays away. What was placed stays; the next run goes on from it.
pub async fn run(options: Options) -> anyhow::Result<Account> {
    let calls = Arc::new(Calls::new()?);
    let size = std::fs::metadata(&options.data).with_context(|| format!("opening {}", options.data.display()))?.len();
    let list = options
        .refused
        .as_ref()
        .map(|path| std::fs::File::create(path).with_context(|| format!("making the list of refused lines {}", path.display())));
    let mut tally = Tally::listing(list.transpose()?);
    let mut account = Account::default();
    let (demand, prices, read) = first_pass(&options, size).await?;
    receive(&options, &calls, &demand, &read.digest, &mut account).await?;
    account.skus = demand.receipts().count() as u64 - account.skus_refused;
    drop(demand);
    price(&options, &calls, &prices, &read.digest, &mut account).await?;
    drop(prices);
    second_pass(&options, &calls, size, &mut account, &mut tally).await?;
    account.retries = calls.retries();
    tally.end().context("writing the list of refused lines")?;
    let Account { lines, rows_read, rows_taken, rows_turned_away, .. } = account;
    if lines != rows_read || rows_read != rows_taken + rows_turned_away {
        bail!("rows don't add up: {lines} lines, {rows_read} read, {rows_taken} taken, {rows_turned_away} turned away");
    }
    Ok(account)
}

/// What was read, told at the end.
struct Read {
    rows: u64,
    lines: u64,
    /// The file's: two files that share a number are two.
    digest: String,
}

/// Invoices from a thread of its own, so that decompression holds up no request.
fn pieces(options: &Options, bar: ProgressBar) -> (mpsc::Receiver<Piece>, tokio::task::JoinHandle<anyhow::Result<Read>>) {
    let (send, receive) = mpsc::channel(64);
    let path = options.data.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let seen = Seen::default();
        let (mut assembler, mut pieces) = (Assembler::default(), Vec::new());
        let mut rows = Rows::open(&path, seen.clone())?;
        loop {
            let row = rows.next_row().with_context(|| format!("reading {}", path.display()))?;
            let ended = row.is_none();
            match row {
                Some(row) => assembler.push(row, &mut pieces),
                None => pieces.extend(assembler.finish()),
            }
            for piece in pieces.drain(..) {
                if send.blocking_send(piece).is_err() {
                    bail!("nobody waits for it any more"); // the other side has failed and says so
                }
            }
            bar.set_position(seen.load(Ordering::Relaxed));
            if ended {
                let (lines, digest) = rows.count();
                return Ok(Read { rows: assembler.read, lines, digest });
            }
        }
    });
    (receive, reading)
}

async fn first_pass(options: &Options, size: u64) -> anyhow::Result<(Demand, Prices, Read)> {
    let bar = bar(options, size, "adding up demand");
    let (mut pieces, reading) = pieces(options, bar.clone());
    let (mut demand, mut prices) = (Demand::default(), Prices::default());
    while let Some(piece) = pieces.recv().await {
        if let Piece::Invoice(invoice) = piece {
            demand.add(&invoice);
            prices.add(&invoice);
        }
    }
    let read = reading.await.context("reading the file")??;
    bar.finish_and_clear();
    Ok((demand, prices, read))
}

/// Tells orders what articles cost, one request after the other: the last price of the file is the one that is valid.
async fn price(options: &Options, calls: &Calls, prices: &Prices, file: &str, account: &mut Account) -> anyhow::Result<()> {
    let url = format!("{}/prices", options.orders);
    for (n, part) in prices.list().chunks(PRICES).enumerate() {
        let list = part.iter().map(|(sku, unit_price)| json!({ "sku": sku, "currency": CURRENCY, "unit_price": unit_price }));
        let body = json!({ "prices": list.collect::<Vec<_>>() });
        match calls.post(&url, &format!("import-prices-{file}-{n}"), &body).await? {
            Answer::Given(status, _) if status.is_success() => account.prices += part.len() as u64,
            Answer::Given(status, answer) => bail!("{url} took no prices: {status} {answer}"),
            Answer::Trouble(why) => bail!("{url} took no prices: {why}"),
        }
    }
    Ok(())
}

async fn receive(
    options: &Options,
    calls: &Arc<Calls>,
    demand: &Demand,
    file: &str,
    account: &mut Account,
) -> anyhow::Result<()> {
    let bar = bar(options, demand.receipts().count() as u64, "receiving stock");
    let url = format!("{}/receipts", options.inventory);
    let mut flying = JoinSet::<anyhow::Result<Option<String>>>::new();
    let mut done = |done: Option<_>| {
        if let Some(words) = joined(done)? {
            account.receipt_refused(words);
        }
        bar.inc(1);
        anyhow::Ok(())
    };
    for (sku, quantity) in demand.receipts() {
        if flying.len() >= options.concurrency {
            done(flying.join_next().await)?;
        }
        if quantity > MAX_RECEIPT {
            done(Some(Ok(Ok(Some(format!("{sku}: {quantity} pieces are more than are received at once ({MAX_RECEIPT})"))))))?;
            continue;
        }
        let (calls, url) = (calls.clone(), url.clone());
        let (key, body) = (format!("import-receipt-{file}-{sku}"), json!({ "sku": sku, "quantity": quantity }));
        flying.spawn(async move {
            Ok(match calls.post(&url, &key, &body).await? {
                Answer::Given(status, _) if status.is_success() => None,
                Answer::Given(status, answer) => Some(format!("{body}: {status} {answer}")),
                Answer::Trouble(why) => Some(format!("{body}: {why}")),
            })
        });
    }
    while let Some(one) = flying.join_next().await {
        done(Some(one))?;
    }
    bar.finish_and_clear();
    Ok(())
}

async fn second_pass(
    options: &Options,
    calls: &Arc<Calls>,
    size: u64,
    account: &mut Account,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let bar = bar(options, size, "placing orders");
    let (mut pieces, reading) = pieces(options, bar.clone());
    let slots = Arc::new(Semaphore::new(options.concurrency));
    let mut flying = JoinSet::new();
    let mut earlier: Earlier<(String, Placed)> = Earlier::default();
    let (mut orders, mut scripted) = (0u64, 0u32);
    let mut ticks = options.rate.map(|rate| tokio::time::interval(Duration::from_secs(1) / rate.max(1)));
    let began = Instant::now();
    while let Some(piece) = pieces.recv().await {
        while let Some(done) = flying.try_join_next() {
            count(account, tally, joined(Some(done))?, options);
        }
        let invoice = match piece {
            Piece::Invoice(invoice) => invoice,
            Piece::TurnedAway(reason, lines) => {
                tally.turn_away(reason, lines, None);
                continue;
            }
        };
        // Held by each request until its answer; a cancel waits for its order before it asks for a slot.
        if invoice.cancels {
            match earlier.undo(&invoice.digest()) {
                Some((number, placed)) => {
                    let cancel = Cancel { number, placed, after: Duration::ZERO, lines: Some(invoice.numbers()) };
                    flying.spawn(cancel.run(options.orders.clone(), calls.clone(), slots.clone()));
                }
                None => tally.turn_away("return_of_no_single_order", invoice.numbers(), None),
            }
            continue;
        }
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        orders += 1;
        let (tell, placed) = watch::channel(None);
        let slot = slots.clone().acquire_owned().await.context("the semaphore is never closed")?;
        earlier.add(invoice.digest(), (invoice.number.clone(), placed.clone()));
        // Every fifth order until there are enough: some while they are being decided, some once they are confirmed.
        if scripted < options.scripted_cancels && orders.is_multiple_of(5) {
            let after = if scripted.is_multiple_of(2) { Duration::ZERO } else { Duration::from_millis(1_500) };
            scripted += 1;
            let cancel = Cancel { number: invoice.number.clone(), placed, after, lines: None };
            flying.spawn(cancel.run(options.orders.clone(), calls.clone(), slots.clone()));
        }
        let (url, calls) = (format!("{}/orders", options.orders), calls.clone());
        flying.spawn(async move {
            let _slot = slot;
            Ok(match place(&url, &calls, &invoice).await? {
                Ok(id) => {
                    tell.send_replace(Some(id));
                    Done::Placed(invoice.lines.len())
                }
                Err(words) => Done::NotPlaced(invoice.numbers(), words),
            })
        });
    }
    while let Some(done) = flying.join_next().await {
        count(account, tally, joined(Some(done))?, options);
    }
    let read = reading.await.context("reading the file")??;
    (tally.read, account.lines) = (read.rows, read.lines);
    account.rows(tally);
    account.seconds = began.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok(())
}

/// How a request ended.
enum Done {
    /// An order of so many lines.
    Placed(usize),
    /// The shop took no order, with its words.
    NotPlaced(Vec<u64>, String),
    /// The order was cancelled, or had ended otherwise; with the lines of the file that asked for it, if it was the file.
    Cancelled { lines: Option<Vec<u64>>, how: Cancelled },
    /// The shop took no cancel request, with its words; or there was no order to cancel.
    NotCancelled { lines: Option<Vec<u64>>, words: Option<String> },
}

/// What became of a request to cancel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cancelled {
    Taken,
    /// The order had been rejected.
    Rejected,
    /// Its parcel had left.
    Late,
}

fn count(account: &mut Account, tally: &mut Tally, done: Done, options: &Options) {
    match done {
        Done::Placed(lines) => {
            tally.taken += lines as u64;
            account.placed += 1;
            if let Some(placed) = &options.placed {
                placed.send_replace(account.placed);
            }
        }
        Done::NotPlaced(lines, words) => {
            account.orders_refused += 1;
            tally.turn_away(REFUSED, lines, Some(&words));
        }
        Done::Cancelled { lines, how } => {
            account.cancels_refused += u64::from(how == Cancelled::Rejected);
            account.cancels_late += u64::from(how == Cancelled::Late);
            match lines {
                Some(lines) => {
                    account.cancels_from_data += 1;
                    tally.taken += lines.len() as u64;
                }
                None => account.cancels_scripted += 1,
            }
        }
        Done::NotCancelled { lines, words } => {
            let reason = if words.is_some() { REFUSED } else { NO_ORDER };
            tally.turn_away(reason, lines.unwrap_or_default(), words.as_deref());
        }
    }
}

fn joined<T>(done: Option<Result<anyhow::Result<T>, tokio::task::JoinError>>) -> anyhow::Result<T> {
    done.context("no request was in flight")?.context("a request's task ended early")?
}

/// The order's id, or why the shop took none.
async fn place(url: &str, calls: &Calls, invoice: &Invoice) -> anyhow::Result<Result<Uuid, String>> {
    let lines: Vec<Value> =
        invoice.lines.iter().map(|l| json!({ "sku": l.sku, "quantity": l.quantity, "unit_price": l.unit_price })).collect();
    let body =
        json!({ "customer": invoice.customer, "card_token": card(&invoice.customer), "currency": CURRENCY, "lines": lines });
    let (status, answer) = match calls.post(url, &format!("import-{}", invoice.number), &body).await? {
        Answer::Given(status, answer) => (status, answer),
        Answer::Trouble(why) => return Ok(Err(why)),
    };
    let id = answer.get("order_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    Ok(id.filter(|_| status.is_success()).ok_or_else(|| format!("{status} {answer}")))
}

/// A card token a customer; about one in twenty declines. Tokens are ASCII: other letters stand there as numbers.
fn card(customer: &str) -> String {
    let sum = customer.bytes().fold(7u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(b)));
    let kind = if sum.is_multiple_of(20) { "tok_decline" } else { "tok" };
    match customer.len() <= 64 && customer.bytes().all(|b| b.is_ascii_graphic()) {
        true => format!("{kind}_{customer}"),
        false => Sha256::digest(customer).iter().take(16).fold(format!("{kind}_x"), |token, b| format!("{token}{b:02x}")),
    }
}

/// An order to cancel, once it is placed.
struct Cancel {
    number: String,
    placed: Placed,
    after: Duration,
    /// The lines of the file that ask for it; none when it is scripted.
    lines: Option<Vec<u64>>,
}

impl Cancel {
    async fn run(self, orders: String, calls: Arc<Calls>, slots: Arc<Semaphore>) -> anyhow::Result<Done> {
        let Self { number, mut placed, after, lines } = self;
        let id = match placed.wait_for(Option::is_some).await {
            Ok(id) => id.context("wait_for gives what it waited for")?,
            // The shop took no such order, or the import ends with an error.
            Err(_) => return Ok(Done::NotCancelled { lines, words: None }),
        };
        tokio::time::sleep(after).await;
        let _slot = slots.acquire_owned().await.context("the semaphore is never closed")?;
        let (url, key) = (format!("{orders}/orders/{id}/cancel"), format!("import-cancel-{number}"));
        Ok(match calls.post(&url, &key, &json!({})).await? {
            Answer::Given(status, _) if status.is_success() => Done::Cancelled { lines, how: Cancelled::Taken },
            Answer::Given(StatusCode::CONFLICT, answer) => {
                let is_late = answer["type"].as_str().is_some_and(|kind| kind.ends_with("too-late"));
                Done::Cancelled { lines, how: if is_late { Cancelled::Late } else { Cancelled::Rejected } }
            }
            Answer::Given(status, answer) => Done::NotCancelled { lines, words: Some(format!("{status} {answer}")) },
            Answer::Trouble(why) => Done::NotCancelled { lines, words: Some(why) },
        })
    }
}

fn bar(options: &Options, length: u64, what: &'static str) -> ProgressBar {
    if !options.progress {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:>18} {wide_bar} {percent:>3} %  {eta} left");
    let bar = ProgressBar::new(length).with_message(what);
    // The template is fixed and right; were it not, the default one would do.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
