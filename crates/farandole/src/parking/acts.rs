//! What operators did, as events of the service's journal: who, when, why, upon what, and what came of it.
//!
//! An act that is one transaction is told in that transaction. What takes several (a heal, a rebuild) is told right behind the last: who is
//! interrupted in between finds the act done and the journal without it. What was refused, or failed before it changed anything, isn't told.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::database::locks;
use crate::ground::text::short;
use crate::ground::time::Timestamp;
use crate::parking::error::Error;
use crate::parking::journal::{BY_ITSELF, DROPPED, Journal};
use crate::publish::outbox;
use crate::wire::codec::{self, Codec};

/// The type of the journal's events about what operators did.
pub const ACTED: &str = "farandole.journal.Acted";
/// All of them have one key, so that they lie in one partition, in order.
const KEY: &str = "operator";

/// Who acts, and why; and where it is told.
#[derive(Debug, Clone, Copy)]
pub struct Operator<'a> {
    /// As their shell knows them.
    pub name: &'a str,
    /// In their words.
    pub reason: Option<&'a str>,
    /// The journal, where there is one.
    pub journal: Option<&'a Journal>,
}

/// An act, field for field as the schema has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The verb, as it is called.
    pub verb: String,
    /// Upon what.
    pub what: String,
    /// Why.
    pub reason: Option<String>,
    /// Who.
    pub by: String,
    /// What came of it.
    pub outcome: String,
}

/// What was dropped, as far as it is an act.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct Dropped {
    aggregate: String,
    topic: String,
    partition: i32,
    offset: i64,
    task: Option<String>,
    reason: String,
    by: String,
}

impl Act {
    /// The act that a value of the journal tells of; none where nobody acted.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(codec: &Codec, kind: &str, value: &[u8]) -> Result<Option<Self>, codec::Error> {
        if kind != DROPPED {
            return codec.decode(ACTED, value).map(Some);
        }
        let Dropped { aggregate, topic, partition, offset, task, reason, by } = codec.decode(DROPPED, value)?;
        let place = task.unwrap_or_else(|| format!("{topic}/{partition}/{offset}"));
        let act = Self {
            verb: "parked drop".to_owned(),
            what: format!("{place} of {aggregate}"),
            reason: Some(reason),
            by,
            outcome: "dropped".to_owned(),
        };
        Ok(Some(act).filter(|act| act.by != BY_ITSELF))
    }
}

impl Operator<'_> {
    /// Tells the journal of an act, within the caller's transaction, and the log.
    ///
    /// # Errors
    /// When the type isn't registered, and the database's.
    pub async fn did(
        &self,
        conn: &mut PgConnection,
        verb: &str,
        what: impl Into<String>,
        outcome: impl Into<String>,
    ) -> Result<(), Error> {
        let (what, outcome): (String, String) = (what.into(), outcome.into());
        tracing::info!(by = self.name, reason = self.reason, what, outcome, "{verb}");
        let Some(journal) = self.journal else { return Ok(()) };
        let act = Act {
            verb: verb.to_owned(),
            what: short(&what),
            reason: self.reason.map(short),
            by: self.name.to_owned(),
            outcome: short(&outcome),
        };
        let at = |doing| Error::database(doing, 1);
        locks::lock_all(conn, KEY, &[KEY.to_owned()]).await.map_err(at("locking the journal's key of acts"))?;
        let now = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
        let now: i64 = sqlx::query_scalar(now).fetch_one(&mut *conn).await.map_err(at("asking the time"))?;
        let row = journal.event(Timestamp::from_micros(now), (KEY, KEY), ACTED, &act, |id| format!("operator/{id}"))?;
        outbox::append_all(conn, &[row]).await.map_err(at("appending to the journal"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parking::journal::TYPES;

    #[test]
    fn an_act_fits_its_schema_and_can_be_read_back() {
        let codec = Codec::offline(TYPES);
        for reason in [None, Some("a test".to_owned())] {
            let (verb, what) = ("positions set".to_owned(), "orders/3".to_owned());
            let act = Act { verb, what, reason, by: "ann".to_owned(), outcome: "5 -> 7".to_owned() };
            let bytes = codec.encode(ACTED, &act).unwrap();
            assert_eq!(Act::read(&codec, ACTED, &bytes).unwrap(), Some(act));
        }
    }

    /// What the service drops by itself is no operator's act.
    #[test]
    fn a_drop_is_an_act_if_somebody_dropped() {
        let codec = Codec::offline(TYPES);
        let drop = |by: &str| {
            let (aggregate, topic, partition, offset) = ("k".to_owned(), "t".to_owned(), 0, 1);
            let dropped =
                Dropped { aggregate, topic, partition, offset, task: None, reason: "bad".to_owned(), by: by.to_owned() };
            Act::read(&codec, DROPPED, &codec.encode(DROPPED, &dropped).unwrap()).unwrap()
        };
        let act = drop("ann").unwrap();
        assert_eq!((act.verb.as_str(), act.what.as_str(), act.by.as_str()), ("parked drop", "t/0/1 of k", "ann"));
        assert_eq!(drop(BY_ITSELF), None);
    }
}
