//! Rebuilds are killed with -9 in each of their phases: the live tables are whole, the service answers, the next one goes on to its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{Connection as _, PgConnection};

use super::databases::{beside, live};
use super::ground::{Build, Ground};
use super::held::tables;
use super::operator::Running;
use super::report::Drill;
use crate::plan::Draw;

/// The whole of it, with comparison and swap.
const REBUILD: [&str; 5] = ["rebuild", "--verify", "--execute", "--reason", "drill"];
/// What the log says when a phase begins.
const INDEXES: &str = "creating indexes";
const COMPARING: &str = "comparing with the live tables";
/// How long a phase may take to begin.
const PHASE: Duration = Duration::from_secs(300);
/// Rebuilds that may end before they are killed, for each that is.
const MISSES: u32 = 4;

/// Where a rebuild is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Folding,
    Indexes,
    Comparing,
    /// The last part of what comes after the comparison's beginning.
    Swapping,
}

const PHASES: [Phase; 4] = [Phase::Folding, Phase::Indexes, Phase::Comparing, Phase::Swapping];

/// When its phases begin, from its start.
#[derive(Debug, Clone, Copy)]
struct Pace {
    indexes: Duration,
    comparing: Duration,
    end: Duration,
}

/// What is live, and what lies beside it.
#[derive(Debug, PartialEq, Eq)]
struct Live {
    tables: BTreeMap<String, i64>,
    replaced: Vec<String>,
}

/// Kills so many, service by service and phase by phase, at moments drawn from `seed`.
pub async fn drill(ground: &Ground, seed: u64, times: u32) -> anyhow::Result<Drill> {
    let mut drill = Drill::begin("kill", &format!("{times} times"));
    let mut draw = Draw::new(seed ^ 0x0D1E);
    let mut paces = BTreeMap::new();
    ground.note_mails().await?;
    for service in ground.names.iter().copied().take(times as usize) {
        paces.insert(service, pace(ground, service, &mut drill).await?);
    }
    let (mut killed, mut tried, mut swapped) = (BTreeMap::<Phase, u32>::new(), 0, 0);
    while killed.values().sum::<u32>() < times {
        let done = killed.values().sum::<u32>();
        if tried > times * MISSES {
            bail!("{tried} rebuilds were started to kill {times}, and only {done} were killed");
        }
        tried += 1;
        let (service, phase) = turn(ground.names, done as usize);
        let pace = paces.get(service).context("each service's pace was taken")?;
        let mut conn = PgConnection::connect(&ground.database(service)?.url).await?;
        let before = look(&mut conn, service).await?;
        let running = ground.operator(service, Build::First)?.start(&REBUILD)?;
        if !kill(running, phase, pace, &mut draw).await? {
            continue;
        }
        *killed.entry(phase).or_default() += 1;
        let after = look(&mut conn, service).await?;
        swapped += u32::from(after.tables != before.tables);
        check(&mut drill, (service, phase), &before, &after);
        ground.ready(service, Build::First).await?;
        let ended = ground.operator(service, Build::First)?.run_after_a_kill(&REBUILD).await?;
        let how = || format!("{service}, killed while {phase:?}: the next rebuild {}", ended.how());
        drill.that(ended.is_success() && ended.differences() == 0, how);
        conn.close().await?;
    }
    let counts: Vec<String> = killed.iter().map(|(phase, n)| format!("{n} {phase:?}").to_lowercase()).collect();
    drill.line(format!(
        "killed {} ({}), {swapped} of them after the swap; each was followed by one that ended right",
        times,
        counts.join(", ")
    ));
    for service in ground.names {
        clean(ground, service, &mut drill).await?;
    }
    Ok(drill.end())
}

/// Whose rebuild is killed as the `n`th, and where: each service meets each phase.
fn turn(services: &[&'static str], n: usize) -> (&'static str, Phase) {
    // When service and phase begin anew together, they would only meet as they have.
    let (rounds, together) = (n / services.len(), (1..).find(|rounds| (rounds * services.len()).is_multiple_of(PHASES.len())));
    let apart = rounds / together.unwrap_or(1);
    (services[n % services.len()], PHASES[(n + apart) % PHASES.len()])
}

/// Runs one to its end, and looks when its phases begin.
async fn pace(ground: &Ground, service: &'static str, drill: &mut Drill) -> anyhow::Result<Pace> {
    let began = Instant::now();
    let mut running = ground.operator(service, Build::First)?.start(&REBUILD)?;
    running.says(INDEXES, PHASE).await;
    let indexes = began.elapsed();
    running.says(COMPARING, PHASE).await;
    let comparing = began.elapsed();
    let ended = running.end().await?;
    drill.that(ended.is_success(), || format!("{service}: a whole rebuild {}", ended.how()));
    Ok(Pace { indexes, comparing, end: began.elapsed() })
}

/// Kills it in `phase`; whether it ran until then.
async fn kill(mut running: Running, phase: Phase, pace: &Pace, draw: &mut Draw) -> anyhow::Result<bool> {
    let rest = pace.end.saturating_sub(pace.comparing).as_secs_f64();
    let (word, within) = match phase {
        Phase::Folding => (None, (0.0, pace.indexes.as_secs_f64())),
        Phase::Indexes => (Some(INDEXES), (0.0, pace.comparing.saturating_sub(pace.indexes).as_secs_f64())),
        Phase::Comparing => (Some(COMPARING), (0.0, rest * 0.6)),
        Phase::Swapping => (Some(COMPARING), (rest * 0.6, rest)),
    };
    let pause = draw.between(within);
    if let Some(word) = word
        && !running.says(word, PHASE).await
    {
        return Ok(false);
    }
    tokio::time::sleep(Duration::from_secs_f64(pause)).await;
    running.kill().await
}

async fn look(conn: &mut PgConnection, service: &str) -> anyhow::Result<Live> {
    let names: Vec<&str> = tables(service).iter().map(|(table, _)| *table).collect();
    let mut replaced = beside(conn).await?;
    replaced.retain(|schema| schema.starts_with("farandole_replaced_"));
    Ok(Live { tables: live(conn, &names).await?, replaced })
}

/// All tables are those of before, or all were swapped.
fn check(drill: &mut Drill, (service, phase): (&str, Phase), before: &Live, after: &Live) {
    let there = after.tables.values().all(|table| *table > 0);
    drill.that(there, || format!("{service}, killed while {phase:?}: live tables are gone: {after:?}"));
    let same = before.tables.iter().filter(|(name, table)| after.tables.get(*name) == Some(table)).count();
    let untouched = same == before.tables.len() && before.replaced == after.replaced;
    let swapped = same == 0 && before.replaced != after.replaced;
    drill.that(untouched || swapped, || format!("{service}, killed while {phase:?}: half swapped: {before:?}, then {after:?}"));
}

/// Nothing is left of rebuilds once it was cleaned up.
async fn clean(ground: &Ground, service: &str, drill: &mut Drill) -> anyhow::Result<()> {
    let operator = ground.operator(service, Build::First)?;
    let ended = operator.run_after_a_kill(&["rebuild", "--verify"]).await?;
    drill.that(ended.is_success() && ended.differences() == 0, || format!("{service}: the last comparison {}", ended.how()));
    let ended = operator.run_after_a_kill(&["rebuild", "--clean", "--execute"]).await?;
    drill.that(ended.is_success(), || format!("{service}: `rebuild --clean --execute` {}", ended.how()));
    let mut conn = PgConnection::connect(&ground.database(service)?.url).await?;
    let left = beside(&mut conn).await?;
    drill.that(left.is_empty(), || format!("{service}: schemas are left: {}", left.join(", ")));
    Ok(conn.close().await?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use demo::shop::{CORE, SERVICES};

    use super::*;

    /// Guard: the quotient. Without it each of four services is always killed in the same of four phases.
    #[test]
    fn each_service_meets_each_phase() {
        for services in [&CORE[..], &SERVICES] {
            let pairs = services.len() * PHASES.len();
            assert_eq!((0..pairs).map(|n| turn(services, n)).collect::<BTreeSet<_>>().len(), pairs);
            let few: BTreeSet<Phase> = (0..services.len()).map(|n| turn(services, n).1).collect();
            assert_eq!(few.len(), PHASES.len(), "once each meets every phase");
        }
    }
}
