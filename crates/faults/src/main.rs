//! `faults`: breaks the shop on purpose, and audits what it holds afterwards. See `--help`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use faults::drills::{self, Ground, Orders, Plan};
use faults::plan::plan;
use faults::shop::Shop;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  scripts/faults                          three minutes, a seed of the moment, which is printed first
  scripts/faults --minutes 10 --seed 42   the same plan of faults each time
  scripts/faults --seed 42 --plan         print the plan, do nothing
  scripts/faults --rebuild                drills instead of faults, some twenty minutes: tables of each service are rebuilt and swapped beside
                                          two replicas, rebuilds are killed, databases are lost and made anew from the topics
  scripts/faults --rebuild --orders online-retail.csv.gz
                                          beside the orders of a file, which are placed to its end
  scripts/faults --rebuild --short        each kind of drill once, some three minutes

The table goes to standard output, progress to standard error. The last line is `N faults, 0 violations` (with --rebuild: `N drills, …`), or
says what was violated. Without the mail catcher, which `scripts/install --mail` builds, the shop runs without notifications and mails; with
NEED_MAIL set it doesn't.

Exit codes: 0 nothing was violated, 1 something was or the run could not go on, 2 wrong usage, 130 stopped by a signal";

/// Puts load on the shop while processes are killed and paused, connections cut, frozen and slowed, brokers, PostgreSQL, registry,
/// acquirer, carrier and mail server taken away; while strangers write into its topics, databases are set back or take no writes, the registry refuses
/// and forgets, acquirer and carrier answer absurdly, and the carrier's reports come late, twice, forged and out of order; then lets
/// everything recover and audits topics, databases, the books of acquirer and carrier, and the mails that came
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// How long the plan of faults is; recoveries that take longer than its pauses come on top
    #[arg(long, default_value_t = 3.0, value_parser = minutes)]
    minutes: f64,
    /// What the faults and the load are drawn from
    #[arg(long)]
    seed: Option<u64>,
    /// Orders a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Print the plan and stop
    #[arg(long)]
    plan: bool,
    /// Drill what operators do to get state back, instead of breaking anything else
    #[arg(long, conflicts_with = "minutes")]
    rebuild: bool,
    /// With --rebuild: each kind of drill once
    #[arg(long, requires = "rebuild")]
    short: bool,
    /// With --rebuild: place the orders of this file ("Online Retail", plain or gzip) to its end, and drawn ones behind it
    #[arg(long, value_name = "FILE", requires = "rebuild")]
    orders: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.2..=1_440.0).contains(&minutes) => Ok(minutes),
        _ => Err("must be from 0.2 to 1440".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("faults: starting the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    // The runtime's end waits for threads that are just starting or stopping something.
    runtime.block_on(run(&args)).unwrap_or_else(|error| {
        eprintln!("faults: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    tokio::select! {
        done = async { if args.rebuild { drill(args).await } else { wreck(args).await } } => done,
        // Leaving this function drops the shop and the stage, which stop what they started.
        interrupted = interrupted() => {
            interrupted?;
            eprintln!("faults: stopped");
            Ok(ExitCode::from(130))
        }
    }
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended.context("listening for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

/// The seed that was given, or one of the moment that is short enough to type.
fn seed(args: &Args) -> u64 {
    args.seed.unwrap_or_else(|| (uuid::Uuid::new_v4().as_u128() & 0xFFFF_FFFF) as u64)
}

async fn drill(args: &Args) -> anyhow::Result<ExitCode> {
    let seed = seed(args);
    if args.plan {
        farandole::cli::end_with_the_reader();
    }
    println!("seed {seed}");
    let orders = match &args.orders {
        Some(path) => Orders::File { path: path.clone(), rate: args.rate },
        None => Orders::Drawn { rate: args.rate },
    };
    let services = faults::services()?;
    let plan = if args.short { Plan { orders, ..Plan::short(seed, services) } } else { Plan::long(seed, orders, services) };
    if args.plan {
        println!("{plan}");
        return Ok(ExitCode::SUCCESS);
    }
    let ground = Ground::start(seed, services).await?;
    let report = drills::run(&ground, &plan).await?;
    tokio::task::spawn_blocking(|| ground.stop()).await.context("stopping the shop")?;
    println!("{report}");
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn wreck(args: &Args) -> anyhow::Result<ExitCode> {
    let seed = seed(args);
    if args.plan {
        farandole::cli::end_with_the_reader();
    }
    println!("seed {seed}");
    let duration = Duration::from_secs_f64(args.minutes * 60.0);
    let services = faults::services()?;
    let planned = plan(seed, duration, &Shop::shapes(services));
    if args.plan {
        for fault in &planned {
            let (at, length) = (fault.at.as_secs_f64(), fault.length.as_secs_f64());
            println!("{:>3}  {at:>7.1} s  {length:>5.1} s  {:<20} {}", fault.bout, fault.target, fault.harm);
        }
        println!("{} faults", planned.len());
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "faults: {} faults in {:.1} minutes; again with: scripts/faults --minutes {} --seed {seed}",
        planned.len(),
        args.minutes,
        args.minutes
    );
    let shop = Arc::new(Shop::start(seed, args.rate, services).await?);
    let report = faults::run(Arc::clone(&shop), &planned).await?;
    if let Some(shop) = Arc::into_inner(shop) {
        tokio::task::spawn_blocking(|| shop.stop()).await.context("stopping the shop")?;
    }
    println!("{report}");
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
