//! Which record is fed again, what is known of it, and why it isn't.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::ground::text::shown;
use crate::parking;
use crate::wire::extent;

/// A record's place, `topic/partition/offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputAt {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl FromStr for InputAt {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (rest, offset) = text.rsplit_once('/')?;
            let (topic, partition) = rest.rsplit_once('/')?;
            let (partition, offset): (i32, i64) = (partition.parse().ok()?, offset.parse().ok()?);
            (!topic.is_empty() && partition >= 0 && offset >= 0).then(|| Self { topic: topic.to_owned(), partition, offset })
        };
        parts().ok_or_else(|| format!("`{text}` is no topic/partition/offset, like `payments/3/17`"))
    }
}

impl fmt::Display for InputAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// What a record says to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// An input about this aggregate.
    Input {
        /// Its name.
        aggregate: String,
    },
    /// Nothing.
    Nothing,
    /// It can't be read.
    Fault {
        /// Why.
        reason: String,
    },
}

/// A record that is fed again, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fed {
    /// `topic/partition/offset`.
    pub input: String,
    /// Its type.
    pub kind: Option<String>,
    /// Who wrote it.
    pub source: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// When it was written, RFC 3339.
    pub written: Option<String>,
    /// The name of its key.
    pub key: String,
    /// Bytes of its value; none of a tombstone.
    pub bytes: Option<usize>,
    /// What it is about; the key where it can't be read.
    pub aggregate: String,
    /// Why it can't be read, if it can't: it parks then.
    pub fault: Option<String>,
    /// Whether something is parked for its aggregate or key: it waits behind that.
    pub waits: bool,
    /// Events that it has led to, as far as the outbox still has them: type and id, at most 20.
    pub led_to: Vec<String>,
    /// Whether it was fed.
    pub executed: bool,
    /// What came of it.
    pub outcome: Option<String>,
}

impl fmt::Display for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), |text| shown(text).into_owned());
        writeln!(
            f,
            "{}: {} of {}, id {}, written {}",
            self.input,
            or(&self.kind),
            or(&self.source),
            or(&self.id),
            or(&self.written)
        )?;
        let bytes = self.bytes.map_or_else(|| "no value".to_owned(), |bytes| format!("{bytes} bytes"));
        writeln!(f, "  key {}, {bytes}; about {}", shown(&self.key), shown(&self.aggregate))?;
        match self.led_to.is_empty() {
            true => writeln!(f, "  the outbox has no event that it led to")?,
            false => writeln!(f, "  led to: {}", self.led_to.join(", "))?,
        }
        if let Some(fault) = &self.fault {
            writeln!(f, "  can't be read, so it parks: {}", shown(fault))?;
        }
        if self.waits {
            writeln!(f, "  waits behind what is parked for it")?;
        }
        match &self.outcome {
            Some(outcome) => writeln!(f, "{}", shown(outcome)),
            None => writeln!(f, "nothing was changed; to feed it again, on the state of now, add --execute --reason '…'"),
        }
    }
}

/// Why a record wasn't fed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It isn't there.
    #[error("{at} isn't there: the partition holds offsets {low} to {high}, of which some may be no records")]
    Gone {
        /// Which.
        at: String,
        /// The first offset.
        low: i64,
        /// The next to be written.
        high: i64,
    },
    /// The reader comes to it by itself.
    #[error("{at} hasn't been read yet (next offset: {next}), so it takes effect by itself")]
    Ahead {
        /// Which.
        at: String,
        /// What is read next.
        next: i64,
    },
    /// It is parked.
    #[error("{at} is parked under {aggregate}: have it tried with `{reader} parked retry {aggregate}`")]
    Waits {
        /// Which.
        at: String,
        /// Whose.
        reader: String,
        /// Under what.
        aggregate: String,
    },
    /// It is no input.
    #[error("{at} ({kind}) says nothing to {reader}: its type is ignored")]
    Nothing {
        /// Which.
        at: String,
        /// Its type.
        kind: String,
        /// To whom.
        reader: String,
    },
    /// Another operator is at it.
    #[error("inputs of {reader} are being fed by {who}: wait until that has ended")]
    Busy {
        /// Whose inputs.
        reader: String,
        /// Which session, by its name and pid.
        who: String,
    },
    /// The topic can't be read.
    #[error("reading the record")]
    Reading(#[source] extent::Error),
    /// The database's.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// It can't be parked, or the journal can't be told.
    #[error("feeding the record")]
    Parking(#[source] parking::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let at: InputAt = "shop.payments/3/17".parse().unwrap();
        assert_eq!((at.topic.as_str(), at.partition, at.offset), ("shop.payments", 3, 17));
        assert_eq!(at.to_string(), "shop.payments/3/17");
        for wrong in ["payments/3", "payments/x/1", "/3/1", "payments/-1/1", "payments/1/-1", ""] {
            assert!(wrong.parse::<InputAt>().unwrap_err().contains("topic/partition/offset"), "{wrong}");
        }
    }
}
