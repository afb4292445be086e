//! A topic read once more by a handler over your own tables: a new generation of its positions, because an operator says so.
//!
//! **Guarantee.** Each record that was read is given to the handler once more, in the order of its partition, each with its position in one
//! transaction as the first time; partitions that have read nothing from there on stay where they are. What is held back by a rate is held
//! back evenly. A reader that runs takes it up within seconds, and goes on by itself behind the end.
//!
//! **Refused** are a participant, whose tables are made anew from its own topic; a handler that declares, or doesn't say, what a repetition
//! does, unless the operator accepts that; and a reader that has records of the topic parked, which would be given twice.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::Serialize;
use sqlx::PgConnection;

use crate::consume::declared::{self, Repeating};
use crate::consume::intake::operate::{self, Ask, Change, Setting, To};
use crate::database::step;
use crate::parking::acts::Operator;
use crate::wire::per_topic::Start;
use crate::wire::settings::Kafka;

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct From(pub To);

impl FromStr for From {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<To>()) {
            ("beginning", _) => Ok(Self(To::Start(Start::Earliest))),
            (_, Ok(to @ (To::Offset(_) | To::Number(_) | To::Start(Start::At(_))))) => Ok(Self(to)),
            _ => Err(format!(
                "`{text}` is neither `beginning` nor a time like `2026-01-31T12:00:00Z` nor an offset nor `number:120000`"
            )),
        }
    }
}

/// Records a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub NonZeroU32);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let rate = text.strip_suffix("/s").unwrap_or(text).parse::<NonZeroU32>();
        rate.map(Self).map_err(|_| format!("`{text}` is no rate: write records a second, as `200/s`, 1 or more"))
    }
}

/// What a replay reads again, or has begun to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Whose positions.
    pub reader: String,
    /// What its handler declares about records that are repeated.
    pub repeating: Repeating,
    /// Records a second at most.
    pub rate: Option<NonZeroU32>,
    /// Whether it was begun.
    pub executed: bool,
    /// By partition.
    pub partitions: Vec<Change>,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.partitions.iter().try_for_each(|change| change.fmt(f))?;
        writeln!(f, "{}", self.repeating)?;
        if let Some(rate) = self.rate {
            writeln!(f, "at most {rate} records a second")?;
        }
        let accept = if self.repeating == Repeating::Harmless { "" } else { " --accept-repeats" };
        match self.executed {
            true => writeln!(f, "begun; the reader takes it up within 10 s, and `farandole positions` shows how far it is"),
            false => writeln!(f, "nothing was changed; to do it, add{accept} --execute --reason '…'"),
        }
    }
}

/// Why a topic isn't replayed. Then nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It decides.
    #[error(
        "{reader} is a service, whose participant is never replayed: what it decided is in its own topic. `{reader} rebuild` makes its \
         tables anew from there, and `{reader} inputs again {topic}/PARTITION/OFFSET` has one input decided again"
    )]
    Participant {
        /// Which.
        reader: String,
        /// What was to be read again.
        topic: String,
    },
    /// Records would count twice.
    #[error("{reader} isn't replayed: {repeating}. If its tables are ready for it, pass --accept-repeats")]
    Repeats {
        /// Whose.
        reader: String,
        /// What is declared.
        repeating: Repeating,
    },
    /// Records would be given twice.
    #[error(
        "{inputs} record(s) of {topic} are parked and would be given twice: fix their cause or drop them first, \
         `farandole parked --reader {reader}` lists them"
    )]
    Parked {
        /// Whose.
        reader: String,
        /// Of which topic.
        topic: String,
        /// How many.
        inputs: i64,
    },
    /// No place for a trial.
    #[error("schema `{schema}` can't be a trial's: {why} (`--into`)")]
    Schema {
        /// Which.
        schema: String,
        /// Why not.
        why: String,
    },
    /// The trial reads that topic already.
    #[error(
        "the trial in schema {schema} reads {topic} already, and its tables hold what it has made of it: drop it first with \
         `farandole replay --into {schema} --drop`, or try in another schema"
    )]
    TrialBegun {
        /// Which.
        schema: String,
        /// Which topic.
        topic: String,
    },
    /// Brokers, database, or another operator.
    #[error(transparent)]
    Positions(#[from] operate::Error),
    /// The database's.
    #[error("looking what the reader's handler declares")]
    Declared(#[source] step::Error),
    /// The database's.
    #[error("looking whether the topic can be replayed")]
    Database(#[source] sqlx::Error),
}

/// Says what a replay would read again, and begins it if `operator` is given.
///
/// # Errors
/// See [`Error`].
pub async fn replay(
    conn: &mut PgConnection,
    kafka: &Kafka,
    ask: &Ask<'_>,
    accepts_repeats: bool,
    operator: Option<Operator<'_>>,
) -> Result<Replayed, Error> {
    let (reader, topic) = (|| ask.reader.to_owned(), || ask.topic.to_owned());
    not_a_participant(conn, ask).await?;
    let repeating = declared::repeating(conn, ask.reader).await.map_err(Error::Declared)?;
    if operator.is_some() {
        if repeating != Repeating::Harmless && !accepts_repeats {
            return Err(Error::Repeats { reader: reader(), repeating });
        }
        let parked = "select count(*) from farandole.parked where reader = $1 and topic = $2";
        let parked = sqlx::query_scalar(parked).bind(ask.reader).bind(ask.topic).fetch_one(&mut *conn).await;
        match parked.map_err(Error::Database)? {
            0_i64 => {}
            inputs => return Err(Error::Parked { reader: reader(), topic: topic(), inputs }),
        }
    }
    let Setting { reader, executed, partitions } = operate::set(conn, kafka, ask, operator).await?;
    let rate = ask.replay.and_then(|pace| pace.rate);
    Ok(Replayed { reader, repeating, rate, executed, partitions })
}

/// Refuses a service, whose participant is never replayed.
pub(crate) async fn not_a_participant(conn: &mut PgConnection, ask: &Ask<'_>) -> Result<(), Error> {
    let participant = "select exists (select from farandole.owner where service = $1 and topic is not null)";
    match sqlx::query_scalar(participant).bind(ask.reader).fetch_one(conn).await.map_err(Error::Database)? {
        true => Err(Error::Participant { reader: ask.reader.to_owned(), topic: ask.topic.to_owned() }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_and_rates_are_read() {
        assert_eq!("beginning".parse(), Ok(From(To::Start(Start::Earliest))));
        assert_eq!(("17".parse(), "number:17".parse()), (Ok(From(To::Offset(17))), Ok(From(To::Number(17)))));
        assert!("2026-01-31T12:00:00Z".parse::<From>().is_ok());
        for wrong in ["latest", "earliest", "-1", "number:0", "number:x", ""] {
            assert!(wrong.parse::<From>().unwrap_err().contains("`beginning`"), "{wrong}");
        }
        assert_eq!(
            ("200/s".parse(), "7".parse()),
            (Ok(Rate(NonZeroU32::new(200).unwrap())), Ok(Rate(NonZeroU32::new(7).unwrap())))
        );
        for wrong in ["0/s", "-1", "fast", ""] {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("records a second"), "{wrong}");
        }
    }
}
