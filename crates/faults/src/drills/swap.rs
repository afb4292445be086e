//! Tables are rebuilt, compared and swapped while two replicas of their service work under load.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use super::callers::Answers;
use super::effects::Started;
use super::ground::{Build, Ground};
use super::operator::Ended;
use super::report::Drill;
use super::sockets::connections;

/// Commands have one connection.
const COMMANDS: u32 = 1;
/// Between two looks at the connections.
const SAMPLE: Duration = Duration::from_millis(5);
/// How much slower a request may be, of a hundred the slowest. It is said and decides nothing: that is the machine's.
const GROWTH: f64 = 1.25;

/// How it is done.
#[derive(Debug, Clone, Copy)]
pub struct Swaps {
    /// How many, one after the other.
    pub times: u32,
    /// A second replica, of another build, runs beside the first.
    pub second: bool,
    /// How long requests are watched before.
    pub before: Duration,
}

/// Swaps the tables of one service.
pub async fn drill(ground: &Ground, service: &'static str, swaps: Swaps) -> anyhow::Result<Drill> {
    let mut drill = Drill::begin("swap", service);
    ground.well().await?;
    ground.note_mails().await?;
    if swaps.second {
        ground.second(service, true).await?;
    }
    ground.effects.begin();
    let began = Instant::now();
    tokio::time::sleep(swaps.before).await;
    let (before, since) = (ground.callers.answers(began), Instant::now());
    let mut most = 0;
    for n in 0..swaps.times {
        // By turns with the binary of either build: the one swaps beneath the other.
        let build = if swaps.second && n % 2 == 0 { Build::Second } else { Build::First };
        let (ended, held) = watched(ground, service, build).await?;
        drill.that(ended.is_success(), || format!("the rebuild of {service} {}", ended.how()));
        drill.that(ended.differences() == 0, || format!("{service}: {} row(s) differ: {}", ended.differences(), ended.report));
        drill.that(ended.report["replaced"].is_string(), || format!("{service}: nothing was swapped"));
        let number = |what: &str| ended.report[what].as_f64().unwrap_or_default();
        let rows: i64 = tables(&ended.report).filter_map(|table| table["live"].as_i64()).sum();
        let (events, seconds, pause) = (number("events"), number("seconds"), number("pause_ms"));
        drill.line(format!(
            "{events} events folded in {seconds:.1} s, {rows} rows equal, writers paused for {pause:.0} ms, {held} connection(s)"
        ));
        most = most.max(held);
    }
    let during = ground.callers.answers(since);
    let started = ground.effects.started();
    if swaps.second {
        ground.second(service, false).await?;
    }
    requests(&mut drill, &before, &during);
    let database = farandole::Config::default().database;
    let parts = [
        database.max_connections,
        database.intake_connections,
        database.agenda_connections,
        database.relay_connections,
        COMMANDS,
    ];
    let pool = parts.iter().sum::<u32>() as usize;
    let most_allowed = (pool / 4).max(1);
    drill.line(format!("{most} connection(s) of the rebuild at most; a quarter of a replica's {pool} are {most_allowed}"));
    drill.that(most <= most_allowed, || format!("{service}: {most} connections of the rebuild, more than {most_allowed}"));
    let Started { effects, twice } = started;
    drill.line(format!("{effects} effect(s) started, {} of them twice", twice.len()));
    drill.that(twice.is_empty(), || format!("{service}: effects started twice: {}", twice.join(", ")));
    Ok(drill.end())
}

fn tables(report: &Value) -> impl Iterator<Item = &Value> {
    report["tables"].as_array().into_iter().flatten()
}

/// Requests before and during.
fn requests(drill: &mut Drill, before: &Answers, during: &Answers) {
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    let growth = ms(during.p99) / ms(before.p99).max(0.001);
    drill.line(format!(
        "requests: {} before, p50 {:.1} ms, p99 {:.1} ms; {} during, p50 {:.1} ms, p99 {:.1} ms: {growth:.2} times ({} a quarter more)",
        before.count,
        ms(before.p50),
        ms(before.p99),
        during.count,
        ms(during.p50),
        ms(during.p99),
        if growth <= GROWTH { "within" } else { "MORE than" },
    ));
    drill.line(format!("{} request(s) failed", during.unusual.len()));
    let first = during.unusual.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    drill.that(during.unusual.is_empty(), || {
        format!("{} request(s) failed while tables were swapped: {first}", during.unusual.len())
    });
    drill.that(during.count > 0, || "nobody asked for anything meanwhile: nothing is proved".to_owned());
}

/// Rebuilds, compares and swaps, and counts the connections that it has to PostgreSQL meanwhile, at most.
async fn watched(ground: &Ground, service: &'static str, build: Build) -> anyhow::Result<(Ended, usize)> {
    let port = ground.server.port()?;
    let running = ground.operator(service, build)?.start(&["rebuild", "--verify", "--execute", "--reason", "drill"])?;
    let pid = running.pid().context("it has just been started")?;
    let ending = running.end();
    tokio::pin!(ending);
    let mut most = 0;
    loop {
        tokio::select! {
            ended = &mut ending => return ended.map(|ended| (ended, most)),
            () = tokio::time::sleep(SAMPLE) => most = most.max(connections(pid, port)),
        }
    }
}
