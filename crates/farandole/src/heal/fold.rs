//! Folding records of the own topic into a participant's rows, with all that the batches which wrote them had done beside.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::guarded;
use crate::fold::{Events, Folder, follow};
use crate::heal::tasks::{self, Change};
use crate::heal::{Error, MissingRecord};
use crate::participant::Participant;
use crate::participant::table::{Stored, Tables as _};
use crate::wire::chain::unescape;
use crate::wire::codec::Codec;

/// Puts records that a database lacks into it. [`NoFold`] where there is none, as beside the outbox alone.
pub trait Fold: Send + Sync {
    /// The topic that is the log of the state, with its prefix; records of others are left alone.
    fn topic(&self) -> Option<&str>;
    /// Whether records that nothing folds are passed over knowingly.
    fn skips(&self) -> bool {
        false
    }
    /// Says whether these can be folded, before anything is changed.
    ///
    /// # Errors
    /// Names the record that can't.
    fn check(&self, records: &[MissingRecord]) -> impl Future<Output = Result<(), Error>> + Send;
    /// Folds these, in order, in the caller's transaction; gives how many inputs they say are done.
    ///
    /// # Errors
    /// The caller rolls back.
    fn fold(&self, conn: &mut PgConnection, records: &[MissingRecord]) -> impl Future<Output = Result<u64, Error>> + Send;
}

/// Nothing folds: what a topic has more can't be put into the database.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFold;

impl Fold for NoFold {
    fn topic(&self) -> Option<&str> {
        None
    }
    async fn check(&self, _records: &[MissingRecord]) -> Result<(), Error> {
        Ok(())
    }
    async fn fold(&self, _conn: &mut PgConnection, _records: &[MissingRecord]) -> Result<u64, Error> {
        Ok(0)
    }
}

/// Nothing folds, and that is known: the heads move behind what a topic has more. Whoever's tables those events belong to has put
/// them right.
#[derive(Debug, Clone, Copy, Default)]
pub struct Skip;

impl Fold for Skip {
    fn topic(&self) -> Option<&str> {
        None
    }
    fn skips(&self) -> bool {
        true
    }
    async fn check(&self, _records: &[MissingRecord]) -> Result<(), Error> {
        Ok(())
    }
    async fn fold(&self, _conn: &mut PgConnection, _records: &[MissingRecord]) -> Result<u64, Error> {
        Ok(0)
    }
}

/// Folds by `evolve` and `follow_up`.
#[derive(Debug)]
pub struct Folding<P> {
    participant: Arc<P>,
    events: Events<P>,
    topic: String,
    heard: Vec<String>,
    /// By topic/partition, the number below which no event speaks of an input that comes again.
    since: BTreeMap<String, i64>,
}

impl<P: Participant> Folding<P> {
    /// A fold of `topic` (with its prefix). `heard` are the topics that the participant hears, with theirs.
    pub fn new(participant: Arc<P>, codec: Codec, topic: String, heard: Vec<String>) -> Self {
        Self { participant, events: Events::new(codec), topic, heard, since: BTreeMap::new() }
    }

    /// The same, taking inputs of these partitions (topic/partition) for applied only by events of these numbers on. Those before speak of
    /// records that the position is behind, or of another topic of the name.
    #[must_use]
    pub fn since(self, since: BTreeMap<String, i64>) -> Self {
        Self { since, ..self }
    }

    async fn read(&self, records: &[MissingRecord]) -> Result<Vec<P::Event>, Error> {
        let read = async {
            self.events.prepare(records.iter().filter_map(|m| m.record.schema_id())).await?;
            records.iter().map(|m| self.events.read(&m.record)).collect::<Result<Vec<_>, _>>()
        };
        read.await.map_err(|error| Error::of_fold(P::NAME, error))
    }
}

impl<P: Participant> Fold for Folding<P> {
    fn topic(&self) -> Option<&str> {
        Some(&self.topic)
    }

    async fn check(&self, records: &[MissingRecord]) -> Result<(), Error> {
        self.read(records).await.map(drop)
    }

    async fn fold(&self, conn: &mut PgConnection, records: &[MissingRecord]) -> Result<u64, Error> {
        if records.is_empty() {
            return Ok(0);
        }
        let events = self.read(records).await?;
        let mut folder = Folder::new(Arc::clone(&self.participant), Stored::Shared);
        folder.fold(conn, &events).await.map_err(|error| Error::of_fold(P::NAME, error))?;
        let storing = async { folder.tables.take_out()?.write(conn).await };
        storing.await.map_err(Error::database("storing rows"))?;
        let mut changes = Vec::new();
        guarded(|| records.iter().zip(&events).try_for_each(|(missing, event)| self.follow(missing, event, &mut changes)))
            .map_err(|e| Error::Evolve(e.to_string()))?
            .map_err(Error::Evolve)?;
        tasks::apply(conn, changes).await.map_err(Error::database("storing tasks"))?;
        self.answers(conn, records, &events).await.map_err(Error::database("storing answers"))?;
        let heard = |topic: &str| self.heard.iter().any(|t| t == topic);
        let comes_again = |m: &MissingRecord, (topic, partition, offset): (_, i32, i64)| {
            let since = self.since.get(&format!("{topic}/{partition}")).copied().unwrap_or(0);
            (m.link.place.number >= since).then_some((topic, partition, offset))
        };
        let causes = records.iter().filter(|m| m.link.of.0 == 1);
        let causes = causes.filter_map(|m| comes_again(m, input(&m.link.cause)?)).filter(|c| heard(c.0));
        applied(conn, P::NAME, &causes.collect::<Vec<_>>()).await.map_err(Error::database("noting inputs that are applied"))
    }
}

impl<P: Participant> Folding<P> {
    fn follow(
        &self,
        MissingRecord { record, link, id }: &MissingRecord,
        event: &P::Event,
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        if let (1, Some((name, opened))) = (link.of.0, settled(&link.cause)) {
            changes.push(Change::Settled((name.to_owned(), key.clone()), opened));
        }
        changes.extend(follow(&*self.participant, (record, *id, link), event)?.into_iter().map(Change::Op));
        Ok(())
    }

    /// Gives commands their answers back: who asks again under the same key gets the same answer.
    async fn answers(&self, conn: &mut PgConnection, records: &[MissingRecord], events: &[P::Event]) -> sqlx::Result<()> {
        let mut commands: BTreeMap<&str, Vec<P::Event>> = BTreeMap::new();
        for (missing, event) in records.iter().zip(events) {
            if let Some(command) = &missing.link.command {
                commands.entry(command).or_default().push(event.clone());
            }
        }
        for (command, events) in commands {
            let Some((scope, key, hash)) = asked(command) else { continue };
            let answer = guarded(|| self.participant.answer(&events)).map_err(sqlx::Error::decode)?;
            sqlx::query(
                "insert into farandole.idempotency (scope, key, body_hash, status, answer)
                 values ($1, $2, $3, $4, $5) on conflict do nothing",
            )
            .bind(scope)
            .bind(key)
            .bind(hash)
            .bind(i16::try_from(answer.status()).unwrap_or(i16::MAX))
            .bind(serde_json::json!(answer) as Value)
            .execute(&mut *conn)
            .await?;
        }
        Ok(())
    }
}

/// Scope, key and body hash of `cmd=`.
fn asked(command: &str) -> Option<(String, String, Vec<u8>)> {
    let mut parts = command.split(',');
    let (scope, key, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let hash = hash.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
    Some((unescape(scope), unescape(key), hash.collect::<Option<_>>()?))
}

/// The task that a cause names: its name, and the event that opened it unless an older build wrote this.
fn settled(cause: &str) -> Option<(&str, Option<Uuid>)> {
    let task = cause.strip_prefix("outcome/").or(cause.strip_prefix("deadline/"))?;
    let opened = task.rsplit_once('/').and_then(|(name, id)| Some((name, Some(Uuid::parse_str(id).ok()?))));
    Some(opened.unwrap_or((task, None)))
}

/// The record that a cause names: topic, partition, offset.
fn input(cause: &str) -> Option<(&str, i32, i64)> {
    let mut parts = cause.split('/');
    let found = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(found)
}

/// Notes that these records are applied: the intake passes them over when they come again, and of what is parked they go.
async fn applied(conn: &mut PgConnection, reader: &str, causes: &[(&str, i32, i64)]) -> sqlx::Result<u64> {
    if causes.is_empty() {
        return Ok(0);
    }
    let (topics, partitions, offsets): (Vec<&str>, Vec<i32>, Vec<i64>) =
        (causes.iter().map(|c| c.0).collect(), causes.iter().map(|c| c.1).collect(), causes.iter().map(|c| c.2).collect());
    // Parked at the time of the backup and released since.
    sqlx::query(
        "delete from farandole.parked p using unnest($1::text[], $2::int[], $3::bigint[]) c(topic, partition, record_offset)
         where p.topic = c.topic and p.partition = c.partition and p.record_offset = c.record_offset and p.reader in ($4, '')",
    )
    .bind(&topics)
    .bind(&partitions)
    .bind(&offsets)
    .bind(reader)
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query(
        "insert into farandole.applied (topic, partition, record_offset, reader)
         select *, $4::text from unnest($1::text[], $2::int[], $3::bigint[]) on conflict do nothing",
    )
    .bind(topics)
    .bind(partitions)
    .bind(offsets)
    .bind(reader)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_that_are_records() {
        assert_eq!(input("shop.orders/3/17"), Some(("shop.orders", 3, 17)));
        for other in ["command/0190", "deadline/confirm", "outcome/a/b", "orders/1/2/3", "orders/1", ""] {
            assert_eq!(input(other), None, "{other}");
        }
    }

    #[test]
    fn causes_that_are_tasks() {
        let id = Uuid::from_u128(7);
        assert_eq!(settled(&format!("outcome/pay/{id}")), Some(("pay", Some(id))));
        assert_eq!(settled(&format!("deadline/a/b/{id}")), Some(("a/b", Some(id))));
        assert_eq!(settled("outcome/pay"), Some(("pay", None)));
        assert_eq!(settled("orders/3/17"), None);
    }

    #[test]
    fn commands_read_back() {
        let (scope, key, hash) = asked("anyone%2CPOST /orders,key-1,00ff10").unwrap();
        assert_eq!((scope.as_str(), key.as_str(), hash.as_slice()), ("anyone,POST /orders", "key-1", &[0, 255, 16][..]));
        assert_eq!(asked("scope,key"), None);
        assert_eq!(asked("scope,key,zz"), None);
    }
}
