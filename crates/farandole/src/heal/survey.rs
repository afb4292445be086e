//! Compares both sides before anything is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rdkafka::ClientConfig;
use sqlx::PgConnection;
use tokio::sync::mpsc;

use crate::consume::intake;
use crate::ground::time::Timestamp;
use crate::heal::any::AnyFold;
use crate::heal::open::Open;
use crate::heal::pass::{At, Choices};
use crate::heal::rows::{self, Scope};
use crate::heal::{Error, MissingRecord, Partition, Report, read};
use crate::publish::relay::ends::{REPEATED, TELL, extents, lost_beginnings};
use crate::publish::relay::log::Look;
use crate::publish::relay::own::Own;
use crate::publish::relay::state::{Head, Heads, State};
use crate::publish::relay::walk::{NewRecord, RecordClass, Walk, Wrong};
use crate::publish::relay::{self, continuity};
use crate::wire::extent::Extent;
use crate::wire::record::Record;

/// Strays that the relay's state remembers: it is written with each step. More than a handful is another trouble, that of a topic which
/// anybody may write to.
const MOST: usize = 64;

/// What was found.
#[derive(Debug)]
pub(super) struct Diff {
    pub scope: Scope,
    pub parts: Vec<PartitionDiff>,
    /// The number after the last that any topic holds, and the lineage after.
    pub next: i64,
    pub lineage: i64,
    absent: rows::Absent,
    /// Numbers up to `next` that no record has.
    pub burnt: i64,
    /// Records that are lost for good: of topics that are no state, or given up knowingly.
    gone: i64,
    /// The first record of each partition that lost its beginning.
    pub begin_at: Heads,
}

/// A partition of a topic that is published to.
#[derive(Debug)]
pub(super) struct PartitionDiff {
    pub extent: Extent,
    /// Where reading begins.
    pub from: i64,
    pub head: Option<Head>,
    /// The chain's last record.
    pub end: Option<Head>,
    /// Records beyond the head that the database lacks, and those that are rows of its.
    pub missing: u64,
    pub known: u64,
    /// The relay would refuse.
    apart: bool,
    shorter: bool,
    /// What the topic held before its first record was lost, and that isn't known yet.
    lost_beginning: bool,
    /// The last record is a row of the outbox.
    end_known: bool,
    torn: Vec<String>,
    records: i64,
    /// Records that were passed over, and those of them that aren't the service's (topic/partition@offset).
    pub passed: BTreeSet<String>,
    pub strays: BTreeSet<String>,
}

impl PartitionDiff {
    /// Whether the topic lost something there.
    pub(super) fn lacks(&self) -> bool {
        self.shorter || self.lost_beginning
    }
}

/// A record of ours, beyond the head.
pub(super) struct Found {
    pub missing: MissingRecord,
    /// The row that it was, if the database has it.
    pub row: Option<rows::Met>,
}

/// Looks at the topics.
pub(super) struct Surveyor<'a> {
    pub config: &'a relay::Config,
    pub kafka: ClientConfig,
    pub fold: &'a dyn AnyFold,
    pub own: Own,
    pub choices: &'a Choices,
}

impl Surveyor<'_> {
    pub(super) async fn survey(&self, conn: &mut PgConnection, look: &Look) -> Result<Diff, Error> {
        let moved = look.state.system != look.system;
        let mut scope = if moved { Scope::All } else { Scope::Unsent };
        let (parts, begin_at) = loop {
            let found = self.parts(conn, &look.state, scope).await?;
            if scope == Scope::All || !found.0.iter().any(PartitionDiff::lacks) {
                break found;
            }
            // What the topics lost may be any row, published or not.
            scope = Scope::All;
        };
        let ends = || parts.iter().filter_map(|p| p.end);
        let next = ends().map(|end| end.number + 1).fold(look.state.next, i64::max);
        // After those that the topics know: a backup of before several heals has none of theirs, and what is published under a lineage
        // that was there before is a ghost to every consumer. And after all that were ever given, whether or not a record of theirs has
        // landed: a backup that is restored twice doesn't know the first heal's either, whose records may still be on their way. So it is
        // the time, in seconds, which no two heals with a restore between them share.
        let known = ends().map(|end| end.lineage).fold(look.state.lineage, i64::max);
        let lineage = rows::seconds(conn).await?.max(known + 1);
        let absent = rows::absent(conn).await?;
        let beyond = parts.iter().map(|p| p.missing + p.known).sum::<u64>();
        let burnt = match scope {
            Scope::All => next - 1 - records(&parts),
            // Each record beyond the heads has one of the numbers since.
            Scope::Unsent => look.state.burnt + (next - look.state.next - i64::try_from(beyond).unwrap_or(i64::MAX)).max(0),
        };
        let mut survey = Diff { scope, parts, next, lineage, absent, burnt, gone: 0, begin_at };
        survey.have_passed(&look.state, &self.choices.pass_over)?;
        survey.gone = survey.judge(conn, &look.state, moved, self.fold.topic(), self.choices.accept_lost).await?;
        Ok(survey)
    }

    async fn parts(&self, conn: &mut PgConnection, state: &State, scope: Scope) -> Result<(Vec<PartitionDiff>, Heads), Error> {
        let named = rows::gather(conn, state, scope).await?;
        let needed: BTreeSet<String> = self.config.topics.iter().chain(state.partitions.keys()).cloned().collect();
        let topics: BTreeSet<String> = needed.iter().cloned().chain(named).collect();
        let extents = extents(self.kafka.clone(), topics.into_iter().collect()).await?;
        if let Some(topic) = needed.into_iter().find(|topic| !extents.iter().any(|e| e.topic == *topic)) {
            return Err(relay::Error::NoTopic { topic }.into());
        }
        continuity::compare_counts(state, &counts(&extents))?;
        let topics = counts(&extents).into_iter().map(|(topic, _)| topic).collect();
        let mut begin_at = Heads::new();
        for (topic, partition, first) in lost_beginnings(self.kafka.clone(), self.own.clone(), topics).await? {
            begin_at.entry(topic).or_default().insert(partition, first);
        }
        let mut parts = Vec::with_capacity(extents.len());
        for extent in extents {
            let first = |heads: &Heads| heads.get(&extent.topic).and_then(|of| of.get(&extent.partition)).copied();
            let (found, known) = (first(&begin_at), first(&state.begin_at));
            let lost_beginning = found.is_some() && found != known;
            parts.push(PartitionDiff { lost_beginning, ..self.part(conn, state, scope, extent).await? });
        }
        Ok((parts, begin_at))
    }

    async fn part(&self, conn: &mut PgConnection, state: &State, scope: Scope, extent: Extent) -> Result<PartitionDiff, Error> {
        let head = state.heads.get(&extent.topic).and_then(|h| h.get(&extent.partition)).copied();
        let from = match (scope, head) {
            (Scope::Unsent, Some(head)) => {
                read::before(self.kafka.clone(), extent.clone(), self.own.clone(), head.number - REPEATED).await?
            }
            _ => extent.low,
        };
        let mut walking = self.walk(extent.clone(), from, head, 1);
        let mut part = PartitionDiff {
            extent,
            from,
            head,
            end: None,
            missing: 0,
            known: 0,
            apart: false,
            shorter: false,
            lost_beginning: false,
            end_known: false,
            torn: Vec::new(),
            records: 0,
            passed: BTreeSet::new(),
            strays: BTreeSet::new(),
        };
        let is_own = self.fold.topic() == Some(part.extent.topic.as_str());
        let mut open = Open::default();
        while let Some(found) = walking.next(conn, scope).await? {
            let (known, missing): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|f| f.row.is_some());
            part.known += known.len() as u64;
            part.missing += missing.len() as u64;
            part.apart |= !missing.is_empty() || known.iter().any(|f| f.row.is_some_and(|row| !row.in_flight));
            let missing: Vec<MissingRecord> = missing.into_iter().map(|f| f.missing).collect();
            missing.iter().for_each(|m| open.next(m.record.key.as_deref(), &m.link));
            if is_own {
                self.fold.check(&missing).await?;
            }
        }
        // As the relay sees it: nothing of ours is left, and the partition's beginning is gone.
        let expired = part.extent.low > 0 && walking.walk.last.is_none();
        part.shorter = !walking.walk.has_met_head() && !expired;
        part.end = if expired { head } else { walking.walk.last };
        (part.end_known, part.records) = (walking.end_known, walking.walk.records);
        (part.passed, part.strays) = (walking.walk.passed, walking.walk.strays);
        part.torn = open.into_texts().collect();
        Ok(part)
    }

    /// A walk along a partition, from offset `from`, one of `side_by_side` at the same time.
    pub(super) fn walk(&self, extent: Extent, from: i64, head: Option<Head>, side_by_side: usize) -> Walking {
        let named = self.choices.pass_over.iter().map(At::to_string).collect();
        let walk = Walk::new(self.own.clone(), head, from > 0).passing(named);
        // A service's journal tells what happened to inputs; its topic of state is another.
        let walk = if self.fold.topic().is_some_and(|own| own != extent.topic) { walk.of_no_state() } else { walk };
        let records = read::records(self.kafka.clone(), extent.clone(), from, side_by_side);
        Walking { service: self.config.service.clone(), walk, records, extent, told: Instant::now(), end_known: false }
    }
}

/// A walk under way.
pub(super) struct Walking {
    service: String,
    walk: Walk,
    records: mpsc::Receiver<Result<Vec<Record>, Error>>,
    extent: Extent,
    told: Instant,
    end_known: bool,
}

impl Walking {
    /// What of the next batch lies beyond the head, mostly nothing; none at the end. Marks the rows that are met.
    pub(super) async fn next(&mut self, conn: &mut PgConnection, scope: Scope) -> Result<Option<Vec<Found>>, Error> {
        let Some(batch) = self.records.recv().await else { return Ok(None) };
        let (mut ids, mut beyond) = (Vec::new(), Vec::new());
        let mut offset = 0;
        for record in batch? {
            offset = record.offset;
            let at = |record: &Record| record.header("ce_time").and_then(Timestamp::parse).map(Timestamp::micros);
            match self.walk.next(&record).map_err(|wrong| refused(&self.service, &record, wrong))? {
                RecordClass::Foreign => {}
                // Beside a state that can be trusted, what is up to the heads is out.
                RecordClass::Before(id) => ids.extend((scope == Scope::All).then(|| (id, at(&record)))),
                RecordClass::Beyond(NewRecord { id, link }) => {
                    let row = (id, at(&record));
                    ids.push(row);
                    beyond.push((row, MissingRecord { record, id, link }));
                }
            }
        }
        if self.told.elapsed() > TELL {
            let Extent { topic, partition, high, .. } = &self.extent;
            tracing::info!(topic, partition, offset, high, "reading");
            self.told = Instant::now();
        }
        if ids.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let met = rows::meet(conn, &ids).await?;
        self.end_known = self.walk.last.is_some_and(|last| {
            met.keys().any(|(id, _)| *id == last.id) || self.end_known && ids.iter().all(|(id, _)| *id != last.id)
        });
        Ok(Some(beyond.into_iter().map(|(row, missing)| Found { row: met.get(&row).copied(), missing }).collect()))
    }
}

fn refused(service: &str, record: &Record, wrong: Wrong) -> Error {
    let (service, topic, place) = (service.to_owned(), record.topic.clone(), record.at());
    match wrong {
        Wrong::Chain(reason) => Error::Broken { service, topic, place, reason: reason.to_owned() },
        Wrong::NoRoom(at) => Error::NoRoom { service, place, at },
    }
}

/// How many records the topics have.
fn records(parts: &[PartitionDiff]) -> i64 {
    parts.iter().map(|p| p.records).sum()
}

/// Partitions of each topic.
pub(super) fn counts(extents: &[Extent]) -> Vec<(String, i32)> {
    let mut counts = BTreeMap::new();
    extents.iter().for_each(|e| *counts.entry(e.topic.clone()).or_insert(0) += 1);
    counts.into_iter().collect()
}

impl Diff {
    /// Refuses to pass over what nobody would meet: it is misspelt, or nothing stands there in the service's name that isn't in the
    /// database already. And more than can be remembered.
    fn have_passed(&self, state: &State, named: &BTreeSet<At>) -> Result<(), Error> {
        let met = |at: &String| state.strays.contains(at) || self.parts.iter().any(|part| part.passed.contains(at));
        if let Some(place) = named.iter().map(At::to_string).find(|at| !met(at)) {
            return Err(Error::NothingToPass { place });
        }
        let strays = state.strays.union(&self.strays()).count();
        if strays > MOST { Err(Error::Strays { strays, most: MOST }) } else { Ok(()) }
    }

    /// Records in the service's name that aren't its.
    pub(super) fn strays(&self) -> BTreeSet<String> {
        self.parts.iter().flat_map(|part| part.strays.iter().cloned()).collect()
    }

    /// Refuses what can't be healed. Gives how many records are lost for good, of topics beside `own`, the log of the state.
    async fn judge(
        &self,
        conn: &mut PgConnection,
        state: &State,
        moved: bool,
        own: Option<&str>,
        accept_lost: bool,
    ) -> Result<i64, Error> {
        if self.scope == Scope::Unsent {
            return Ok(0);
        }
        for part in &self.parts {
            let Extent { topic, partition, low, .. } = &part.extent;
            if *low > 0 && rows::absent_of(conn, topic).await? > 0 {
                return Err(Error::Expired { topic: topic.clone(), partition: *partition });
            }
            if part.lacks() && (moved || part.end.is_some() && !part.end_known) {
                return Err(Error::BothLost { topic: topic.clone(), partition: *partition });
            }
        }
        if let Some(part) = self.parts.iter().find(|part| part.lost_beginning && !accept_lost) {
            let Extent { topic, partition, .. } = part.extent.clone();
            let there = self.parts.iter().filter(|p| p.extent.topic == topic).map(|p| p.records).sum();
            let whole = rows::met_of(conn, &topic).await? >= there;
            return Err(Error::Beginning { topic, partition, whole });
        }
        let lost: BTreeSet<&str> = self.parts.iter().filter(|p| p.lacks()).map(|p| p.extent.topic.as_str()).collect();
        if lost.is_empty() {
            return Ok(0);
        }
        // Every number was given to one record, but for those of what was lost before: what no topic has must be rows still.
        let (given, there) = (state.next - 1, self.absent.acknowledged);
        let expected = given - state.burnt - records(&self.parts);
        let gone = (expected - there).max(0);
        // A journal tells what happened to inputs. The state is whole without, and a service that never starts again helps nobody.
        if gone > 0 && !accept_lost && own.is_none_or(|own| lost.contains(own)) {
            return Err(Error::Trimmed { expected, there });
        }
        Ok(gone)
    }

    /// What it comes to.
    pub(super) async fn report(
        &self,
        conn: &mut PgConnection,
        look: &Look,
        config: &relay::Config,
        fold: &dyn AnyFold,
    ) -> Result<Report, Error> {
        let partition = |p: &PartitionDiff| Partition {
            topic: p.extent.topic.clone(),
            partition: p.extent.partition,
            missing: p.missing,
            folded: fold.topic() == Some(p.extent.topic.as_str()),
            known: p.known,
            shorter: p.shorter,
            lost_beginning: p.lost_beginning,
        };
        let positions = intake::positions(conn, &config.service).await.map_err(Error::database("reading positions"))?;
        let moved = look.state.system != look.system;
        let report = Report {
            service: config.service.clone(),
            moved: moved.then(|| (look.state.system.clone(), look.system.clone())),
            broken_off: look.state.healing,
            partitions: self.parts.iter().filter(|p| p.apart || p.lacks()).map(partition).collect(),
            unpublished: self.absent.rows,
            lost: if self.parts.iter().any(PartitionDiff::lacks) { self.absent.acknowledged } else { 0 },
            gone: self.gone,
            torn: self.parts.iter().flat_map(|p| p.torn.iter().cloned()).collect(),
            passed: self.parts.iter().flat_map(|p| p.passed.iter().cloned()).collect(),
            positions: positions.into_iter().map(|(at, position)| (at, position.next_offset)).collect(),
            applied: None,
            effects: None,
            lineage: (look.state.lineage, self.lineage),
            done: false,
        };
        let missing = report.partitions.iter().map(|p| p.missing).sum();
        if fold.topic().is_none() && !fold.skips() && missing > 0 {
            let topics: BTreeSet<&String> = report.partitions.iter().filter(|p| p.missing > 0).map(|p| &p.topic).collect();
            let (service, topics) = (config.service.clone(), topics.into_iter().cloned().collect());
            return Err(Error::NothingFolds { missing, service, topics, told: config.topics.clone() });
        }
        Ok(report)
    }
}
