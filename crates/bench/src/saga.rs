//! The speed of the shop's saga: orders placed at a fixed rate, until they are confirmed.
//!
//! Services, broker, PostgreSQL, registry, acquirer and this program share the machine. What is measured is checked afterwards: every order
//! that was taken is confirmed once, and its card authorised once.

mod account;
mod acquirer;
mod basket;
mod batches;
mod checked;
mod clock;
mod figures;
mod hops;
mod hot;
mod http;
mod open;
mod poll;
mod restate;
mod run;
mod search;
mod shop;
mod side;
mod spread;
mod timeline;
mod usage;
mod watch;

use std::collections::HashMap;

use anyhow::Context as _;
use stage::Stage;
use uuid::Uuid;

use crate::report::{self, Figure};
use account::Account;
use basket::Range;
use clock::Clock;
use hops::Known;
use restate::Restate;
use run::{Load, Outcome};
use shop::Running;
use side::Side;
use timeline::Timeline;
use watch::Watch;

pub use restate::version as restate_version;

/// Articles, and pieces of each: enough for any run.
const ARTICLES: u64 = 1_000;
const PIECES: u64 = 1_000_000;

/// Seconds of arrivals that may be open at the rate that was asked for: beyond it orders would miss the time within which they are to be
/// confirmed. A machine that is busy with something else for some seconds doesn't end the run.
const MOST_OPEN: f64 = 30.0;

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// saga: orders a second
    #[arg(long, default_value_t = 200, value_name = "ORDERS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// saga: seconds that are measured
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// saga: seconds at that rate before anything counts, since the broker compiles its code while it first runs it
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up: u64,
    /// saga: look for the highest rate that is kept up with, too, and measure there
    #[arg(long)]
    search: bool,
    /// saga: with shipping, carrier, notifications and mail catcher, too, until the last order is delivered
    #[arg(long)]
    pub whole: bool,
    /// saga: records have the time at which the broker wrote them, not when they were sent, and the table of hops parts there
    #[arg(long)]
    pub brokers_time: bool,
    /// hot-article: buyers of each run
    #[arg(long, default_value_t = 10_000, value_name = "ORDERS", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    buyers: u32,
}

/// What a side did at the rate that was asked for, and at the highest that was held.
struct Measured {
    at_rate: Account,
    at_limit: Option<Account>,
}

/// Measures at the rate that is asked for, and at the limit; ours, and then the peer if there is one. Told in words unless `is_quiet`.
///
/// # Errors
/// When something doesn't work, or isn't right.
pub async fn measure(stage: &Stage, args: &Args, has_peer: bool, is_quiet: bool) -> anyhow::Result<Vec<Figure>> {
    let shop = Running::start(stage, args.whole).await?;
    let ours = ours(&shop, stage, args).await;
    shop.stop().await;
    let ours = ours?;
    let mut peer = None;
    if has_peer {
        let restate = Restate::start().await?;
        let theirs = theirs(&restate.side, args).await;
        restate.stop();
        peer = Some(theirs?);
    }
    if !is_quiet {
        let all = [Some(&ours), peer.as_ref()].into_iter().flatten();
        all.flat_map(|side| std::iter::once(&side.at_rate).chain(&side.at_limit)).for_each(Account::print);
        println!();
    }
    let mut figures = figures::of(&ours.at_rate, peer.as_ref().map(|peer| &peer.at_rate), false);
    if let Some(limit) = &ours.at_limit {
        figures.extend(figures::of(limit, peer.as_ref().and_then(|peer| peer.at_limit.as_ref()), true));
    }
    Ok(figures)
}

async fn ours(shop: &Running, stage: &Stage, args: &Args) -> anyhow::Result<Measured> {
    let range = Range { name: "bench-".to_owned(), articles: ARTICLES, pieces: PIECES };
    shop.receive(&range).await?;
    let watch = Watch::start(&shop.kafka, &shop.topic("orders"))?;
    let side = Side::ours(shop.orders.clone(), range, watch, shop.processes());
    let Outcomes { at_rate, at_limit, placed } = outcomes("ours", &side, args).await?;
    side.end()?;
    if args.whole {
        eprintln!("bench: the audit of the whole shop holds, {} things checked", shop.audit().await?);
    }
    let (clock, timeline) = (Clock::of(stage.postgres()).await?, shop.timeline().await?);
    let cards = acquirer::authorisations(&shop.acquirer).await?;
    checked::confirmed(&timeline, &cards, placed)?;
    eprintln!("bench: {placed} orders were taken, and each was confirmed once and its card authorised once");
    if args.brokers_time && !timeline.is_brokers_time {
        eprintln!("bench: the stage in use gives records the sender's time; unset STAGE_KAFKA for the broker's");
    }
    let account = |(outcome, steps)| account(&clock, &timeline, &cards, placed, outcome, steps);
    Ok(Measured { at_rate: account((at_rate, Vec::new()))?, at_limit: at_limit.map(account).transpose()? })
}

async fn theirs(side: &Side, args: &Args) -> anyhow::Result<Measured> {
    let Outcomes { at_rate, at_limit, .. } = outcomes("Restate", side, args).await?;
    let account = |(outcome, steps)| Account {
        steps,
        name: "Restate",
        is_peers: true,
        outcome,
        hops: Vec::new(),
        is_brokers_time: false,
        events: Vec::new(),
    };
    Ok(Measured { at_rate: account((at_rate, Vec::new())), at_limit: at_limit.map(account) })
}

/// What came of a side's loads.
struct Outcomes {
    at_rate: Outcome,
    /// If it was looked for; with the rates that were tried on the way.
    at_limit: Option<(Outcome, Vec<(f64, bool)>)>,
    /// Orders that were placed in all.
    placed: u64,
}

/// At the rate that is asked for, and at the limit if it is.
async fn outcomes(name: &str, side: &Side, args: &Args) -> anyhow::Result<Outcomes> {
    let load = Load { rate: f64::from(args.rate), warm_up: args.warm_up, seconds: args.seconds, most_open: MOST_OPEN };
    let at_rate = run::run(side, load).await?;
    if !args.search {
        let placed = at_rate.placed;
        return Ok(Outcomes { at_rate, at_limit: None, placed });
    }
    let found = search::run(name, side, load.rate).await?;
    let held =
        found.held.with_context(|| format!("{name}: no rate from {:.0}/s on could be held: {:?}", load.rate, found.steps))?;
    let placed = at_rate.placed + found.placed;
    Ok(Outcomes { at_rate, at_limit: Some((held, found.steps)), placed })
}

/// Says where the time went of what came of a load.
fn account(
    clock: &Clock,
    timeline: &Timeline,
    cards: &HashMap<Uuid, i64>,
    placed: u64,
    outcome: Outcome,
    steps: Vec<(f64, bool)>,
) -> anyhow::Result<Account> {
    let known: HashMap<Uuid, Known> = outcome
        .orders
        .iter()
        .map(|(id, order)| (*id, Known::new(clock, order.due, order.answered, cards.get(id).copied(), order.confirmed)))
        .collect();
    let events = timeline.events.iter().filter(|(kind, _)| *kind != "StockReceived");
    Ok(Account {
        steps,
        name: "ours",
        is_peers: false,
        hops: hops::table(timeline, &known)?,
        is_brokers_time: timeline.is_brokers_time,
        events: events.map(|(kind, n)| (kind.clone(), *n as f64 / placed as f64)).collect(),
        outcome,
    })
}

/// Buyers of one article beside as many of a hundred, in turns.
///
/// # Errors
/// When something doesn't work, or the pieces aren't sold as often as there are.
pub async fn hot(stage: &Stage, args: &Args, runs: u16) -> anyhow::Result<[Figure; 2]> {
    let shop = Running::start(stage, false).await?;
    let rushes = rushes(&shop, u64::from(args.buyers), runs).await;
    shop.stop().await;
    let peer = "100 articles";
    let mut figures =
        [Figure::new("hot-article decided", "orders/s", peer), Figure::new("hot-article settled", "orders/s", peer)];
    for [hot, many] in rushes? {
        let side = |value| report::Side { value, cpu_s: 0.0, peak_mb: 0.0 };
        figures[0].runs.push((side(hot.decided), Some(side(many.decided))));
        figures[1].runs.push((side(hot.settled), Some(side(many.settled))));
    }
    Ok(figures)
}

async fn rushes(shop: &Running, buyers: u64, runs: u16) -> anyhow::Result<Vec<[hot::Rush; 2]>> {
    let watch = Watch::start(&shop.kafka, &shop.topic("orders"))?;
    let (mut all, mut first) = (Vec::new(), 0);
    let mut rush = async |name: String, is_hot| {
        let range = hot::range(name, is_hot);
        let rush = hot::run(shop, &watch, &range, buyers, first).await?;
        first += buyers;
        let hot::Rush { decided, settled, reserved, short } = rush;
        eprintln!(
            "bench: {}: {decided:.0} decided/s, {settled:.0} settled/s; {reserved} reserved, {short} short, by topics and database",
            range.name
        );
        anyhow::Ok(rush)
    };
    // The broker compiles its code while it first runs it.
    rush("warm-".to_owned(), false).await?;
    for run in 1..=runs {
        let many = rush(format!("many-{run}-"), false).await?;
        let hot = rush(format!("hot-{run}-"), true).await?;
        all.push([hot, many]);
    }
    watch.end()?;
    Ok(all)
}
