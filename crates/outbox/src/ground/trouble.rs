//! Error classification: what an error concerns, and therefore what is done about it.
//!
//! Every part of the kit that gets an error asks this module, and does what stands with the class. ARCHITECTURE.md shows the tables
//! as one; a test compares the two.
//!
//! **Two rules** that the tables can't say. *Only who was asked says what became of it*: an answer that isn't the asked one's own (a
//! gateway's page, a proxy's 404, a redirect, half a document) says nothing about the request, whatever its status. *Trouble with
//! one item isn't trouble of the system*: what fails together is tried apart before anything waits for the whole.
//!
//! **Invariant:** the ground floor; nothing of the kit is used here.
//!
//! **How it would fail without**: one part parks what another would have waited for; a session that can only answer is kept for as
//! long as it answers; a batch that is too large for the server is run again as it is, for ever.

mod kind;
mod tables;
#[cfg(test)]
mod tests;

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

pub use kind::Trouble;

/// Errors that say what they are about.
pub trait Troubled: std::error::Error + 'static {
    /// What this error is about.
    fn trouble(&self) -> Trouble;
}

/// Whether an error, or what it comes of, is a right that the role lacks.
pub fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let Some(sqlx::Error::Database(error)) = error.downcast_ref() else { return false };
        error.code().as_deref() == Some("42501")
    })
}

impl Troubled for sqlx::Error {
    fn trouble(&self) -> Trouble {
        match self {
            Self::Database(e) => match e.code() {
                Some(code) => {
                    let refined = e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
                    sqlstate(&code, e.constraint(), refined.and_then(|e| e.schema()))
                }
                None => Trouble::Dependency,
            },
            // What wraps another error of the database says what that one says.
            Self::Decode(source) | Self::ColumnDecode { source, .. } => inner(&**source).unwrap_or(Trouble::Input),
            Self::Encode(_) | Self::InvalidArgument(_) | Self::RowNotFound => Trouble::Input,
            // 65,535 parameters a statement are the wire's limit.
            Self::Protocol(words) if words.contains("too many arguments") => Trouble::Size,
            Self::Protocol(_) | Self::WorkerCrashed | Self::InvalidSavePointStatement | Self::BeginFailed => Trouble::Session,
            Self::Io(_) | Self::PoolTimedOut | Self::PoolClosed => Trouble::Dependency,
            // Configuration, TLS, types and columns that aren't there, migrations.
            _ => Trouble::Person,
        }
    }
}

/// What an error of a query made of a caller's values is about: values that no database could hold are the caller's.
pub fn for_caller(error: &sqlx::Error) -> Trouble {
    match (error, error.trouble()) {
        (sqlx::Error::Database(e), Trouble::Input)
            if e.code().is_some_and(|code| tables::CALLER.iter().any(|row| code.starts_with(row.0))) =>
        {
            Trouble::Caller
        }
        // A row that isn't as this build knows it.
        (_, Trouble::Input) => Trouble::Person,
        (_, about) => about,
    }
}

fn inner(error: &(dyn std::error::Error + 'static)) -> Option<Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            return Some(error.trouble());
        }
        next = error.source();
    }
    None
}

/// What a SQLSTATE is about. `constraint` and `schema` are those that the error names.
pub fn sqlstate(code: &str, constraint: Option<&str>, schema: Option<&str>) -> Trouble {
    if code == "23514" && constraint.is_none() && schema == Some("farandole") {
        // A check that no constraint names is a row for which there is no partition yet: the outbox's are made ahead, by the relay.
        return Trouble::Dependency;
    }
    let of = |prefix: &str| tables::SQLSTATE.iter().find(|row| row.0 == prefix).map(|row| row.1);
    let class = code.get(..2).unwrap_or_default();
    // What isn't listed is of somebody's own making: the code that a trigger or function raises.
    of(code).or_else(|| of(class)).unwrap_or(Trouble::Input)
}

impl Troubled for KafkaError {
    fn trouble(&self) -> Trouble {
        // Of one without a code no more is known than whose it is.
        self.rdkafka_error_code().map_or(Trouble::Dependency, kafka)
    }
}

/// What an HTTP answer that isn't a success is about. `own` says that it is a document of the asked service's, and not of something
/// in between.
pub fn http(status: u16, own: bool) -> Trouble {
    if !own {
        return Trouble::Dependency;
    }
    tables::HTTP.iter().find(|row| row.0.contains(&status)).map_or(Trouble::Dependency, |row| row.1)
}

/// What an answer of the schema registry that isn't a success is about, by its `error_code` if it has one.
pub fn registry(status: u16, error_code: Option<u64>) -> Trouble {
    let of = |code: &u64| tables::REGISTRY.iter().find(|row| row.0.contains(code)).map(|row| row.1);
    error_code.as_ref().and_then(of).unwrap_or_else(|| http(status, error_code.is_some()))
}

/// What a Kafka error is about.
pub fn kafka(code: RDKafkaErrorCode) -> Trouble {
    // What isn't listed is between client and brokers, who try again by themselves.
    tables::KAFKA.iter().find(|row| row.0 == code).map_or(Trouble::Dependency, |row| row.1)
}
