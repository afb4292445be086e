//! `explore`: the shop's worlds, the bugs that must be found in them, and what really ran.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use explore::{bugs, live, ran, worlds};
use farandole::Codec;
use farandole_check::{Bounds, Recording};
use sqlx::PgPool;

/// Explores the shop's worlds: every order in which records, commands, deadlines, answers and losses may come.
///
/// In the end it says how many worlds and states there were, whether all of them were explored whole, and what was violated.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  scripts/explore                       every world, and every bug: some minutes\n  scripts/explore --world 'one order'   one of them\n  scripts/explore --deep                six hours a world, with two orders and every loss\n  scripts/explore --walks 20            beside random walks of 20 seconds each\n  scripts/explore --replay run.json     a run that `scripts/demo --record run.json` wrote\n  scripts/explore audit                 the topics of a shop that runs\n\nExit codes: 0 nothing is violated (the last line says how many worlds were explored whole), 1 something is, 2 wrong usage"
)]
struct Args {
    /// Larger worlds, for hours
    #[arg(long)]
    deep: bool,
    /// Only the world of this name
    #[arg(long, value_name = "NAME")]
    world: Option<String>,
    /// States of a world at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    states: Option<u64>,
    /// Leave out the bugs
    #[arg(long)]
    no_bugs: bool,
    /// For each bug and world, also walk at random for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    walks: Option<u64>,
    /// Replay a recorded run instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["deep", "world", "states", "no_bugs", "walks"])]
    replay: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Audit the topics of a running shop: every decision is made again, and the worlds' invariants are checked on what came of them
    Audit {
        /// Kafka's bootstrap servers
        #[arg(long, env = "FARANDOLE_KAFKA_BOOTSTRAP")]
        bootstrap: String,
        /// The schema registry
        #[arg(long, env = "FARANDOLE_REGISTRY_URL")]
        registry: String,
        /// In front of every topic's name
        #[arg(long, env = "FARANDOLE_TOPICS_PREFIX", default_value = "")]
        prefix: String,
        /// A database of one of the services, for the ids of schemas that it has seen
        #[arg(long, env = "FARANDOLE_DATABASE_URL", hide_env_values = true)]
        database: String,
    },
}

fn main() -> ExitCode {
    farandole::cli::end_with_the_reader();
    let args = Args::parse();
    let done = match (&args.verb, &args.replay) {
        (Some(verb), _) => audit(verb),
        (None, Some(file)) => replay(file),
        (None, None) => explore(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("explore: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn explore(args: &Args) -> anyhow::Result<bool> {
    let bounds = if args.deep { Bounds::deep() } else { Bounds { progress: true, ..Bounds::ci() } };
    let bounds = args.states.map_or(bounds, |states| Bounds { states, ..bounds });
    let named = |name: &str| args.world.as_ref().is_none_or(|only| only == name);
    let names: Vec<String> = worlds::worlds(args.deep).iter().map(|world| world.name().to_owned()).collect();
    if !names.iter().any(|name| named(name)) {
        eprintln!("explore: there is no such world; there are: {}", names.join(", "));
        std::process::exit(2);
    }
    let (begun, mut worlds, mut states, mut exhausted, mut violations) = (Instant::now(), 0_u64, 0_u64, 0_u64, 0_u64);
    for world in worlds::worlds(args.deep).into_iter().filter(|world| named(world.name())) {
        let walked = args.walks.map(|seconds| world.walk(1, Duration::from_secs(seconds)));
        let report = world.explore(bounds);
        print!("{report}");
        if let Some(walked) = walked {
            let share = 100.0 * walked.states as f64 / report.states as f64;
            println!("  random walks: {} walks, {} states, {share:.1} % of those", walked.walks, walked.states);
        }
        (worlds, states, exhausted) = (worlds + 1, states + report.states, exhausted + u64::from(report.exhausted));
        violations += u64::from(!report.holds());
    }
    let rate = states as f64 / begun.elapsed().as_secs_f64();
    if !args.no_bugs && args.world.is_none() {
        violations += bugs(bounds, args.walks)?;
    }
    println!("{worlds} worlds, {states} states at {rate:.0}/s, {exhausted} of {worlds} exhausted, {violations} violations");
    Ok(violations == 0)
}

/// How many of the bugs aren't found.
fn bugs(bounds: Bounds, walks: Option<u64>) -> anyhow::Result<u64> {
    let (mut missed, mut by_walks, all) = (0, 0, bugs::bugs().count() as u64);
    for bug in bugs::bugs() {
        let report = (bug.world)().explore(bounds);
        let walked = walks.map(|seconds| (bug.world)().walk(1, Duration::from_secs(seconds)));
        let walked = walked.map_or_else(String::new, |walked| match walked.violated_after {
            Some(after) => {
                by_walks += 1;
                format!("; by walks after {:.1} s", after.as_secs_f64())
            }
            None => "; not by walks".to_owned(),
        });
        match &report.violation {
            Some(violation) if violation.violated.contains(bug.violates) => {
                let (steps, took) = (violation.chapters.len(), report.took.as_secs_f64());
                println!("found: {}: {} steps, {} states, {took:.1} s{walked}", bug.name, steps, report.states);
            }
            Some(violation) => {
                missed += 1;
                println!("MISSED: {}: something else was found:\n{violation}", bug.name);
            }
            None => {
                missed += 1;
                println!("MISSED: {}: {report}", bug.name);
            }
        }
    }
    println!("{} of {} bugs found", all - missed, all);
    if walks.is_some() {
        println!("{by_walks} of {all} by random walks");
    }
    Ok(missed)
}

fn replay(file: &PathBuf) -> anyhow::Result<bool> {
    let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let run: Recording = serde_json::from_slice(&text).with_context(|| format!("{} is no recorded run", file.display()))?;
    Ok(told(&run, false))
}

fn audit(verb: &Verb) -> anyhow::Result<bool> {
    let Verb::Audit { bootstrap, registry, prefix, database } = verb;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let run = runtime.block_on(async {
        let pool = PgPool::connect(database).await.context("connecting to the database")?;
        let now = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
        let now: i64 = sqlx::query_scalar(now).fetch_one(&pool).await.context("asking the database for the time")?;
        live::recording(bootstrap, prefix, &Codec::new(registry, pool), now).await
    })?;
    Ok(told(&run, true))
}

/// Says what becomes of a run; whether it holds. What is still to come is no fault while the shop runs.
fn told(run: &Recording, runs: bool) -> bool {
    let replayed = ran::ran(run).replay(run);
    for why in &replayed.refused {
        println!("refused: {why}");
    }
    for why in &replayed.vacuous {
        println!("says nothing: {why}");
    }
    for why in &replayed.pending {
        println!("to come: {why}");
    }
    let violated = if replayed.pending.is_empty() { replayed.violated() } else { replayed.violated_always() };
    for why in &violated {
        println!("violated: {why}");
    }
    let (decisions, silent) = (replayed.decisions, replayed.silent);
    let has_come = runs || replayed.pending.is_empty();
    let holds = has_come && replayed.refused.is_empty() && replayed.vacuous.is_empty() && violated.is_empty();
    let word = if holds { "allowed" } else { "refused" };
    println!("{word}: {decisions} decisions made again, {silent} records that led to nothing");
    holds
}
