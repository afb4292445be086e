//! `bench`: measurements on a stage, side by side with how others do the same. See `--help`.

mod backlog;
mod charts;
mod check;
mod codec;
mod debezium;
mod events;
mod held;
mod idle;
mod intake;
mod latency;
mod line;
mod load;
mod machine;
mod place;
mod plain;
mod points;
mod publisher;
mod rebuild;
mod relay;
mod relay_process;
mod report;
mod rows;
mod saga;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use stage::{Options, Stage};

use debezium::Debezium;
use intake::Plain;
use publisher::Publisher;
use report::Figure;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Events a second out of an outbox: drained, and kept up with at one event a transaction
    Relay,
    /// CPU time an event, by how many are in the outbox that is drained
    Backlog,
    /// From commit to consumer at 2,000 events a second
    Latency,
    /// The relay's drain and latency while a foreign transaction has been open for a while
    HeldXmin,
    /// State, outbox and position for events of many keys
    Intake,
    /// The same with all events on ten rows
    Hot,
    /// Encoding and decoding an order of three lines
    Codec,
    /// A service's tables from its topic, beside a bare COPY of the same rows
    Rebuild,
    /// CPU and memory of a service with nothing to do
    Idle,
    /// Orders of three lines at a fixed rate, from the HTTP request until they are confirmed, hop by hop
    Saga,
    /// 10,000 buyers of 100 pieces of one article, beside as many of a hundred articles
    HotArticle,
    /// All of these but saga and hot-article
    All,
    /// The relay alone, for the measures above
    #[value(hide = true)]
    RelayProcess,
}

/// Beside whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// relay, backlog and latency: a Kafka Connect worker with Debezium's outbox router, tuned and warmed up; fetched with Maven
    Debezium,
    /// intake and hot: one transaction a message, one consumer
    PerMessage,
    /// intake and hot: one transaction a message, a consumer a partition
    PerPartition,
    /// saga: Restate with a program of three steps; fetched with npm, and built
    Restate,
}

const EXAMPLES: &str = "\
Examples:
  scripts/bench relay --peer debezium
  scripts/bench held-xmin --held 600 --runs 1
  scripts/bench all --peer debezium --peer per-message --json > crates/bench/results.jsonl
  scripts/bench saga --rate 200 --seconds 30
  scripts/bench saga --search --peer restate
  scripts/bench saga --whole --brokers-time --json
  scripts/bench hot-article --buyers 10000
  scripts/bench --plot

A line of --json:
  measure, value, unit   what, the median of our runs, of what
  peer, ratio            the peer's median, or the limit if no peer ran; value / peer. Left out where there is neither
  peer_name              who or what that is: Debezium, Restate, limit
  rows                   in the outbox when it was drained, or events in the topic of a rebuild
  runs                   [ours, peer] of each run
  cpu_s, peak_mb         [ours, peer] of the processes that do the work; CPU seconds of `relay sustained` are per 100,000 events
  quantiles              of `latency p50`: shares, and for each run [ours, peer] at each of them
  detail                 of `saga p50` and `saga sustained`: each side's latencies, hops, processes, and what an order costs
  machine, versions      where that was, and of what
Words about the runs go to stderr. With STAGE_KAFKA, STAGE_POSTGRES and STAGE_REGISTRY set, the stage that they name is used.

--plot draws drain-, latency- and backlog-light.svg and -dark.svg into the folder `charts` beside the results.

Exit codes: 0 measured, 1 something failed or was not right, 2 wrong usage";

/// Where results are kept, from the workspace's root.
const RESULTS: &str = "crates/bench/results.jsonl";

/// Measures Farandole on real Kafka, PostgreSQL and registry. What was measured is read back and checked before a figure is
/// printed; both sides run in the same run on the same parts, in turns.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    #[arg(required_unless_present = "plot")]
    what: Option<What>,
    /// Draw charts from results of --json, and measure nothing
    #[arg(long, value_name = "RESULTS", num_args = 0..=1, require_equals = true, default_missing_value = RESULTS, conflicts_with = "what")]
    plot: Option<PathBuf>,
    /// Run a peer as well; may be given for each
    #[arg(long, value_enum)]
    peer: Vec<Peer>,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// How often each side runs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    runs: u16,
    /// Events a run [default: relay and backlog 1,000,000, latency 30,000, held-xmin 500,000, intake and hot 300,000, rebuild 100,000 and 1,000,000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    events: Option<u32>,
    /// rebuild: with 10,000,000 events as well, which takes some twenty minutes for three runs
    #[arg(long)]
    large: bool,
    /// rebuild: of events of one aggregate alone, all in one partition
    #[arg(long)]
    one_aggregate: bool,
    /// held-xmin: seconds that the foreign transaction has been open, under load, before anything is measured
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    held: u64,
    /// idle: seconds of a run
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    idle: u64,
    #[command(flatten)]
    saga: saga::Args,
}

impl Args {
    fn wants(&self, what: What) -> bool {
        self.what == Some(what) || self.what == Some(What::All)
    }

    fn events(&self, default: u32) -> u32 {
        self.events.unwrap_or(default)
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = match (&args.plot, args.what) {
        (Some(results), _) => charts::plot(results),
        (None, Some(What::RelayProcess)) => relay_process::run().await,
        (None, _) => run(args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    if args.what == Some(What::Codec) {
        let version = machine::kit_version();
        if !args.json {
            report::heading(&machine::describe(), &version);
        }
        return show(&args, &codec::measure(args.runs)?, &version);
    }
    let debezium = args.peer.contains(&Peer::Debezium)
        && [What::Relay, What::Backlog, What::Latency].into_iter().any(|what| args.wants(what));
    let is_saga = args.what == Some(What::Saga);
    let (mail, brokers_time) = (is_saga && args.saga.whole, is_saga && args.saga.brokers_time);
    let stage = tokio::task::spawn_blocking(move || {
        Stage::attach().or_else(|_| Stage::start(Options { logical: debezium, mail, brokers_time, ..Options::default() }))
    })
    .await??;
    let mut peer = if debezium { Some(relay::peer(&stage).await?) } else { None };
    let measured = measure(&args, &stage, &mut peer).await;
    if let Some(Publisher::Debezium(worker)) = peer {
        worker.end().await?;
    }
    tokio::task::spawn_blocking(|| drop(stage)).await?;
    measured
}

async fn measure(args: &Args, stage: &Stage, peer: &mut Option<Publisher>) -> anyhow::Result<()> {
    let mut versions = machine::versions(stage.postgres()).await?;
    if peer.is_some() {
        versions = format!("{versions}, Debezium {}", Debezium::version());
    }
    if args.what == Some(What::Saga) && args.peer.contains(&Peer::Restate) {
        versions = format!("{versions}, Restate {}", saga::restate_version());
    }
    if !args.json {
        report::heading(&machine::describe(), &versions);
    }
    // Each as soon as it is known: all of them take half an hour.
    let show = |figures: &[Figure]| show(args, figures, &versions);
    if args.what == Some(What::Saga) {
        show(&saga::measure(stage, &args.saga, args.peer.contains(&Peer::Restate), args.json).await?)?;
    }
    if args.what == Some(What::HotArticle) {
        show(&saga::hot(stage, &args.saga, args.runs).await?)?;
    }
    if args.wants(What::Codec) {
        show(&codec::measure(args.runs)?)?;
    }
    if args.wants(What::Idle) {
        show(&idle::measure(stage, Duration::from_secs(args.idle), args.runs).await?)?;
    }
    if args.wants(What::Relay) {
        show(&relay::measure(stage, peer, args.events(1_000_000), args.runs).await?)?;
    }
    if args.wants(What::Backlog) {
        show(&backlog::measure(stage, peer, args.events(1_000_000), args.runs).await?)?;
    }
    if args.wants(What::Latency) {
        show(&latency::measure(stage, peer, args.events(30_000), args.runs).await?)?;
    }
    if args.wants(What::Rebuild) {
        let sizes = args.events.map_or_else(|| rebuild::SIZES.to_vec(), |events| vec![events]);
        for events in sizes.into_iter().chain(args.large.then_some(rebuild::LARGE)) {
            show(&match args.one_aggregate {
                true => rebuild::measure_one(stage, events, args.runs).await?,
                false => rebuild::measure(stage, events, args.runs).await?,
            })?;
        }
    }
    if args.wants(What::HeldXmin) {
        show(&held::measure(stage, Duration::from_secs(args.held), args.events(500_000), args.runs).await?)?;
    }
    let mut beside: Vec<Option<Plain>> = args
        .peer
        .iter()
        .filter_map(|peer| match peer {
            Peer::Debezium | Peer::Restate => None,
            Peer::PerMessage => Some(Some(Plain::One)),
            Peer::PerPartition => Some(Some(Plain::Each)),
        })
        .collect();
    if beside.is_empty() {
        beside.push(None);
    }
    for (what, name, customers) in [(What::Intake, "intake", 10_007), (What::Hot, "hot", 10)] {
        for plain in beside.iter().copied().filter(|_| args.wants(what)) {
            show(&[intake::measure(stage, name, customers, args.events(300_000), args.runs, plain).await?])?;
        }
    }
    Ok(())
}

fn show(args: &Args, figures: &[Figure], versions: &str) -> anyhow::Result<()> {
    for figure in figures {
        if args.json {
            println!("{}", serde_json::to_string(&figure.line(&machine::describe(), versions))?);
        } else {
            report::row(figure);
        }
    }
    Ok(())
}
