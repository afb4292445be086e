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

mod fed;

use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::consume::intake::position::positions;
use crate::database::{gate, locks};
use crate::ground::text::short;
use crate::ground::time::Timestamp;
use crate::parking::acts::Operator;
use crate::parking::input::What;
use crate::parking::operate as parked;
use crate::parking::{self, Fault, Limits, Parked, Why};
use crate::wire::extent::{self, Client, Extent, Then, View};
use crate::wire::mapping::Mapping;
use crate::wire::record::Record;
use crate::wire::settings::Kafka;

pub use fed::{Error, Fed, InputAt, Reading};

/// How long to wait for what a running service makes of it: it looks once a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Events that are named.
const NAMED: i64 = 20;

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
        let client = Client::new(&kafka.client(&[]), View::Committed)?;
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
    let header = |name: &str| record.header(name).map(short);
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
    taken.map_err(|who| Error::Busy { reader: reader.to_owned(), who: locks::holder(who) })?;
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
