//! Decodes records and parked tasks into a participant's inputs.

use uuid::Uuid;

use crate::engine::tasks::Id;
use crate::engine::{Decoded, Origin, Work};
use crate::ground::error::chain_of;
use crate::ground::text::{brief, name};
use crate::parking::Fault;
use crate::parking::input::{self, Answered};
use crate::participant::task::{Deadline as _, Effect as _};
use crate::participant::{Body, Participant};
use crate::wire::codec::Codec;
use crate::wire::message::Message as _;
use crate::wire::per_topic::Unknown;
use crate::wire::record::Record;
use crate::wire::traceparent::is_traceparent;

/// Reads a record for participant `P`. The writer's schema must have been prepared. One whose `farandole` header is damaged can't be
/// read: nobody knows whether it is the next.
pub fn in_chain<P: Participant>(participant: &P, record: &Record, codec: &Codec, unknown: Unknown) -> Decoded<Box<Work<P>>> {
    let fault = |reason: String| Decoded::Fault(Fault { reason, transient: false });
    let correlation = match record.link() {
        Ok(link) => link.map(|(_, link)| link.correlation),
        Err(reason) => return fault(reason),
    };
    let Some(kind) = record.header("ce_type").filter(|kind| !kind.is_empty()) else {
        return fault("header `ce_type` is missing or empty".to_owned());
    };
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    let (id, heard) = match heard(participant, (kind, key, value), &record.codec(codec), unknown) {
        Decoded::Input(heard) => heard,
        Decoded::Ignored => return Decoded::Ignored,
        Decoded::Unknown => return Decoded::Unknown,
        Decoded::Fault(fault) => return Decoded::Fault(fault),
    };
    let origin = Origin {
        cause: format!("{}/{}/{}", record.topic, record.partition, record.offset),
        correlation,
        // What isn't one is a stranger's, of any length, and would go into every event that follows from this record.
        traceparent: record.header("traceparent").filter(|text| is_traceparent(text)).map(str::to_owned),
        idempotency: None,
        key: Some(record.aggregate()),
    };
    Decoded::Input(Box::new(Work::new(id, Body::Heard(heard), origin)))
}

/// What a record of this type, key and value says to participant `P`, and about which aggregate of its.
pub fn heard<P: Participant>(
    participant: &P,
    (kind, key, value): (&str, Option<&[u8]>, Option<&[u8]>),
    codec: &Codec,
    unknown: Unknown,
) -> Decoded<(P::Id, P::Heard)> {
    let fault = |reason: String| Decoded::Fault(Fault { reason, transient: false });
    let index = match P::Heard::find(kind) {
        Some(index) => index,
        None if P::Heard::ignores(kind) => return Decoded::Ignored,
        None if unknown.resolved(P::Heard::IGNORES.is_some()) == Unknown::Ignore => return Decoded::Unknown,
        None => return fault(format!("type {} is unknown to this build", brief(kind))),
    };
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return fault("the record has no key".to_owned());
    };
    let Some(value) = value else { return fault(format!("{kind} has no value")) };
    let heard = match P::Heard::decode(index, codec, value) {
        Ok(heard) => heard,
        Err(error) => return fault(chain_of(&error)),
    };
    // Letters in the place of bytes that are none would make one id of two keys.
    let from_key = || match std::str::from_utf8(key) {
        Ok(key) => self::id::<P>(key),
        Err(_) => Err(format!("the key {} is no id of {}: it isn't UTF-8", brief(&name(key)), P::NAME)),
    };
    match participant.aggregate(&heard).map_or_else(from_key, Ok) {
        Ok(id) => Decoded::Input((id, heard)),
        Err(reason) => fault(reason),
    }
}

/// The id that a key is.
pub(crate) fn id<P: Participant>(key: &str) -> Result<P::Id, String> {
    key.parse().map_err(|error| format!("the key {} is no id of {}: {error}", brief(key), P::NAME))
}

/// What a task brought, as the engine takes it.
pub(crate) fn input<P: Participant>(
    id: &Id,
    about: P::Id,
    correlation: Uuid,
    traceparent: Option<String>,
    body: Body<P>,
) -> Work<P> {
    let kind = if matches!(body, Body::Deadline(_)) { input::Kind::Deadline } else { input::Kind::Outcome };
    let (cause, key) = (id.cause_of(kind.as_str()), Some(name(id.key.as_bytes()).into_owned()));
    Work::new(about, body, Origin { cause, correlation: Some(correlation), traceparent, idempotency: None, key })
}

/// What a parked task brought, as this build reads it.
pub(crate) fn task<P: Participant>(task: &input::Task) -> Decoded<Box<Work<P>>> {
    let body = match task.answered.clone() {
        None => deadline::<P>(&task.name).map(Body::Deadline),
        Some(Answered { effect, outcome }) => P::Effect::from_json(&task.name, effect)
            .and_then(|effect| Ok(Body::Outcome { effect, outcome: serde_json::from_value(outcome)? }))
            .map_err(|error| format!("an effect or outcome that this build can't read: {error}")),
    };
    match id::<P>(&task.key).and_then(|about| Ok((about, body?))) {
        Ok((about, body)) => {
            let id = Id { name: task.name.clone(), key: task.key.clone(), cause: task.cause };
            Decoded::Input(Box::new(input(&id, about, task.correlation, task.traceparent.clone(), body)))
        }
        Err(reason) => Decoded::Fault(Fault { reason, transient: false }),
    }
}

/// The deadline of that name.
pub(crate) fn deadline<P: Participant>(name: &str) -> Result<P::Deadline, String> {
    P::Deadline::find(name).ok_or_else(|| format!("this build has no deadline `{name}`"))
}
