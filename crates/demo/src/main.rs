//! `demo`: the whole shop on this machine, from nothing to an audited account.
//!
//! In order: start the stage, start the services, import real orders, wait until every order has ended, read everything back
//! and audit it, say what happened. See `--help`.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use audit::{Audit, tables};
use clap::Parser;
use demo::choreography::Expected;
use demo::shop::{self, SERVICES, Shop};
use demo::{report, scripted, settled};
use tokio::sync::watch;

/// How long the last orders may take to end once everything is placed: their deadline and some.
const SETTLE: Duration = Duration::from_secs(180);
/// Orders placed before a service is killed: early enough for every sample, late enough that all are at work.
const KILL_AFTER: u64 = 300;
/// Orders cancelled on purpose: exact cancellations are rare in the data.
const SCRIPTED_CANCELS: u32 = 20;

/// Starts Kafka, PostgreSQL, a schema registry and the shop, imports real orders, and audits what came of them.
///
/// In a terminal it stays up afterwards until Ctrl-C.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  scripts/demo                        stay up and try it\n  scripts/demo --once --json          exit 0 only if the audit holds\n  scripts/demo --once --record run.json write down what ran\n  scripts/demo --once --kill payments kill a service with -9 in the middle\n\nExit codes: 0 the audit holds, 1 it doesn't or something failed, 2 wrong usage"
)]
struct Args {
    /// Stop everything at the end instead of staying up
    #[arg(long)]
    once: bool,
    /// Import this file (plain or gzip) instead of the shipped sample
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Orders a second, evenly, so that the times say how the shop does and not how long the queue before it is; 0 for as fast as
    /// they are taken
    #[arg(long, default_value_t = 330, value_parser = clap::value_parser!(u32).range(..=100_000))]
    rate: u32,
    /// Print the account as JSON, as the last line of standard output
    #[arg(long)]
    json: bool,
    /// Write what ran to this file, as JSON, for `scripts/explore --replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Kill this service with -9 in the middle and start it again
    #[arg(long, value_name = "SERVICE", value_parser = SERVICES)]
    kill: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: starting the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<bool> {
    // What the audit said, once it has.
    let held = Cell::new(false);
    tokio::select! {
        done = demonstrate(args, &held) => done,
        // Leaving this function drops the shop and the stage, which stop what they started.
        signal = interrupted() => {
            signal?;
            eprintln!("demo: stopped");
            Ok(held.get())
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> anyhow::Result<()> {
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended.context("listening for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

async fn demonstrate(args: &Args, held: &Cell<bool>) -> anyhow::Result<bool> {
    let began = Instant::now();
    let data = match &args.data {
        Some(path) => path.canonicalize().with_context(|| format!("opening {}", path.display()))?,
        None => shop::sample()?,
    };
    let expected = if args.data.is_some() { Expected::Any } else { Expected::All };
    let shop = Shop::start().await?;
    let first = tokio::spawn(first_confirmed(shop.orders_pool().await?, began));
    let (placed, mut watched) = watch::channel(0);
    let options = importer::Options {
        data,
        orders: shop.url("orders"),
        inventory: shop.url("inventory"),
        concurrency: 32,
        rate: Some(args.rate).filter(|rate| *rate > 0),
        scripted_cancels: SCRIPTED_CANCELS,
        refused: None,
        progress: std::io::stderr().is_terminal(),
        placed: Some(placed),
    };
    eprintln!("demo: importing {}", options.data.display());
    let kill = async {
        if let Some(service) = &args.kill {
            // The import may end before, with a small file; then there is nothing to kill it in the middle of.
            if watched.wait_for(|n| *n >= KILL_AFTER).await.is_ok() {
                eprintln!("demo: killing {service} with -9");
                shop.restart(service).await?;
                eprintln!("demo: {service} is back");
            }
        }
        anyhow::Ok(())
    };
    let (account, scripted, killed) = tokio::join!(importer::run(options), scripted::play(&shop), kill);
    let (account, scripted) = (account?, scripted?);
    killed?;
    let placed = account.placed + scripted.placed;
    eprintln!("demo: placed {placed} orders; waiting until each has ended");
    let memory = shop.memory();
    let audit = settle(&shop, placed, expected).await?;
    held.set(audit.holds());
    first.abort();
    let first = first.await.ok().flatten();
    report::print(&shop, (&account, &scripted), &audit, &memory, first, began);
    if let Some(file) = &args.record {
        let written = serde_json::to_vec(&audit.recording).map(|json| std::fs::write(file, json))?;
        written.with_context(|| format!("writing {}", file.display()))?;
    }
    if !args.once && std::io::stdout().is_terminal() {
        report::invite(&shop, &audit)?;
        interrupted().await?;
        eprintln!("demo: stopping");
    }
    shop.stop().await;
    if args.json {
        println!("{}", report::json((&account, &scripted), &audit, &memory, first, args.kill.as_deref()));
    }
    Ok(audit.holds())
}

/// Audits until nothing moves any more and everything holds, or time is up: then the last audit says what doesn't.
async fn settle(shop: &Shop, placed: u64, expected: Expected) -> anyhow::Result<Audit> {
    let until = Instant::now() + SETTLE;
    loop {
        let open = tables::open_matters(&shop.sources()).await?;
        if open.is_empty() || Instant::now() > until {
            let audit = settled::audit(shop, placed, expected).await?;
            if audit.holds() || Instant::now() > until {
                return Ok(audit);
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// How long it took from the start to the first confirmed order.
async fn first_confirmed(pool: sqlx::PgPool, began: Instant) -> Option<Duration> {
    loop {
        let confirmed = sqlx::query_scalar::<_, bool>(
            "select exists (select from orders where state->>'state' in ('confirmed', 'completed'))",
        );
        if confirmed.fetch_one(&pool).await.unwrap_or(false) {
            return Some(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
