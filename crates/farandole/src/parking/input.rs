//! What parks: a record, or what a task of the agenda brought, whole.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::parking::error::Error;
use crate::wire::record::{Header, Record};

/// Which input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputId {
    /// A record.
    Record {
        /// Topic, with its prefix.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
    },
    /// What a task brought.
    Task {
        /// A deadline, or an effect's outcome.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its key.
        key: String,
        /// The event that opened it.
        cause: Uuid,
    },
}

impl std::fmt::Display for InputId {
    /// `topic/partition/offset`, or `deadline/<name>/<key>/<cause>` or `outcome/…`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record { topic, partition, offset } => write!(f, "{topic}/{partition}/{offset}"),
            Self::Task { kind, name, key, cause } => write!(f, "{}/{name}/{key}/{cause}", kind.as_str()),
        }
    }
}

impl From<&Record> for InputId {
    fn from(record: &Record) -> Self {
        Self::Record { topic: record.topic.clone(), partition: record.partition, offset: record.offset }
    }
}

/// What a task brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A time that has come.
    Deadline,
    /// An answer of the outside world.
    Outcome,
}

impl Kind {
    /// As the table has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Outcome => "outcome",
        }
    }

    fn of(text: &str) -> Self {
        if text == "deadline" { Self::Deadline } else { Self::Outcome }
    }
}

/// What a task brought, with all that deciding it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Kind of deadline or effect.
    pub name: String,
    /// Its key.
    pub key: String,
    /// The event that opened it.
    pub cause: Uuid,
    /// Of that event.
    pub correlation: Uuid,
    /// Of that event.
    pub traceparent: Option<String>,
    /// What was asked and answered; none for a deadline.
    pub answered: Option<Answered>,
}

/// What the outside world was asked, and its answer, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The participant's effect.
    pub effect: Value,
    /// Its outcome.
    pub outcome: Value,
}

/// What of a task no column holds.
#[derive(Serialize, Deserialize)]
struct Rest {
    correlation: Uuid,
    traceparent: Option<String>,
    answered: Option<Answered>,
}

impl Task {
    /// What it brought.
    pub fn kind(&self) -> Kind {
        if self.answered.is_some() { Kind::Outcome } else { Kind::Deadline }
    }

    pub(super) fn rest(&self) -> Result<String, Error> {
        let Self { correlation, traceparent, answered, .. } = self.clone();
        let rest = serde_json::to_string(&Rest { correlation, traceparent, answered });
        rest.map_err(|e| Error::Unkept(format!("the result of {}/{} can't be stored: {e}", self.name, self.key)))
    }
}

/// What parks.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// A record.
    Record(&'a Record),
    /// What a task brought.
    Task(&'a Task),
}

impl<'a> What<'a> {
    /// Which input it is.
    pub fn place(&self) -> InputId {
        match self {
            Self::Record(record) => InputId::from(*record),
            Self::Task(task) => {
                InputId::Task { kind: task.kind(), name: task.name.clone(), key: task.key.clone(), cause: task.cause }
            }
        }
    }

    pub(super) fn record(&self) -> Option<&'a Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Task(_) => None,
        }
    }

    pub(super) fn task(&self) -> Option<&'a Task> {
        match self {
            Self::Task(task) => Some(task),
            Self::Record(_) => None,
        }
    }
}

/// A parked row.
#[derive(Debug)]
pub(crate) struct ParkedRow {
    pub seq: i64,
    /// Aggregate, and key if that is another.
    pub names: Vec<String>,
    pub input: Input,
}

/// A parked input, as it was read.
#[derive(Debug)]
pub(crate) enum Input {
    Record(Box<Record>),
    /// Or what of it can't be read.
    Task(InputId, Result<Box<Task>, String>),
}

impl Input {
    pub fn place(&self) -> InputId {
        match self {
            Self::Record(record) => InputId::from(&**record),
            Self::Task(place, _) => place.clone(),
        }
    }
}

/// The first `limit` rows of `reader` under `names`, oldest first.
pub(crate) async fn rows(conn: &mut PgConnection, reader: &str, names: &[String], limit: i64) -> sqlx::Result<Vec<ParkedRow>> {
    let rows = sqlx::query(
        "select seq, aggregate, also, topic, partition, record_offset, key, value, headers, task_kind, task_name, task_key, task_cause, task
         from farandole.parked
         where seq = any (array(
           select distinct p.seq from unnest($1::text[]) n cross join lateral (
             (select seq from farandole.parked where reader = $3 and aggregate = n order by seq limit $2)
             union all (select seq from farandole.parked where reader = $3 and also = n order by seq limit $2)) p
           order by 1 limit $2))
         order by seq",
    )
    .bind(names)
    .bind(limit)
    .bind(reader)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

fn row(row: &PgRow) -> sqlx::Result<ParkedRow> {
    let also: Option<String> = row.try_get(2)?;
    let names = std::iter::once(row.try_get(1)?).chain(also).collect();
    let input = match place(row, 3, 9)? {
        InputId::Record { topic, partition, offset } => {
            let headers: Json<Vec<Header>> = row.try_get(8)?;
            let (key, value) = (row.try_get(6)?, row.try_get(7)?);
            Input::Record(Box::new(Record { topic, partition, offset, key, value, headers: headers.0 }))
        }
        place @ InputId::Task { .. } => {
            let task = task(&place, row.try_get(13)?);
            Input::Task(place, task)
        }
    };
    Ok(ParkedRow { seq: row.try_get(0)?, names, input })
}

fn task(place: &InputId, rest: &str) -> Result<Box<Task>, String> {
    let InputId::Task { name, key, cause, .. } = place.clone() else { return Err("it is a record".to_owned()) };
    let Rest { correlation, traceparent, answered } =
        serde_json::from_str(rest).map_err(|e| format!("the stored result can't be read: {e}"))?;
    Ok(Box::new(Task { name, key, cause, correlation, traceparent, answered }))
}

/// The place in a row: topic, partition and offset from column `record` on, kind, name, key and cause from column `task` on.
pub(crate) fn place(row: &PgRow, record: usize, task: usize) -> sqlx::Result<InputId> {
    Ok(match row.try_get::<Option<String>, _>(record)? {
        Some(topic) => InputId::Record { topic, partition: row.try_get(record + 1)?, offset: row.try_get(record + 2)? },
        None => InputId::Task {
            kind: Kind::of(row.try_get(task)?),
            name: row.try_get(task + 1)?,
            key: row.try_get(task + 2)?,
            cause: row.try_get(task + 3)?,
        },
    })
}
