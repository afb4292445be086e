//! The idempotency keys that are still remembered, and what came of each.

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use redb::{ReadableTable as _, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::problem::Problem;
use crate::record::Json;

pub(crate) const KEYS: TableDefinition<'_, &str, Json> = TableDefinition::new("keys");
/// The keys once more, oldest first, by the millisecond of their use.
pub(crate) const AGES: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("ages");

/// What a key was used for: a digest of the request, so that nothing secret is kept; when, in milliseconds; what came of it.
type Remembered<T> = (u128, i64, T);

/// What the key and the request gave before, if it is remembered. A problem when the key was used for another request.
pub(crate) fn recall<T: DeserializeOwned>(
    transaction: &WriteTransaction,
    key: &str,
    request: &impl Serialize,
    (now, retention): (Timestamp, SignedDuration),
) -> anyhow::Result<Option<T>> {
    let keys = transaction.open_table(KEYS)?;
    let Some(before) = keys.get(key)? else { return Ok(None) };
    let (known, at, gave): Remembered<T> = serde_json::from_slice(before.value())?;
    if over(at, now, retention) {
        return Ok(None);
    }
    let reused = "this Idempotency-Key was used for another request";
    ensure!(known == digest(request)?, Problem::new("idempotency_key_reused", reused));
    Ok(Some(gave))
}

/// Remembers what came of a request, in place of what the key gave before.
pub(crate) fn remember<T: Serialize>(
    transaction: &WriteTransaction,
    key: &str,
    request: &impl Serialize,
    now: Timestamp,
    gave: &T,
) -> anyhow::Result<()> {
    let (mut keys, mut ages) = (transaction.open_table(KEYS)?, transaction.open_table(AGES)?);
    let at = now.as_millisecond();
    let value = serde_json::to_vec(&(digest(request)?, at, gave))?;
    if let Some(before) = keys.insert(key, value.as_slice())? {
        let (_, before, _): Remembered<serde::de::IgnoredAny> = serde_json::from_slice(before.value())?;
        ages.remove((before, key))?;
    }
    ages.insert((at, key), ())?;
    Ok(())
}

/// Removes keys whose time is over, the oldest first and so many at most.
pub(crate) fn forget(
    transaction: &WriteTransaction,
    (now, retention): (Timestamp, SignedDuration),
    most: usize,
) -> anyhow::Result<()> {
    let (mut ages, mut keys) = (transaction.open_table(AGES)?, transaction.open_table(KEYS)?);
    for _ in 0..most {
        let Some((oldest, _)) = ages.first()? else { break };
        let (at, key) = oldest.value();
        if !over(at, now, retention) {
            break;
        }
        keys.remove(key)?;
        drop(oldest);
        ages.pop_first()?;
    }
    Ok(())
}

fn over(at: i64, now: Timestamp, retention: SignedDuration) -> bool {
    SignedDuration::from_millis(now.as_millisecond() - at) >= retention
}

/// 128 bits: nobody finds another request that has the same.
fn digest(request: &impl Serialize) -> anyhow::Result<u128> {
    let hash = Sha256::digest(serde_json::to_vec(request)?);
    Ok(hash.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
}
