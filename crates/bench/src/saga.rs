//! The speed of the shop's saga: orders placed at a fixed rate, until they are confirmed.
//!
//! Services, broker, PostgreSQL, registry, acquirer and this program share the machine. What is measured is checked afterwards: every order that
//! was taken is confirmed once, and its card authorised once.

mod account;
mod acquirer;
mod audit;
mod basket;
mod clock;
mod hops;
mod http;
mod open;
mod poll;
mod run;
mod shop;
mod spread;
mod timeline;
mod usage;
mod watch;

use std::collections::HashMap;

use stage::Stage;
use uuid::Uuid;

use account::Account;
use basket::Range;
use clock::Clock;
use hops::Known;
use run::{Load, Outcome};
use shop::Running;
use timeline::Timeline;
use watch::Watch;

/// What is ordered: enough of it for any run.
const RANGE: Range = Range { name: "bench-", articles: 1_000, pieces: 1_000_000 };

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of saga")]
pub struct Args {
    /// saga: orders a second
    #[arg(long, default_value_t = 200, value_name = "ORDERS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// saga: seconds that are measured
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// saga: seconds at that rate before anything counts, since the broker compiles its code while it first runs it
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up: u64,
    /// saga: with shipping, carrier, notifications and mail catcher, too
    #[arg(long)]
    pub whole: bool,
}

/// Measures at the rate that is asked for.
///
/// # Errors
/// When something doesn't work, or isn't right.
pub async fn measure(stage: &Stage, args: &Args) -> anyhow::Result<Account> {
    let shop = Running::start(stage, args.whole).await?;
    let measured = at_rate(&shop, stage, args).await;
    shop.stop().await;
    measured
}

async fn at_rate(shop: &Running, stage: &Stage, args: &Args) -> anyhow::Result<Account> {
    shop.receive(RANGE).await?;
    let watch = Watch::start(&shop.kafka, &shop.topic("orders"))?;
    let load = Load { rate: f64::from(args.rate), warm_up: args.warm_up, seconds: args.seconds };
    let outcome = run::run(shop, &watch, RANGE, load, 0).await?;
    watch.end()?;
    account(shop, stage, load, outcome).await
}

/// Reads all of it back, checks it, and says where the time went.
async fn account(shop: &Running, stage: &Stage, load: Load, outcome: Outcome) -> anyhow::Result<Account> {
    let clock = Clock::of(stage.postgres()).await?;
    let (kafka, prefix) = (shop.kafka.clone(), shop.prefix.clone());
    let timeline = tokio::task::spawn_blocking(move || Timeline::read(&kafka, &prefix)).await??;
    let cards = acquirer::authorisations(&shop.acquirer).await?;
    let audited = audit::confirmed(&timeline, &cards, outcome.placed)?;
    let known: HashMap<Uuid, Known> = outcome
        .orders
        .iter()
        .map(|(id, order)| (*id, Known::new(&clock, order.due, order.answered, cards.get(id).copied(), order.confirmed)))
        .collect();
    let events = timeline.events.iter().map(|(kind, n)| (kind.clone(), *n as f64 / audited.orders as f64));
    Ok(Account {
        load,
        hops: hops::table(&timeline, &known)?,
        is_brokers_time: timeline.is_brokers_time,
        events: events.filter(|(kind, _)| kind != "StockReceived").collect(),
        outcome,
    })
}
