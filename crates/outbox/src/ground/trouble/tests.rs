//! Every row, and that ARCHITECTURE.md shows them all.

use std::fmt::Write as _;

use sqlx::error::{DatabaseError, ErrorKind};

use crate::ground::trouble::tables::{CALLER, CLIENT, HTTP, KAFKA, REGISTRY, SQLSTATE};
use crate::ground::trouble::*;

/// A database's error with this code.
#[derive(Debug, thiserror::Error)]
#[error("made up")]
struct MadeUp(&'static str);

impl DatabaseError for MadeUp {
    fn message(&self) -> &str {
        "made up"
    }
    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.0.into())
    }
    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }
    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }
    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

#[test]
fn every_sqlstate_is_about_what_its_row_says() {
    for (code, about, why) in SQLSTATE {
        // A class stands for the codes that aren't listed.
        let code: &'static str = if code.len() == 2 { format!("{code}ZZZ").leak() } else { code };
        assert_eq!(sqlx::Error::Database(Box::new(MadeUp(code))).trouble(), *about, "{code}: {why}");
    }
    // What somebody's own trigger raises, and codes that can't be read.
    for (code, about) in [("MY001", Trouble::Input), ("P0001", Trouble::Input), ("", Trouble::Input), ("é", Trouble::Input)] {
        assert_eq!(sqlstate(code, None, None), about, "{code}");
    }
    // A row without a partition: ours are made ahead, a user's are the user's.
    assert_eq!(sqlstate("23514", None, Some("farandole")), Trouble::Dependency);
    assert_eq!(sqlstate("23514", None, Some("public")), Trouble::Input);
    assert_eq!(sqlstate("23514", Some("positive"), Some("farandole")), Trouble::Input);
}

#[test]
fn what_the_database_client_says_by_itself_has_a_row_each() {
    use sqlx::Error as E;
    let text = || "x".to_owned();
    let boxed = || Box::<dyn std::error::Error + Send + Sync>::from("x");
    let made = [
        ("Encode", E::Encode(boxed())),
        ("InvalidArgument", E::InvalidArgument(text())),
        ("RowNotFound", E::RowNotFound),
        ("Decode", E::Decode(boxed())),
        ("ColumnDecode", E::ColumnDecode { index: text(), source: boxed() }),
        ("too many arguments", E::Protocol("PgConnection::run(): too many arguments for query: 70000".to_owned())),
        ("Protocol", E::Protocol(text())),
        ("WorkerCrashed", E::WorkerCrashed),
        ("InvalidSavePointStatement", E::InvalidSavePointStatement),
        ("BeginFailed", E::BeginFailed),
        ("Io", E::Io(std::io::ErrorKind::ConnectionReset.into())),
        ("PoolTimedOut", E::PoolTimedOut),
        ("PoolClosed", E::PoolClosed),
        ("Configuration", E::Configuration(boxed())),
        ("Tls", E::Tls(boxed())),
        ("TypeNotFound", E::TypeNotFound { type_name: text() }),
        ("ColumnNotFound", E::ColumnNotFound(text())),
        ("ColumnIndexOutOfBounds", E::ColumnIndexOutOfBounds { index: 1, len: 0 }),
    ];
    let said: Vec<_> = made.iter().map(|(name, error)| (*name, error.trouble())).collect();
    assert_eq!(said, CLIENT);
    for (code, about) in
        [("22021", Trouble::Caller), ("54000", Trouble::Caller), ("23505", Trouble::Person), ("57P01", Trouble::Session)]
    {
        assert_eq!(for_caller(&E::Database(Box::new(MadeUp(code)))), about, "{code}");
    }
    // An error that wraps the database's says what that one says.
    let wrapped = E::Decode(Box::new(E::Database(Box::new(MadeUp("57P01")))));
    assert_eq!(wrapped.trouble(), Trouble::Session);
}

#[test]
fn every_answer_is_about_what_its_row_says() {
    for (statuses, about, why) in HTTP {
        // The last of a range: those before it may have rows of their own.
        assert_eq!(http(*statuses.end(), true), *about, "{statuses:?}: {why}");
        assert_eq!(http(*statuses.end(), false), Trouble::Dependency, "{statuses:?}, but from somebody in between");
    }
    assert_eq!((http(400, true), http(404, true), http(200, true)), (Trouble::Input, Trouble::Input, Trouble::Dependency));
    for (codes, about, why) in REGISTRY {
        assert_eq!(registry(599, Some(*codes.start())), *about, "{codes:?}: {why}");
    }
    // Of no own code: by the status. Without any: of somebody in between.
    assert_eq!((registry(403, Some(40301)), registry(404, None)), (Trouble::Person, Trouble::Dependency));
}

#[test]
fn every_kafka_code_is_about_what_its_row_says() {
    for (code, about, why) in KAFKA {
        assert_eq!(kafka(*code), *about, "{code:?}: {why}");
    }
    assert_eq!(kafka(RDKafkaErrorCode::BrokerTransportFailure), Trouble::Dependency);
}

/// The table as ARCHITECTURE.md shows it.
fn markdown() -> String {
    let mut text = "| about | what is done | PostgreSQL | its client | HTTP, own answers | registry | Kafka |\n|---|---|---|---|---|---|---|\n".to_owned();
    let range = |from: u64, to: u64| if from == to { from.to_string() } else { format!("{from}–{to}") };
    for about in Trouble::ALL {
        let callers = CALLER.iter().filter(|_| about == Trouble::Caller).map(|r| format!("{} {}", r.0, r.1));
        let sqlstates = SQLSTATE.iter().filter(|r| r.1 == about).map(|r| format!("{} {}", r.0, r.2));
        let sqlstates: Vec<_> = sqlstates.chain(callers).collect();
        let client: Vec<_> = CLIENT.iter().filter(|r| r.1 == about).map(|r| r.0).collect();
        let status = |r: &(std::ops::RangeInclusive<u16>, Trouble, &str)| {
            format!("{} {}", range((*r.0.start()).into(), (*r.0.end()).into()), r.2)
        };
        let statuses: Vec<_> = HTTP.iter().filter(|r| r.1 == about).map(status).collect();
        let code = |r: &(std::ops::RangeInclusive<u64>, Trouble, &str)| format!("{} {}", range(*r.0.start(), *r.0.end()), r.2);
        let codes: Vec<_> = REGISTRY.iter().filter(|r| r.1 == about).map(code).collect();
        let kafka: Vec<_> = KAFKA.iter().filter(|r| r.1 == about).map(|r| format!("{:?}", r.0)).collect();
        let _ = writeln!(
            text,
            "| **{}** | {} | {} | {} | {} | {} | {} |",
            about.about(),
            about.done(),
            sqlstates.join("; "),
            client.join(", "),
            statuses.join("; "),
            codes.join("; "),
            kafka.join(", ")
        );
    }
    text
}

#[test]
fn the_document_shows_the_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");
    let document = std::fs::read_to_string(path).unwrap();
    assert!(document.contains(&markdown()), "ARCHITECTURE.md, \"Error classification\", should hold:\n{}", markdown());
}
