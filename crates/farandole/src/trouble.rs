//! What kind of trouble: whom or what an error is about, and so what is done.
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

mod tables;
#[cfg(test)]
mod tests;

use rdkafka::types::RDKafkaErrorCode;

/// What trouble is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// This input: the others pass without it.
    Input,
    /// This batch: a smaller one may pass.
    Size,
    /// Somebody else was at the same rows.
    Collision,
    /// This session: another one may pass.
    Session,
    /// What is asked is away, or has trouble of its own.
    Dependency,
    /// Who called.
    Caller,
    /// Something that only a person changes: rights, a schema, an address.
    Person,
    /// Who runs this: another one has gone on.
    Owner,
}

impl Trouble {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 8] =
        [Self::Input, Self::Size, Self::Collision, Self::Session, Self::Dependency, Self::Caller, Self::Person, Self::Owner];

    /// In words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Input => "this input",
            Self::Size => "this batch",
            Self::Collision => "a collision",
            Self::Session => "this session",
            Self::Dependency => "this dependency",
            Self::Caller => "this caller",
            Self::Person => "a person",
            Self::Owner => "this owner",
        }
    }

    /// What is done, in words.
    pub fn done(self) -> &'static str {
        match self {
            Self::Input => {
                "the batch is halved until the input is alone; it parks, the others go on (a command: 500; a task: put off)"
            }
            Self::Size => {
                "the batch is halved until it passes; one input that fails alone is tried for some ten seconds, then it parks and is tried again later"
            }
            Self::Collision => "the batch is run again at once",
            Self::Session => "the session is replaced and the batch run again; where that doesn't help, as for a person",
            Self::Dependency => "nothing parks; it is waited for, with growing pauses, and `/readyz` says for what",
            Self::Caller => "a 4xx that names the field",
            Self::Person => {
                "it waits, says so at ERROR and in `/readyz`; the batch is halved so that the others go on, and an input that fails alone where others pass parks"
            }
            Self::Owner => {
                "it steps back and the other one goes on; a reader whose `intake.instance` was taken ends, and its service with exit code 1"
            }
        }
    }

    /// Whether a smaller batch may pass, or show which input it is.
    pub fn halves(self) -> bool {
        matches!(self, Self::Input | Self::Size | Self::Person)
    }

    /// Whether it ends without anybody's doing anything.
    pub fn passes(self) -> bool {
        matches!(self, Self::Collision | Self::Session | Self::Dependency)
    }
}

/// Errors that say what they are about.
pub trait Troubled {
    /// What this error is about.
    fn trouble(&self) -> Trouble;
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
