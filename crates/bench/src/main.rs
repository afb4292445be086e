//! `bench`: measurements on a stage, side by side with the plain way of doing the same. See `--help`.

mod codec;
mod events;
mod intake;
mod machine;
mod plain;
mod report;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use stage::{Options, Stage};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// State, outbox and position for events of many keys, against one transaction a message
    Intake,
    /// The same with all events on ten rows
    Hot,
    /// Encoding and decoding an order of three lines
    Codec,
    /// All of these
    All,
}

/// Measures Farandole on real Kafka, PostgreSQL and registry. What was measured is read back and checked before a figure is
/// printed; both sides run in the same run on the same parts, in turns.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  scripts/bench intake\n  scripts/bench all --json > figures.jsonl\n\nExit codes: 0 measured, 1 something failed or was not right, 2 wrong usage"
)]
struct Args {
    what: What,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// How often each side runs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    runs: u16,
    /// Events a run
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    events: u32,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match measure(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: Args) -> anyhow::Result<()> {
    let wanted = |what| args.what == what || args.what == What::All;
    let mut figures = Vec::new();
    if wanted(What::Codec) {
        figures.extend(codec::measure(args.runs)?);
    }
    if wanted(What::Intake) || wanted(What::Hot) {
        let stage = tokio::task::spawn_blocking(|| Stage::start(Options::default())).await??;
        if wanted(What::Intake) {
            figures.push(intake::measure(&stage, "intake", 10_007, args.events, args.runs).await?);
        }
        if wanted(What::Hot) {
            figures.push(intake::measure(&stage, "hot", 10, args.events, args.runs).await?);
        }
        tokio::task::spawn_blocking(|| drop(stage)).await?;
    }
    if args.json {
        figures.iter().for_each(|figure| println!("{}", figure.json()));
    } else {
        println!("{}", machine::describe());
        report::table(&figures);
    }
    Ok(())
}
