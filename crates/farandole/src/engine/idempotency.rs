//! Cached answers of commands.
//!
//! The key is locked before anything else of the batch, so of two requests with one key, wherever they arrive, the second
//! waits and then gets the first's answer. Refusals leave no trace and are decided again.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{PgConnection, Row as _};

use crate::database::locks;
use crate::engine::{Idempotency, Work};
use crate::participant::Participant;
use crate::participant::problem::{Answer, Problem};

/// An answer: scope and key, the hash of what was asked, the answer.
#[doc(hidden)]
pub type CachedAnswer = ((String, String), (Vec<u8>, Answer));

/// What is known of the keys of a batch.
#[derive(Debug, Default)]
pub struct IdempotencyCache {
    answers: HashMap<(String, String), (Vec<u8>, Answer)>,
    fresh: Vec<(String, String)>,
}

impl IdempotencyCache {
    /// One that knows these answers.
    #[doc(hidden)]
    pub fn given(answers: impl IntoIterator<Item = CachedAnswer>) -> Self {
        Self { answers: answers.into_iter().collect(), fresh: Vec::new() }
    }

    /// The answers that were given since.
    #[doc(hidden)]
    pub fn fresh(self) -> impl Iterator<Item = CachedAnswer> {
        let Self { mut answers, fresh } = self;
        fresh.into_iter().filter_map(move |at| answers.remove_entry(&at))
    }

    /// Locks the keys of `works` and reads the answers that were given under them.
    pub(super) async fn lock<P: Participant>(conn: &mut PgConnection, works: &[Work<P>]) -> sqlx::Result<Self> {
        let mut keys: Vec<(&str, &str)> =
            works.iter().filter_map(|w| w.origin.idempotency.as_ref()).map(|i| (i.scope.as_str(), i.key.as_str())).collect();
        if keys.is_empty() {
            return Ok(Self::default());
        }
        keys.sort_unstable();
        keys.dedup();
        let names: Vec<String> = keys.iter().map(|(scope, key)| format!("{scope}/{key}")).collect();
        locks::lock_all(conn, "idempotency", &names).await?;
        let (scopes, keys): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
        let rows = sqlx::query(
            "select i.scope, i.key, body_hash, answer from unnest($1::text[], $2::text[]) as t(s, k)
             join farandole.idempotency i on i.scope = t.s and i.key = t.k",
        )
        .bind(&scopes)
        .bind(&keys)
        .fetch_all(conn)
        .await?;
        let mut known = Self::default();
        for row in rows {
            let answer: sqlx::types::Json<Answer> = row.try_get(3)?;
            known.answers.insert((row.try_get(0)?, row.try_get(1)?), (row.try_get(2)?, answer.0));
        }
        Ok(known)
    }

    /// The answer that was given under this key, or the problem if it was given to another request.
    pub(super) fn find(&self, asked: &Idempotency) -> Option<Result<Answer, Problem>> {
        let (hash, answer) = self.answers.get(&(asked.scope.clone(), asked.key.clone()))?;
        Some(if hash == &asked.body_hash {
            Ok(answer.clone())
        } else {
            Err(Problem::new(
                422,
                "idempotency-key-reused",
                "this Idempotency-Key was used for a different request; use a new key for a new request",
            ))
        })
    }

    /// Remembers an answer, to be stored with the batch.
    pub(super) fn remember(&mut self, asked: &Idempotency, answer: &Answer) {
        let at = (asked.scope.clone(), asked.key.clone());
        self.answers.insert(at.clone(), (asked.body_hash.to_vec(), answer.clone()));
        self.fresh.push(at);
    }

    /// Stores the new answers.
    pub(super) async fn store(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let (mut scopes, mut keys, mut hashes, mut statuses, mut answers) = (vec![], vec![], vec![], vec![], Vec::<Value>::new());
        for at in &self.fresh {
            let Some((hash, answer)) = self.answers.get(at) else { continue };
            scopes.push(at.0.as_str());
            keys.push(at.1.as_str());
            hashes.push(hash.as_slice());
            statuses.push(i16::try_from(answer.status()).unwrap_or(i16::MAX));
            answers.push(serde_json::json!(answer));
        }
        sqlx::query(
            "insert into farandole.idempotency (scope, key, body_hash, status, answer)
             select * from unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::jsonb[])",
        )
        .bind(scopes)
        .bind(keys)
        .bind(hashes)
        .bind(statuses)
        .bind(answers)
        .execute(conn)
        .await?;
        Ok(())
    }
}
