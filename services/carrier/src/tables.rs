//! What the carrier's book has besides parcels and keys: when parcels change next, and webhooks until they are taken.

use jiff::{SignedDuration, Timestamp};
use redb::{Key, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, Value, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use standin::Problem;
use standin::book::Table;
use uuid::Uuid;

use crate::parcel::{Parcel, Status};

/// By the millisecond of the next change, and the tracking number.
const DUE: TableDefinition<'_, (i64, u128), ()> = TableDefinition::new("due");
/// By number, in the order of the changes.
const WEBHOOKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("webhooks");
/// The webhooks once more, by the millisecond from which they may be sent.
const AGENDA: TableDefinition<'_, (i64, u64), ()> = TableDefinition::new("agenda");
/// Webhooks so far, and what became of those that are gone.
const COUNTS: TableDefinition<'_, &str, u64> = TableDefinition::new("counts");

pub const TABLES: &[Table] = &[
    ("due", |write| create(write, DUE)),
    ("webhooks", |write| create(write, WEBHOOKS)),
    ("agenda", |write| create(write, AGENDA)),
    ("counts", |write| create(write, COUNTS)),
];

fn create<K: Key + 'static, V: Value + 'static>(
    write: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> anyhow::Result<()> {
    write.open_table(table)?;
    Ok(())
}

/// A change that the receiver has to hear of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Webhook {
    pub number: u64,
    pub id: String,
    pub tracking: Uuid,
    pub reference: String,
    pub status: Status,
    pub at: Timestamp,
    /// Milliseconds.
    pub created: i64,
    pub next: i64,
    /// That failed.
    pub attempts: u32,
    /// It was delivered before and goes out once more: a fault.
    pub repeated: bool,
}

/// What has become of webhooks that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Delivered,
    GivenUp,
    /// Delivered before: not counted again.
    Repeated,
}

pub fn add_due(write: &WriteTransaction, parcel: &Parcel, at: i64) -> anyhow::Result<()> {
    write.open_table(DUE)?.insert((at, parcel.tracking.as_u128()), ())?;
    Ok(())
}

/// Takes the parcel that has been due for the longest.
pub fn pop_due(write: &WriteTransaction, now: i64) -> anyhow::Result<Option<Uuid>> {
    let mut due = write.open_table(DUE)?;
    let first = due.first()?.map(|(first, _)| first.value());
    let Some((at, tracking)) = first.filter(|(at, _)| *at <= now) else { return Ok(None) };
    due.remove((at, tracking))?;
    Ok(Some(Uuid::from_u128(tracking)))
}

/// When the next parcel is due, in milliseconds.
pub fn next_due(read: &ReadTransaction) -> anyhow::Result<Option<i64>> {
    Ok(read.open_table(DUE)?.first()?.map(|(first, _)| first.value().0))
}

/// The number of the next webhook.
pub fn number(write: &WriteTransaction) -> anyhow::Result<u64> {
    count(write, "webhooks")
}

/// Keeps a webhook, new or changed.
pub fn keep(write: &WriteTransaction, webhook: &Webhook) -> anyhow::Result<()> {
    let (mut webhooks, mut agenda) = (write.open_table(WEBHOOKS)?, write.open_table(AGENDA)?);
    if let Some(before) = webhooks.insert(webhook.number, serde_json::to_vec(webhook)?.as_slice())? {
        let before: Webhook = serde_json::from_slice(before.value())?;
        agenda.remove((before.next, before.number))?;
    }
    agenda.insert((webhook.next, webhook.number), ())?;
    Ok(())
}

/// Ends a webhook.
pub fn end(write: &WriteTransaction, webhook: &Webhook, end: End) -> anyhow::Result<()> {
    write.open_table(WEBHOOKS)?.remove(webhook.number)?;
    write.open_table(AGENDA)?.remove((webhook.next, webhook.number))?;
    match end {
        End::Delivered => drop(count(write, "delivered")?),
        End::GivenUp => drop(count(write, "given_up")?),
        End::Repeated => {}
    }
    Ok(())
}

/// The webhooks that may be sent first: so many at most, and when the first of the others may.
pub fn first(read: &ReadTransaction, now: i64, most: usize) -> anyhow::Result<(Vec<Webhook>, Option<i64>)> {
    let (webhooks, mut found) = (read.open_table(WEBHOOKS)?, Vec::new());
    for entry in read.open_table(AGENDA)?.iter()? {
        let (next, number) = entry?.0.value();
        if next > now || found.len() == most {
            return Ok((found, Some(next)));
        }
        let missing = || Problem::new("not_found", format!("the agenda has webhook {number}, which isn't there"));
        found.push(serde_json::from_slice(webhooks.get(number)?.ok_or_else(missing)?.value())?);
    }
    Ok((found, None))
}

/// What there is of webhooks, for the totals.
pub fn totals(read: &ReadTransaction) -> anyhow::Result<serde_json::Value> {
    let counts = read.open_table(COUNTS)?;
    let of = |name| anyhow::Ok(counts.get(name)?.map_or(0, |count| count.value()));
    let waiting = read.open_table(WEBHOOKS)?.len()?;
    Ok(json!({ "waiting": waiting, "delivered": of("delivered")?, "given_up": of("given_up")? }))
}

/// Milliseconds of a time and a duration after it.
pub fn after(now: Timestamp, time: SignedDuration) -> i64 {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    now.as_millisecond().saturating_add(millis)
}

fn count(write: &WriteTransaction, name: &str) -> anyhow::Result<u64> {
    let mut counts = write.open_table(COUNTS)?;
    let count = counts.get(name)?.map_or(0, |count| count.value()) + 1;
    counts.insert(name, count)?;
    Ok(count)
}
