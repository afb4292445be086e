//! All drills one after the other, beside the load; then rest and audit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::ground::Ground;
use super::load::{self, Orders};
use super::report::{Drill, Report};
use super::swap::Swaps;
use super::{kill, lost, swap};
use crate::run::Owned;
use crate::services::WITHOUT_MAIL;
use crate::shop::audit::{self, Audited};
use crate::shop::load::Load;

/// What is drilled.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What load, strays and kills are drawn from.
    pub seed: u64,
    /// Which services are drilled.
    pub services: &'static [&'static str],
    /// The load.
    pub orders: Orders,
    /// How often the tables of each service are swapped, one time after the other.
    pub swaps: u32,
    /// A second replica, of another build, runs beside the first meanwhile.
    pub second: bool,
    /// How long requests are watched before.
    pub before: Duration,
    /// How many rebuilds are killed.
    pub kills: u32,
    /// Whose databases are lost at once while nothing moves, one set after the other.
    pub drained: Vec<Vec<&'static str>>,
    /// And in the middle of the load.
    pub undrained: Vec<Vec<&'static str>>,
}

impl Plan {
    /// All of it.
    pub fn long(seed: u64, orders: Orders, services: &'static [&'static str]) -> Self {
        let each: Vec<_> = services.iter().map(|service| vec![*service]).chain([services.to_vec()]).collect();
        let (drained, undrained) = (each.clone(), each);
        Self { seed, services, orders, swaps: 3, second: true, before: Duration::from_secs(15), kills: 20, drained, undrained }
    }

    /// Each kind of drill, as often as fits into some two minutes: swapped and killed is each service once.
    pub fn short(seed: u64, services: &'static [&'static str]) -> Self {
        // With the last of the services, which hears of most others.
        let last: Vec<_> = services.iter().copied().skip(3).collect();
        Self {
            swaps: 1,
            second: false,
            before: Duration::from_secs(3),
            kills: services.len() as u32,
            drained: vec![vec!["payments"], services.to_vec()],
            undrained: vec![vec!["inventory"], last],
            ..Self::long(seed, Orders::Drawn { rate: 10 }, services)
        }
    }
}

/// The drills, one a line.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for service in self.services {
            let replicas = if self.second { "two replicas" } else { "one replica" };
            writeln!(f, "swap             {service}, {} time(s) beside {replicas}", self.swaps)?;
        }
        writeln!(f, "kill             {} time(s)", self.kills)?;
        self.drained.iter().try_for_each(|set| writeln!(f, "lost, drained    {}", set.join(" and ")))?;
        self.undrained.iter().try_for_each(|set| writeln!(f, "lost, undrained  {}", set.join(" and ")))?;
        write!(f, "{} drills", self.services.len() + 1 + self.drained.len() + self.undrained.len())
    }
}

/// Carries the drills out on `ground`. Words about it go to stderr.
///
/// # Errors
/// When they can't go on. What is found wrong is no error: see [`Report`].
pub async fn run(ground: &Ground, plan: &Plan) -> anyhow::Result<Report> {
    let fronts = [ground.front("orders")?, ground.front("inventory")?];
    let load = Arc::new(Load::new(plan.seed, plan.orders.rate(), &fronts[0], &fronts[1])?);
    let stop = CancellationToken::new();
    let (told, loading, orders) = (stop.clone(), Arc::clone(&load), plan.orders.clone());
    let under_way = Owned::new(tokio::spawn(async move { load::run(&loading, &orders, fronts, told).await })).join();
    tokio::pin!(under_way);
    let drills = tokio::select! {
        drills = drill(ground, plan) => drills?,
        early = &mut under_way => {
            let told = early.context("the load")?;
            bail!("the load ended before the drills: {told}");
        }
    };
    eprintln!("faults: all done; the load goes on to its end, then everything comes to rest and is audited");
    stop.cancel();
    let load_told = under_way.await.context("the load")?;
    let mut ledger = ground.callers.ledger();
    // Of what never was answered only those know who asked.
    ledger.failed.extend(load.ledger().failed.into_iter().filter(|failed| failed.contains("not answered within")));
    let restored =
        plan.services.iter().copied().filter(|s| plan.drained.iter().chain(&plan.undrained).any(|set| set.contains(s)));
    let audited = Audited { direct: &ground.direct, strays: &ground.strays, registry: None, restored: restored.collect() };
    let mut checks = audit::settle(&audited, &ledger).await.context("auditing")?;
    if let Some(mails) = &ground.mails {
        checks.push(mails.check().await.context("auditing mails")?);
    }
    let answers: Vec<String> = ledger.answers.iter().map(|(status, n)| format!("{n} × {status}")).collect();
    let without = if ground.mails.is_some() { String::new() } else { format!("\n{WITHOUT_MAIL}") };
    let load = format!("{load_told}\n{} orders acknowledged; services answered {}{without}", ledger.placed(), answers.join(", "));
    Ok(Report { drills, trouble: ground.ended(), checks, load })
}

async fn drill(ground: &Ground, plan: &Plan) -> anyhow::Result<Vec<Drill>> {
    // Before anything is drilled there is something in every topic.
    ground.flows().await?;
    strays(ground)?;
    let mut drills = Vec::new();
    let swaps = Swaps { times: plan.swaps, second: plan.second, before: plan.before };
    for service in plan.services {
        drills.push(swap::drill(ground, service, swaps).await?);
    }
    drills.push(kill::drill(ground, plan.seed, plan.kills).await?);
    for set in &plan.drained {
        drills.push(lost::drained(ground, set).await?);
    }
    for set in &plan.undrained {
        drills.push(lost::undrained(ground, set).await?);
    }
    Ok(drills)
}

/// Records that nobody can read, of which each service hears some: they park, and are to be parked afterwards.
fn strays(ground: &Ground) -> anyhow::Result<()> {
    tokio::task::block_in_place(|| {
        ground.strays.unreadable("orders", "farandole.orders.OrderPlaced")?;
        ground.strays.unreadable("orders", "farandole.orders.OrderConfirmed")?;
        ground.strays.unreadable("payments", "farandole.payments.PaymentDeclined")
    })
}
