//! One input fed to a participant again, because an operator says so.
//!
//! **How.** The record is read from its topic and put where parked inputs are, due at once: the service's own release decides it, on the
//! state of now, as it decides any input, behind what waits for its aggregate; if it fails it stays parked. Nothing moves a position or a
//! chain's head, and what is remembered of duplicates stays as it is.
//!
//! **Effects.** Deciding makes new events, so an effect is asked for as any that a new event opens: under the key that the participant
//! chooses. By default that is made of what is asked for, so whoever is asked can tell the repetition. With
//! [`IdempotencyKey::EachEvent`](crate::IdempotencyKey::EachEvent) it is a new request, which is what the participant says of it.
//!
//! **How it would fail without** the refusals: a record that the reader hasn't come to yet would take effect twice by itself; one that
//! is parked would be parked twice, and take effect twice once its cause is gone.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use serde::Serialize;
use sqlx::PgConnection;

use crate::consume::intake::position::positions;
use crate::database::{gate, locks};
use crate::ground::text::{short, shown};
use crate::ground::time::Timestamp;
use crate::parking::acts::Operator;
use crate::parking::input::What;
use crate::parking::operate as parked;
use crate::parking::{self, Fault, Limits, Parked, Why};
use crate::wire::extent::{self, Client, Extent, Then, View};
use crate::wire::mapping::Mapping;
use crate::wire::record::Record;
use crate::wire::settings::Kafka;

/// How long to wait for what a running service makes of it: it looks once a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Events that are named.
const NAMED: i64 = 20;

/// A record's place, `topic/partition/offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputAt {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl FromStr for InputAt {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (rest, offset) = text.rsplit_once('/')?;
            let (topic, partition) = rest.rsplit_once('/')?;
            let (partition, offset): (i32, i64) = (partition.parse().ok()?, offset.parse().ok()?);
            (!topic.is_empty() && partition >= 0 && offset >= 0).then(|| Self { topic: topic.to_owned(), partition, offset })
        };
        parts().ok_or_else(|| format!("`{text}` is no topic/partition/offset, like `payments/3/17`"))
    }
}

impl fmt::Display for InputAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// What a record says to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// An input about this aggregate.
    Input {
        /// Its name.
        aggregate: String,
    },
    /// Nothing.
    Nothing,
    /// It can't be read.
    Fault {
        /// Why.
        reason: String,
    },
}

/// A record that is fed again, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fed {
    /// `topic/partition/offset`.
    pub input: String,
    /// Its type.
    pub kind: Option<String>,
    /// Who wrote it.
    pub source: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// When it was written, RFC 3339.
    pub written: Option<String>,
    /// The name of its key.
    pub key: String,
    /// Bytes of its value; none of a tombstone.
    pub bytes: Option<usize>,
    /// What it is about; the key where it can't be read.
    pub aggregate: String,
    /// Why it can't be read, if it can't: it parks then.
    pub fault: Option<String>,
    /// Whether something is parked for its aggregate or key: it waits behind that.
    pub waits: bool,
    /// Events that it has led to, as far as the outbox still has them: type and id, at most 20.
    pub led_to: Vec<String>,
    /// Whether it was fed.
    pub executed: bool,
    /// What came of it.
    pub outcome: Option<String>,
}

impl fmt::Display for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), |text| shown(text).into_owned());
        writeln!(
            f,
            "{}: {} of {}, id {}, written {}",
            self.input,
            or(&self.kind),
            or(&self.source),
            or(&self.id),
            or(&self.written)
        )?;
        let bytes = self.bytes.map_or_else(|| "no value".to_owned(), |bytes| format!("{bytes} bytes"));
        writeln!(f, "  key {}, {bytes}; about {}", shown(&self.key), shown(&self.aggregate))?;
        match self.led_to.is_empty() {
            true => writeln!(f, "  the outbox has no event that it led to")?,
            false => writeln!(f, "  led to: {}", self.led_to.join(", "))?,
        }
        if let Some(fault) = &self.fault {
            writeln!(f, "  can't be read, so it parks: {}", shown(fault))?;
        }
        if self.waits {
            writeln!(f, "  waits behind what is parked for it")?;
        }
        match &self.outcome {
            Some(outcome) => writeln!(f, "{}", shown(outcome)),
            None => writeln!(f, "nothing was changed; to feed it again, on the state of now, add --execute --reason '…'"),
        }
    }
}

/// Why a record wasn't fed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It isn't there.
    #[error("{at} isn't there: the partition holds offsets {low} to {high}, of which some may be no records")]
    Gone {
        /// Which.
        at: String,
        /// The first offset.
        low: i64,
        /// The next to be written.
        high: i64,
    },
    /// The reader comes to it by itself.
    #[error("{at} hasn't been read yet (next offset: {next}), so it takes effect by itself")]
    Ahead {
        /// Which.
        at: String,
        /// What is read next.
        next: i64,
    },
    /// It is parked.
    #[error("{at} is parked under {aggregate}: have it tried with `{reader} parked retry {aggregate}`")]
    Waits {
        /// Which.
        at: String,
        /// Whose.
        reader: String,
        /// Under what.
        aggregate: String,
    },
    /// It is no input.
    #[error("{at} ({kind}) says nothing to {reader}: its type is ignored")]
    Nothing {
        /// Which.
        at: String,
        /// Its type.
        kind: String,
        /// To whom.
        reader: String,
    },
    /// Another operator is at it.
    #[error("inputs of {reader} are being fed by {who}: wait until that has ended")]
    Busy {
        /// Whose inputs.
        reader: String,
        /// Which session, by its name and pid.
        who: String,
    },
    /// The topic can't be read.
    #[error("reading the record")]
    Reading(#[source] extent::Error),
    /// The database's.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// It can't be parked, or the journal can't be told.
    #[error("feeding the record")]
    Parking(#[source] parking::Error),
}

fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database { doing, source }
}

/// Reads the record, as the intake gives it to the service, with when it was written.
///
/// # Errors
/// When it isn't there.
pub async fn fetch(kafka: &Kafka, at: &InputAt, mapping: Option<&Mapping>) -> Result<(Record, Option<i64>), Error> {
    let (kafka, place, mapping) = (kafka.clone(), at.clone(), mapping.cloned());
    let read = move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &kafka.bootstrap);
        for (name, value) in &kafka.properties {
            config.set(name, value);
        }
        let client = Client::new(&config, View::Committed)?;
        let InputAt { topic, partition, offset } = place;
        if client.topics()?.get(&topic).is_none_or(|count| partition >= *count) {
            return Ok((None, 0, 0));
        }
        let whole = client.extent(&topic, partition)?;
        let (low, high) = (whole.low, whole.high);
        let mut found = None;
        if (low..high).contains(&offset) {
            client.walk(&[Extent { low: offset, high: offset + 1, ..whole }], |record, millis| {
                found = Some((mapping.as_ref().map_or_else(|| record.clone(), |mapping| mapping.apply(record.clone())), millis));
                Ok::<_, extent::Error>(Then::Stop)
            })?;
        }
        Ok((found, low, high))
    };
    let read = tokio::task::spawn_blocking(read).await;
    let (found, low, high) = read.unwrap_or(Ok((None, 0, 0))).map_err(Error::Reading)?;
    found.ok_or_else(|| Error::Gone { at: at.to_string(), low, high })
}

/// What is known of it; refuses what is no matter of feeding again.
///
/// # Errors
/// When it takes effect by itself, or says nothing.
pub async fn look(
    conn: &mut PgConnection,
    reader: &str,
    (record, millis): &(Record, Option<i64>),
    reading: Reading,
) -> Result<Fed, Error> {
    let at = InputAt { topic: record.topic.clone(), partition: record.partition, offset: record.offset };
    let stored = positions(&mut *conn, reader).await.map_err(database("reading positions"))?;
    let here = format!("{}/{}", at.topic, at.partition);
    let next = stored.into_iter().find(|(at, _)| *at == here).map_or(0, |(_, position)| position.next_offset);
    if next <= at.offset {
        return Err(Error::Ahead { at: at.to_string(), next });
    }
    if let Some((aggregate, ..)) = row(conn, reader, &at).await? {
        return Err(Error::Waits { at: at.to_string(), reader: reader.to_owned(), aggregate });
    }
    let header = |name: &str| record.header(name).map(|text| short(text));
    let key = record.aggregate();
    let (aggregate, fault) = match reading {
        Reading::Input { aggregate } => (aggregate, None),
        Reading::Fault { reason } => (key.clone(), Some(short(&reason))),
        Reading::Nothing => {
            let kind = header("ce_type").unwrap_or_default();
            return Err(Error::Nothing { at: at.to_string(), kind, reader: reader.to_owned() });
        }
    };
    let waits = "select exists (select from farandole.parked where reader = $1 and (aggregate = any($2) or also = any($2)))";
    let waits = sqlx::query_scalar(waits).bind(reader).bind(vec![&aggregate, &key]).fetch_one(&mut *conn).await;
    let written = millis.map(|millis| Timestamp::from_micros(millis.saturating_mul(1_000)).to_string());
    Ok(Fed {
        input: at.to_string(),
        kind: header("ce_type"),
        source: header("ce_source"),
        id: header("ce_id"),
        written,
        key,
        bytes: record.value.as_ref().map(Vec::len),
        aggregate,
        fault,
        waits: waits.map_err(database("looking what is parked"))?,
        led_to: led_to(conn, &at).await?,
        executed: false,
        outcome: None,
    })
}

/// Under what it is parked, whether it is first there, how often it was tried, and why it is there.
async fn row(conn: &mut PgConnection, reader: &str, at: &InputAt) -> Result<Option<(String, bool, i32, String)>, Error> {
    sqlx::query_as(
        "select aggregate, head, attempts, reason from farandole.parked
         where reader = $1 and topic = $2 and partition = $3 and record_offset = $4 limit 1",
    )
    .bind(reader)
    .bind(&at.topic)
    .bind(at.partition)
    .bind(at.offset)
    .fetch_optional(conn)
    .await
    .map_err(database("looking whether it is parked"))
}

/// Type and id of the newest events that name it as their cause; what the journal says of it isn't among them.
async fn led_to(conn: &mut PgConnection, at: &InputAt) -> Result<Vec<String>, Error> {
    let sql = "select type || ' ' || id from (
                 select type, id, seq from farandole.outbox where cause = $1 and not starts_with(type, 'farandole.journal.')
                 order by seq desc limit $2) e
               order by seq";
    let found = sqlx::query_scalar(sql).bind(at.to_string()).bind(NAMED).fetch_all(conn).await;
    found.map_err(database("looking what it led to"))
}

/// Feeds it, and waits for what a running service makes of it.
///
/// # Errors
/// See [`Error`]; then nothing was changed.
pub async fn feed(
    conn: &mut PgConnection,
    reader: &str,
    record: &Record,
    fed: &mut Fed,
    limits: Limits,
    operator: Operator<'_>,
) -> Result<(), Error> {
    let at = InputAt { topic: record.topic.clone(), partition: record.partition, offset: record.offset };
    let lock = format!("inputs/{reader}");
    let taken = locks::alone(conn, &lock).await.map_err(database("looking for another operator"))?;
    taken.map_err(|who| Error::Busy { reader: reader.to_owned(), who })?;
    let done = put(conn, reader, record, &at, fed, limits, operator).await;
    // A connection that can't give it back is gone, and the lock with it.
    let _ = locks::give_back(conn, &lock).await;
    done?;
    fed.executed = true;
    fed.outcome = Some(outcome(conn, reader, &at, fed).await?);
    Ok(())
}

async fn put(
    conn: &mut PgConnection,
    reader: &str,
    record: &Record,
    at: &InputAt,
    fed: &Fed,
    limits: Limits,
    operator: Operator<'_>,
) -> Result<(), Error> {
    let mut tx = gate::begin(conn).await.map_err(database(gate::BEGIN))?;
    // Another may have been at it since it was looked at.
    if let Some((aggregate, ..)) = row(&mut tx, reader, at).await? {
        return Err(Error::Waits { at: at.to_string(), reader: reader.to_owned(), aggregate });
    }
    // It hasn't failed: so it doesn't count among the failures of this minute.
    let fault =
        Fault { reason: format!("fed again by {}: {}", operator.name, operator.reason.unwrap_or_default()), transient: true };
    let (aggregate, key) = (fed.aggregate.clone(), fed.key.clone());
    let input = Parked { aggregate, key, what: What::Record(record), why: Why::Fault(&fault) };
    parking::park(&mut tx, reader, operator.journal, &[input], limits).await.map_err(Error::Parking)?;
    parked::retry(&mut *tx, reader, &fed.aggregate).await.map_err(database("having it tried"))?;
    operator.did(&mut tx, "inputs again", at.to_string(), "handed to the service").await.map_err(Error::Parking)?;
    tx.commit().await.map_err(database("commit"))
}

async fn outcome(conn: &mut PgConnection, reader: &str, at: &InputAt, fed: &Fed) -> Result<String, Error> {
    let began = Instant::now();
    loop {
        match row(conn, reader, at).await? {
            None => {
                let events: Vec<String> =
                    led_to(conn, at).await?.into_iter().filter(|event| !fed.led_to.contains(event)).collect();
                return Ok(match events.is_empty() {
                    true => "decided: it led to no event".to_owned(),
                    false => format!("decided: it led to {}", events.join(", ")),
                });
            }
            Some((aggregate, _, attempts, reason)) if attempts > 0 => {
                return Ok(format!("it can't be processed and stays parked under {aggregate}: {reason}"));
            }
            Some((aggregate, false, ..)) => return Ok(format!("it waits behind what is parked under {aggregate}")),
            Some((aggregate, ..)) if began.elapsed() > PATIENCE => {
                return Ok(format!(
                    "it is parked under {aggregate}, and no replica of {reader} has tried it within {} s: one does as soon as it runs",
                    PATIENCE.as_secs()
                ));
            }
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let at: InputAt = "shop.payments/3/17".parse().unwrap();
        assert_eq!((at.topic.as_str(), at.partition, at.offset), ("shop.payments", 3, 17));
        assert_eq!(at.to_string(), "shop.payments/3/17");
        for wrong in ["payments/3", "payments/x/1", "/3/1", "payments/-1/1", "payments/1/-1", ""] {
            assert!(wrong.parse::<InputAt>().unwrap_err().contains("topic/partition/offset"), "{wrong}");
        }
    }
}
