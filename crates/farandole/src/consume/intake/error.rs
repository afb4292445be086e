//! Why the intake ends.

/// Why the intake ended other than by shutdown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client could not be made: a wrong property.
    #[error("making the Kafka consumer")]
    Client(#[source] rdkafka::error::KafkaError),
    /// Rows can't be named so.
    #[error("the reader's name `{reader}` {what}: it names rows of the database (`intake::Config::reader`, or else its group)")]
    Reader {
        /// Its beginning.
        reader: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A property that isn't the user's to set; says which, and why.
    #[error("{0}")]
    Property(String),
    /// The client's call doesn't come back: nothing is read any more, and only a new process reads on.
    #[error(
        "a call to the Kafka client hasn't returned for {seconds} s: nothing is read any more. Restart this process; what was \
         read is in the database"
    )]
    Lost {
        /// How long.
        seconds: u64,
    },
    /// The consumer's thread ended.
    #[error("the consumer's thread ended: {0}")]
    Thread(String),
    /// The client has given up for good: what is wrong won't end by waiting.
    #[error("{why}")]
    Fatal {
        /// What it says, and what to do about it.
        why: String,
    },
}
