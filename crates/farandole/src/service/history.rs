//! What operators did with a service: its journal's entries about that, from the topic, and from the outbox what isn't published yet.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use sqlx::Row as _;
use uuid::Uuid;

use crate::config::Config;
use crate::ground::error::chain_of;
use crate::ground::text::shown;
use crate::ground::time::Timestamp;
use crate::parking::acts::{ACTED, Act};
use crate::parking::journal;
use crate::participant::Participant;
use crate::service::frame::{Doing, Frame};
use crate::service::{Error, Service, own, parts};
use crate::wire::codec::Codec;
use crate::wire::extent::{self, Client, View};
use crate::wire::record::Record;
use crate::wire::settings::Kafka;
use crate::wire::topics;

/// Entries that are shown, at most: so many are held at once.
pub const MOST: usize = 10_000;

/// An act, and when it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// RFC 3339.
    pub at: String,
    /// What was done.
    #[serde(flatten)]
    pub act: Act,
}

/// What operators did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct History {
    /// With which service.
    pub service: String,
    /// The newest last.
    pub entries: Vec<Entry>,
    /// Whether there are older ones.
    pub more: bool,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.more {
            writeln!(f, "… (--limit shows more)")?;
        }
        for Entry { at, act: Act { verb, what, reason, by, outcome } } in &self.entries {
            write!(f, "{at} {} {}: {}: {}", shown(by), shown(verb), shown(what), shown(outcome))?;
            match reason {
                Some(reason) => writeln!(f, " ({})", shown(reason))?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// An entry as it is found: its type, its value, and how that is written.
struct Found {
    kind: String,
    value: Vec<u8>,
    content_type: Option<String>,
}

/// By time and id, so that what is in the outbox and in the topic is there once.
type All = BTreeMap<(i64, String), Found>;

impl<P: Participant, E> Service<P, E> {
    /// The last `limit` acts of operators.
    ///
    /// # Errors
    /// When database, brokers or registry can't be asked.
    pub async fn history(&self, config: &Config, limit: usize) -> Result<History, Error> {
        self.frame.history(config, limit).await
    }
}

impl Frame {
    fn history<'a>(&'a self, config: &'a Config, limit: usize) -> Doing<'a, History> {
        Box::pin(async move {
            let limit = limit.min(MOST);
            let own = topics::own(&config.topics.prefix, self.contract.name);
            let topic = topics::journal("", &own);
            let mut all = self.unpublished(config, &topic, limit).await?;
            let (kafka, of) = (config.kafka.clone(), topic.clone());
            let read = tokio::task::spawn_blocking(move || published(&kafka, &of, limit)).await;
            let read = read.map_err(|_| Error::Panicked { part: "reading the journal" })?;
            let (read, mut more) = read.map_err(|source| Error::History { topic, source })?;
            all.extend(read);
            while all.len() > limit {
                all.pop_first();
                more = true;
            }
            let pools = parts::Pools::new(self.contract.name, &config.database)?;
            let codec = Codec::with(&config.registry, pools.intake.clone()).encoding(self.encoding);
            let read = entries(&codec, all).await;
            pools.close().await;
            Ok(History { service: self.contract.name.to_owned(), entries: read?, more })
        })
    }

    /// Those that the outbox still holds: published or not, since its rows stay for a while.
    async fn unpublished(&self, config: &Config, topic: &str, limit: usize) -> Result<All, Error> {
        let failed = |source| Error::Database { doing: "reading the journal's rows in the outbox", source };
        let mut conn = own::connect(self.contract.name, config).await?;
        let sql = "select id, type, payload, (extract(epoch from time) * 1000000)::bigint, headers->>'content-type'
                   from farandole.outbox where topic = $1 and type = any($2) order by seq desc limit $3";
        let kinds: &[&str] = &[ACTED, journal::DROPPED];
        let rows = sqlx::query(sql).bind(topic).bind(kinds).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = rows.fetch_all(&mut conn).await.map_err(failed)?;
        let one = |row: &sqlx::postgres::PgRow| {
            let (id, at): (Uuid, i64) = (row.try_get(0)?, row.try_get(3)?);
            let found = Found { kind: row.try_get(1)?, value: row.try_get(2)?, content_type: row.try_get(4)? };
            Ok(((at, id.to_string()), found))
        };
        rows.iter().map(one).collect::<sqlx::Result<_>>().map_err(failed)
    }
}

/// The last of them that the topic holds, and whether there were more. Blocks, for as long as reading the journal takes.
fn published(kafka: &Kafka, topic: &str, limit: usize) -> Result<(All, bool), extent::Error> {
    let client = Client::new(&kafka.client(&[]), View::Everything)?;
    let (mut all, mut more) = (All::new(), false);
    if !client.topics()?.contains_key(topic) {
        return Ok((all, more));
    }
    client.each(&client.extents(topic)?, |record: Record| {
        let kind = record.kind().filter(|kind| [ACTED, journal::DROPPED].contains(kind)).map(str::to_owned);
        let at = record.header("ce_time").and_then(Timestamp::parse).map(Timestamp::micros);
        let id = record.header("ce_id").map(str::to_owned);
        let content_type = record.header("content-type").map(str::to_owned);
        if let (Some(kind), Some(at), Some(id), Some(value)) = (kind, at, id, record.value) {
            all.insert((at, id), Found { kind, value, content_type });
            if all.len() > limit {
                all.pop_first();
                more = true;
            }
        }
        Ok::<_, extent::Error>(true)
    })?;
    Ok((all, more))
}

async fn entries(codec: &Codec, all: All) -> Result<Vec<Entry>, Error> {
    codec.add_reader_schema(journal::TYPES).map_err(Error::Schemas)?;
    let mut entries = Vec::with_capacity(all.len());
    for ((at, id), Found { kind, value, content_type }) in all {
        let codec = codec.for_content_type(content_type.as_deref());
        let read = async {
            codec.prepare(Codec::schema_id(&value).ok()).await?;
            Act::read(&codec, &kind, &value)
        };
        match read.await {
            Ok(Some(act)) => entries.push(Entry { at: Timestamp::from_micros(at).to_string(), act }),
            Ok(None) => {}
            Err(error) if error.is_transient() => return Err(Error::Schemas(error)),
            Err(error) => tracing::warn!(id, kind, error = chain_of(&error), "an entry of the journal can't be read"),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_told_in_a_line() {
        let act = Act {
            verb: "positions set".to_owned(),
            what: "orders of till".to_owned(),
            reason: Some("sent\nby hand".to_owned()),
            by: "ann".to_owned(),
            outcome: "3: 5 -> 7".to_owned(),
        };
        let entries = vec![Entry { at: "2026-01-31T12:00:00.000000Z".to_owned(), act }];
        let history = History { service: "till".to_owned(), entries, more: true };
        assert_eq!(
            history.to_string(),
            "… (--limit shows more)\n2026-01-31T12:00:00.000000Z ann positions set: orders of till: 3: 5 -> 7 (sent\\nby hand)\n"
        );
    }
}
