//! Where positions may be set to, what that changes, and why it isn't done.

use std::fmt;
use std::str::FromStr;

use rdkafka::error::KafkaError;
use serde::Serialize;

use crate::consume::intake::preview::Passage;
use crate::database::step;
use crate::ground::text::shown;
use crate::parking;
use crate::wire::extent;
use crate::wire::per_topic::Start;

/// Where to set a position to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// This offset is read next.
    Offset(i64),
    /// The first record of this number or a higher one, as a source of the kit's numbers its records; in each partition.
    Number(i64),
    /// Where a reader would start by that setting; `earliest` is the first record that is still there.
    Start(Start),
}

impl FromStr for To {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(number) = text.strip_prefix("number:") {
            let number = number.parse::<i64>().ok().filter(|number| *number > 0);
            return number.map(Self::Number).ok_or_else(|| format!("`{text}` names no record: numbers begin at 1"));
        }
        match text.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(Self::Offset(offset)),
            Ok(_) => Err(format!("`{text}` is not an offset: offsets start at 0")),
            Err(_) => text.parse().map(Self::Start).map_err(|why: String| format!("{why}, and no offset")),
        }
    }
}

/// Why a position wasn't set. Then none was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The brokers can't be asked.
    #[error("asking the brokers about {topic}")]
    Kafka {
        /// Which topic.
        topic: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// There is no such topic or partition.
    #[error("{topic} has {count} partition(s){}", partition.map(|p| format!(", and no number {p}")).unwrap_or_default())]
    Nothing {
        /// Which topic.
        topic: String,
        /// How many it has; 0 when it isn't there.
        count: usize,
        /// Which was asked for.
        partition: Option<i32>,
    },
    /// An offset that the topic doesn't have.
    #[error("{topic}/{partition} holds offsets {low} to {high}; {to} is neither one of them nor the next (`--to`)")]
    Outside {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// The first.
        low: i64,
        /// The next to be written.
        high: i64,
        /// What was asked for.
        to: i64,
    },
    /// A replay of what wasn't read.
    #[error(
        "{reader} has read nothing of {topic} from there on, so there is nothing to replay (`--from`); or a replay is under way, which `farandole positions` shows"
    )]
    NothingAgain {
        /// Whose positions.
        reader: String,
        /// Which topic.
        topic: String,
    },
    /// What is passed over can't be read.
    #[error("reading the skipped records")]
    Reading(#[source] extent::Error),
    /// Another operator is at it.
    #[error("positions of {reader} are being set by {who}: wait until that has ended, then look again")]
    Busy {
        /// Whose positions.
        reader: String,
        /// Which session, by its name and pid.
        who: String,
    },
    /// The database's.
    #[error("writing positions")]
    Position(#[source] step::Error),
    /// The journal's.
    #[error("telling the journal")]
    Journal(#[source] parking::Error),
    /// A thread ended early.
    #[error("the topic check was interrupted")]
    Broken(#[source] tokio::task::JoinError),
}

/// What is changed in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Topic, with its prefix.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// What would have been read next; none when nothing had been read.
    pub from: Option<i64>,
    /// What is read next.
    pub to: i64,
    /// Records that are never read then.
    pub skipped: Option<Passage>,
    /// Records that are read again then.
    pub repeated: Option<Passage>,
    /// Whether what is known of the chains stays: repetitions are dropped then, and gaps noticed.
    pub chains_kept: bool,
    /// Whether the reader was in another topic of that name, which was deleted.
    pub recreated: bool,
}

/// What setting positions changes, or has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Whose.
    pub reader: String,
    /// Whether it was done.
    pub executed: bool,
    /// By partition.
    pub partitions: Vec<Change>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, from, to, skipped, repeated, chains_kept, recreated } = self;
        let from = from.map_or_else(|| "none".to_owned(), |from| from.to_string());
        writeln!(f, "{}/{partition}: {from} -> {to}", shown(topic))?;
        if *recreated {
            writeln!(f, "  the topic was deleted and created again since")?;
        }
        if let Some(skipped) = skipped {
            writeln!(f, "  skips for good: {skipped}")?;
        }
        if let Some(repeated) = repeated {
            writeln!(f, "  reads again: {repeated}")?;
        }
        if !chains_kept {
            writeln!(f, "  chains begin anew: of each source the next record is taken as its first, repetitions aren't noticed")?;
        }
        Ok(())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.partitions.iter().try_for_each(|change| change.fmt(f))?;
        match self.executed {
            true => writeln!(f, "set; the reader takes it up within seconds"),
            false => writeln!(f, "nothing was changed; to do it, add --execute --reason '…'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::time::Timestamp;

    #[test]
    fn what_a_position_may_be_set_to() {
        assert_eq!("17".parse(), Ok(To::Offset(17)));
        assert_eq!("latest".parse(), Ok(To::Start(Start::Latest)));
        let time = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        assert_eq!("2026-01-31T12:00:00Z".parse(), Ok(To::Start(Start::At(time))));
        for wrong in ["-1", "", "newest", "2026-01-31"] {
            let why = wrong.parse::<To>().unwrap_err();
            assert!(why.contains(&format!("`{wrong}`")), "{why}");
        }
    }
}
