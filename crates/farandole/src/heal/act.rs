//! Applies what the survey found, under the relay's lease.

use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use crate::database::{gate, session};
use crate::fold;
use crate::heal::open::Open;
use crate::heal::order::{self, Queue};
use crate::heal::rows::{self, Scope};
use crate::heal::survey::{Diff, Found, PartitionDiff, Surveyor, Walking, counts};
use crate::heal::{Error, MissingRecord, Report, tasks};
use crate::publish::relay::log::{self, Lease, Log, Look, Purpose};
use crate::publish::relay::state::{Head, State};
use crate::publish::relay::{History, read};
use crate::wire::extent::Extent;

/// Records that wait for the rest of an input's events. Events of one input lie closely together; this bounds memory.
const WAITING: usize = 2_000;
/// A lease that was left without a word is waited for; it lapses a little after it says.
const MARGIN: std::time::Duration = std::time::Duration::from_millis(200);

/// A heal under way.
struct Healer<'a> {
    surveyor: &'a Surveyor<'a>,
    conn: PgConnection,
    log: Log,
    /// As of the last step.
    state: State,
    scope: Scope,
    applied: u64,
}

/// Does it, and says so.
pub(super) async fn act(
    surveyor: &Surveyor<'_>,
    pool: &PgPool,
    mut conn: PgConnection,
    look: Look,
    survey: Diff,
    mut report: Report,
) -> Result<Report, Error> {
    let service = &surveyor.config.service;
    alone(&mut conn, service).await?;
    idle(&mut conn, service).await?;
    let me = Uuid::now_v7();
    let (log, state) = lease(surveyor, pool, me, &look.state).await?;
    let mut healer = Healer { surveyor, conn, log, state, scope: survey.scope, applied: 0 };
    let beyond = survey.parts.iter().filter(|part| part.missing + part.known > 0);
    let (own, others): (Vec<_>, Vec<_>) = beyond.partition(|part| surveyor.fold.topic() == Some(part.extent.topic.as_str()));
    healer.parts(&own).await?;
    for part in others {
        healer.parts(&[part]).await?;
    }
    report.effects = Some(healer.end(&look, survey, me).await?);
    report.applied = Some(healer.applied);
    let Healer { log, mut state, conn, .. } = healer;
    log.release(&mut state).await?;
    // The lock goes with the session; how that ends is of no use to anybody.
    let _ = conn.close().await;
    report.done = true;
    Ok(report)
}

/// Takes the lock that every transaction shares which decides or starts something, until this session ends. Those that wait for it
/// are as bounded as this is (`lock_timeout`).
async fn alone(conn: &mut PgConnection, service: &str) -> Result<(), Error> {
    let locked = gate::alone(conn).await.map_err(Error::database("waiting for deciding transactions to finish"))?;
    locked.map_err(|holders| Error::Writing { service: service.to_owned(), holders })
}

/// Refuses while the service decides somewhere. The sessions looked for are those that only a service beyond its start has: one
/// that waits now would go on afterwards, with what it remembers from before.
async fn idle(conn: &mut PgConnection, service: &str) -> Result<(), Error> {
    let sessions: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and application_name = any($1)",
    )
    .bind(vec![format!("{service} agenda"), format!("{service} commands")])
    .fetch_one(conn)
    .await
    .map_err(Error::database("checking that the service is stopped"))?;
    if sessions > 0 { Err(Error::Running { service: service.to_owned(), sessions }) } else { Ok(()) }
}

/// Takes the lease and marks the state, if it is still the one that was looked at.
async fn lease(surveyor: &Surveyor<'_>, pool: &PgPool, me: Uuid, looked: &State) -> Result<(Log, State), Error> {
    let config = surveyor.config;
    let mut waited = false;
    loop {
        match log::take(pool, config, me, Purpose::Heal, &History::default()).await? {
            Lease::Acquired(log, mut state) => {
                let (owner, lease_until, healing) = (state.owner, state.lease_until, state.healing);
                if (State { owner, lease_until, healing, ..looked.clone() }) == state {
                    return Ok((log, state));
                }
                state.healing = looked.healing;
                log.release(&mut state).await?;
                return Err(Error::Changed);
            }
            Lease::HeldBy(left, ..) if !waited => {
                tracing::info!(milliseconds = left.as_millis(), "waiting for the lease of a relay that may still be running");
                tokio::time::sleep(left + MARGIN).await;
                waited = true;
            }
            Lease::HeldBy(..) => return Err(Error::Alive { service: config.service.clone() }),
        }
    }
}

/// A partition that is read.
struct Side<'a> {
    part: &'a PartitionDiff,
    walking: Walking,
    /// Inputs whose events aren't all there yet.
    waiting: Vec<Found>,
    open: Open,
    queue: Queue<Found>,
}

impl Side<'_> {
    /// Takes what was read, or that nothing comes any more.
    fn take(&mut self, found: Option<Vec<Found>>) {
        let is_over = found.is_none();
        for found in found.into_iter().flatten() {
            if found.row.is_none() {
                self.open.next(found.missing.record.key.as_deref(), &found.missing.link);
            }
            self.waiting.push(found);
            if self.open.is_empty() || self.waiting.len() > WAITING {
                self.queue.push(std::mem::take(&mut self.waiting), number);
            }
        }
        if is_over {
            self.queue.push(std::mem::take(&mut self.waiting), number);
            self.queue.end();
        }
    }
}

fn number(found: &Found) -> i64 {
    found.missing.link.place.number
}

impl Healer<'_> {
    /// Folds what these partitions have beyond their heads, in the order in which it was decided.
    async fn parts(&mut self, parts: &[&PartitionDiff]) -> Result<(), Error> {
        let mut sides = Vec::with_capacity(parts.len());
        for part in parts {
            let topic = &part.extent.topic;
            tracing::info!(topic, partition = part.extent.partition, missing = part.missing, known = part.known, "folding");
            let walking = self.surveyor.walk(part.extent.clone(), part.from, part.head, parts.len());
            sides.push(Side { part, walking, waiting: Vec::new(), open: Open::default(), queue: Queue::default() });
        }
        loop {
            for side in &mut sides {
                while side.queue.is_wanting() {
                    let found = side.walking.next(&mut self.conn, self.scope).await?;
                    side.take(found);
                    if self.log.is_due() {
                        self.log.append(&mut self.state).await?;
                    }
                }
            }
            let due = order::next(&mut sides.iter_mut().map(|side| &mut side.queue).collect::<Vec<_>>());
            let due: Vec<_> = sides.iter().map(|side| side.part).zip(due).filter(|(_, found)| !found.is_empty()).collect();
            if due.is_empty() {
                return Ok(());
            }
            self.batch(due).await?;
            if self.log.is_due() {
                self.log.append(&mut self.state).await?;
            }
        }
    }

    /// Folds these and moves the heads past them, in one transaction.
    async fn batch(&mut self, due: Vec<(&PartitionDiff, Vec<Found>)>) -> Result<(), Error> {
        let mut state = self.state.clone();
        let (mut out, mut missing) = (Vec::new(), Vec::new());
        for (part, found) in due {
            let Extent { topic, partition, .. } = &part.extent;
            if let Some(MissingRecord { id, link, .. }) = found.last().map(|last| &last.missing) {
                let last = Head { lineage: link.place.lineage, number: link.place.number, id: *id };
                state.heads.entry(topic.clone()).or_default().insert(*partition, last);
                state.next = state.next.max(last.number + 1);
            }
            out.extend(found.iter().filter_map(|found| Some(found.row?.seq)));
            if self.surveyor.fold.topic() == Some(topic.as_str()) {
                missing.extend(found.into_iter().filter(|found| found.row.is_none()).map(|found| found.missing));
            }
        }
        missing.sort_by_key(|missing: &MissingRecord| missing.link.place.number);

        let mut tx = session::begin(&mut self.conn).await.map_err(Error::database("begin"))?;
        rows::are_out(&mut tx, &out).await?;
        // None where nothing folds.
        let applied = self.surveyor.fold.fold(&mut tx, &missing).await?;
        self.log.note(&mut tx, &mut state).await?;
        tx.commit().await.map_err(Error::database("commit"))?;
        self.state = state;
        self.applied += applied;
        Ok(())
    }

    /// The end, in one transaction: what isn't out goes out, under a new lineage. Gives how many effects may have been started.
    async fn end(&mut self, look: &Look, survey: Diff, me: Uuid) -> Result<u64, Error> {
        let a = read::now(&mut self.conn).await?;
        let mut state = self.state.clone();
        let extents: Vec<_> = survey.parts.iter().map(|p| p.extent.clone()).collect();
        state.partitions.extend(counts(&extents));
        for part in &survey.parts {
            let heads = state.heads.entry(part.extent.topic.clone()).or_default();
            match part.end {
                Some(end) => heads.insert(part.extent.partition, end),
                None => heads.remove(&part.extent.partition),
            };
        }
        (state.next, state.lineage, state.system) = (survey.next, survey.lineage, look.system.clone());
        state.healing = false;
        state.strays.extend(survey.strays());
        (state.burnt, state.begin_at) = (survey.burnt, survey.begin_at);

        let mut tx = session::begin(&mut self.conn).await.map_err(Error::database("begin"))?;
        rows::rest_on(&mut tx, &mut state, a, survey.scope).await?;
        tasks::wait_as_their_events(&mut tx).await.map_err(Error::database("looking which effects are published"))?;
        let effects = tasks::may_have_happened(&mut tx, me).await.map_err(Error::database("marking effects"))?;
        if survey.parts.iter().any(PartitionDiff::lacks) {
            // The topic's first events are others now.
            let forgotten = sqlx::query("delete from farandole.steps where scope = $1").bind(fold::SCOPE).execute(&mut *tx).await;
            forgotten.map_err(Error::database("forgetting what the fold made of the topic's first events"))?;
        }
        self.log.note(&mut tx, &mut state).await?;
        tx.commit().await.map_err(Error::database("commit"))?;
        self.state = state;
        Ok(effects)
    }
}
