//! How many partitions a topic had when a reader first subscribed to it, as a step log of scope `begun/<reader>/<topic>` that has
//! one step.
//!
//! `intake.start` applies to what existed when the reader first subscribed. Partitions that were added since are read from their
//! beginning, and so is a topic that was made since: whatever they hold was written for who reads already.
//!
//! **How it would fail without**: clients hear of a new partition seconds after producers. Begun at its end, what they wrote meanwhile is
//! skipped in silence, and it is the first of all keys that went there.

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaRespErr;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::consume::intake::begin::ANSWER;
use crate::consume::intake::context::{At, Context};
use crate::consume::intake::position::positions;
use crate::database::sessions::with_conn;
use crate::database::step;

use crate::ground::error::chain_of;

/// What the step says.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    /// Those with a lower number were there.
    partitions: i32,
}

/// What the scopes of a reader begin with.
pub(super) fn all_of(reader: &str) -> String {
    format!("begun/{}/", step::part(reader))
}

pub(super) fn scope(reader: &str, topic: &str) -> String {
    format!("{}{topic}", all_of(reader))
}

/// With how many partitions `reader` began with `topic`. If it begins now, it is with the `found` ones.
pub(crate) async fn note(conn: &mut PgConnection, reader: &str, topic: &str, found: i32) -> Result<i32, step::Error> {
    let scope = scope(reader, topic);
    if let Some((_, Begun { partitions })) = step::latest(conn, &scope).await? {
        return Ok(partitions);
    }
    // Earlier builds noted nothing. They wrote each partition's position, so what has none came later.
    let number = |(at, _): (String, _)| at.rsplit_once('/').filter(|(of, _)| *of == topic)?.1.parse::<i32>().ok();
    let stored = positions(&mut *conn, reader).await.map_err(|source| step::Error::Database { scope: scope.clone(), source })?;
    let known = stored.into_iter().filter_map(number).max().map(|last| last + 1);
    let begun = Begun { partitions: known.unwrap_or(found) };
    match step::append(conn, &scope, None, &begun).await {
        Ok(_) => Ok(begun.partitions),
        // Another replica was first.
        Err(step::Error::Fenced { .. }) => {
            Ok(step::latest(conn, &scope).await?.map_or(begun.partitions, |(_, Begun { partitions })| partitions))
        }
        Err(error) => Err(error),
    }
}

/// Notes with how many partitions this reader begins with each of its topics, waiting for brokers and database if need be: before it is
/// subscribed, since of a topic that isn't there nothing is assigned that would tell. False at shutdown.
pub(super) fn begin(consumer: &BaseConsumer<Context>) -> bool {
    let context = consumer.context();
    let note = || -> Result<(), String> {
        let found = found(consumer, &context.config.topics).map_err(|error| error.to_string())?;
        found.into_iter().try_for_each(|(topic, count)| noted(context, &topic, count).map(drop))
    };
    context.patiently("which topics there are", note, |why| context.complain(why)).is_some()
}

/// Whether a partition that has no position came after this reader had begun with its topic; or why that can't be told.
pub(super) fn is_later(consumer: &BaseConsumer<Context>, (topic, partition): &At) -> Result<bool, String> {
    let found = found(consumer, std::slice::from_ref(topic)).map_err(|error| error.to_string())?;
    let (_, count) = found.first().ok_or("the brokers don't say how many partitions it has")?;
    let later = *partition >= noted(consumer.context(), topic, *count)?;
    if later {
        tracing::info!(topic, partition, "created after this reader first subscribed to the topic: reading from its beginning");
    }
    Ok(later)
}

fn noted(context: &Context, topic: &str, found: i32) -> Result<i32, String> {
    let reader = context.engine.reader();
    let note = async |conn: &mut PgConnection| note(conn, reader, topic, found).await.map_err(sqlx::Error::decode);
    let note = async { with_conn!(context.engine.sessions(), conn => note(conn)) };
    context.runtime.block_on(note).map_err(|error| chain_of(&error))
}

/// How many partitions each of `topics` has, 0 of one that isn't there. One that can't be told about yet is left out.
pub(super) fn found<C: ConsumerContext>(consumer: &BaseConsumer<C>, topics: &[String]) -> KafkaResult<Vec<(String, i32)>> {
    // All topics: a question for one by name makes it, where brokers make topics by themselves.
    let all = consumer.fetch_metadata(None, ANSWER)?;
    let mut found = Vec::new();
    for topic in topics {
        let count = match all.topics().iter().find(|t| t.name() == topic) {
            Some(there) => count(there),
            // It may be hidden from this user for now; asked by name, brokers say so.
            None => consumer.fetch_metadata(Some(topic), ANSWER)?.topics().first().map_or(Some(0), count),
        };
        found.extend(count.map(|count| (topic.clone(), count)));
    }
    Ok(found)
}

fn count(topic: &MetadataTopic) -> Option<i32> {
    match topic.error() {
        None => i32::try_from(topic.partitions().len()).ok(),
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Some(0),
        Some(_) => None,
    }
}
