//! The kit's tables, in schema `farandole`, with their own migrations table, so that kit and service number their migrations
//! independently. They are the same for every layer, so moving from the outbox to a whole service needs no migration. All of it
//! may run again, and from several places at once: PostgreSQL's advisory lock takes one at a time.

use std::collections::BTreeMap;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, SqlSafeStr as _};

use crate::database::{session, surroundings};
use crate::ground::trouble::denied;
use crate::publish::relay;
use crate::publish::relay::partitions;

/// The migrations of a crate's own tables: files of its folder `migrations`, in it when it is built, by name; `<number>_<what>.sql`.
/// A file that isn't named isn't applied. `sqlx::migrate!()` makes the same of all files, and takes its compile time: it brings
/// PostgreSQL's client with TLS once more for the compiler's own use.
///
/// ```no_run
/// # // The kit's own, since this is its crate.
/// let migrations = farandole_outbox::migrations!["0001_kit.sql", "0002_owners.sql"];
/// assert_eq!(migrations.iter().map(|m| m.version).collect::<Vec<_>>(), [1, 2]);
/// ```
#[macro_export]
macro_rules! migrations {
    ($($file:literal),+ $(,)?) => {
        $crate::migrations::embedded(vec![$((
            {
                // An item, which `cargo check` evaluates as well.
                const VERSION: i64 = $crate::migrations::version($file);
                VERSION
            },
            $file,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $file)),
        )),+])
    };
}

/// For [`migrations!`](crate::migrations!): the number that a file's name begins with; a name without one doesn't compile.
#[doc(hidden)]
pub const fn version(file: &str) -> i64 {
    let (bytes, mut at, mut version) = (file.as_bytes(), 0, 0_i64);
    while at < bytes.len() && bytes[at].is_ascii_digit() {
        version = version * 10 + (bytes[at] - b'0') as i64;
        at += 1;
    }
    assert!(at > 0 && at < bytes.len() && bytes[at] == b'_', "a migration file must be named <number>_<description>.sql");
    version
}

/// For [`migrations!`](crate::migrations!): as `sqlx::migrate!` makes them, so that one can take the other's place.
#[doc(hidden)]
pub fn embedded(files: Vec<(i64, &'static str, &'static str)>) -> Migrator {
    let migration = |(version, file, sql): (i64, &'static str, &'static str)| {
        let what = file.split_once('_').map_or(file, |(_, what)| what).trim_end_matches(".sql").replace('_', " ");
        let without_transaction = sql.starts_with("-- no-transaction");
        Migration::new(version, what.into(), MigrationType::Simple, sql.into_sql_str(), without_transaction)
    };
    Migrator::with_migrations(files.into_iter().map(migration).collect())
}

/// Why tables weren't made, or aren't as they must be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database can't be reached or refuses.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// Server, database or role aren't as they must be.
    #[error("the database")]
    Surroundings(#[source] surroundings::Error),
    /// A migration failed.
    #[error("migrating the {whose} tables")]
    Migrate {
        /// `kit's` or `service's`.
        whose: &'static str,
        /// The cause.
        #[source]
        source: MigrateError,
    },
    /// Tables are missing.
    #[error(
        "{} migration(s) of the {whose} tables are missing, the first is {first}; run `{service} migrate`, or start with \
         `serve --migrate`",
        missing
    )]
    NotMigrated {
        /// Whose program makes them.
        service: String,
        /// `kit's` or `service's`.
        whose: &'static str,
        /// How many.
        missing: usize,
        /// Version and description of the first.
        first: String,
    },
    /// A migration that was applied is another one now.
    #[error(
        "migration {migration} of the {whose} tables was changed after it was applied: restore it and add a new one. Or this \
         is another service's database"
    )]
    Changed {
        /// `kit's` or `service's`.
        whose: &'static str,
        /// Version and description.
        migration: String,
    },
    /// The kit's tables aren't there, and this role can't create their schema.
    #[error(
        "role {role} can't create schema farandole in database {database}. As the database's owner: `grant create on database {database} to \
         {role}`; it can be revoked again afterwards"
    )]
    NoRight {
        /// Who migrates.
        role: String,
        /// Where.
        database: String,
    },
    /// The outbox has no room.
    #[error("making room in the outbox")]
    Relay(#[source] relay::Error),
}

impl Error {
    /// Whether it ends by itself: worth waiting for.
    pub fn is_transient(&self) -> bool {
        match self {
            // A database that refuses (wrong password, no such database) may be about to be set up; the reason is told meanwhile.
            Self::Database { .. } => true,
            Self::Migrate { source: MigrateError::Execute(e), .. } => !matches!(e, sqlx::Error::Database(_)),
            Self::Surroundings(e) => e.is_transient(),
            Self::Relay(e) => !e.is_fatal(),
            Self::Migrate { .. } | Self::NotMigrated { .. } | Self::Changed { .. } | Self::NoRight { .. } => false,
        }
    }
}

const KITS: &str = "farandole._sqlx_migrations";

/// The kit's migrations. Number 3 was never given out; a new one takes the next number after the last.
pub fn kit() -> Migrator {
    let mut kit = migrations![
        "0001_kit.sql",
        "0002_owners.sql",
        "0004_partitions.sql",
        "0005_parked_inputs.sql",
        "0006_published_first.sql",
        "0007_append.sql",
        "0008_append.sql"
    ];
    kit.dangerous_set_table_name(KITS);
    kit.create_schema("farandole");
    kit.set_ignore_missing(true);
    kit
}

/// Creates or updates the kit's tables, in schema `farandole`, beside your own. Idempotent, and safe to run concurrently.
///
/// The role that it connects as owns the tables; another one may serve. Rows of an older version's tables stay; programs of an older
/// version should be stopped before.
///
/// # Errors
/// The migration's or the database's; and what the server isn't that it must be: PostgreSQL 14 or later, UTF8, a primary.
///
/// ```no_run
/// # async fn make() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://owner@localhost/billing").await?;
/// farandole_outbox::migrate(&pool).await?;
/// # Ok(())
/// # }
/// ```
pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
    surroundings::server(&pool.connect_options()).await.map_err(Error::Surroundings)?;
    let doing = "migrating the kit's tables";
    let failed = |source| Error::Database { doing, source };
    let mut conn = pool.acquire().await.map_err(failed)?.detach();
    session::prepare(&mut conn, session::Purpose::Long).await.map_err(failed)?;
    let result = make_kits(&mut conn).await;
    let _ = conn.close().await; // what was done is committed; a migration that failed would keep its lock on a pooled connection
    result
}

/// The kit's tables, and room in the outbox.
pub async fn make_kits(conn: &mut PgConnection) -> Result<(), Error> {
    let failed = |source| Error::Database { doing: "looking for schema farandole", source };
    let sql = "select to_regclass('farandole.outbox') is not null, has_database_privilege(current_database(), 'create'),
                      quote_ident(current_user), quote_ident(current_database())";
    let (there, may, role, database): (bool, bool, String, String) =
        sqlx::query_as(sql).fetch_one(&mut *conn).await.map_err(failed)?;
    if !there && !may {
        return Err(Error::NoRight { role, database });
    }
    let mut kit = kit();
    if there {
        // Making the schema again, if it isn't there, would ask for a right on the database all the same.
        kit.create_schemas.to_mut().clear();
    }
    make(conn, "kit's", &kit).await?;
    // Whoever appends may do so before a relay has ever run.
    partitions::make(conn).await.map(drop).map_err(Error::Relay)
}

/// Applies what of `migrator` isn't applied yet.
pub async fn make(conn: &mut PgConnection, whose: &'static str, migrator: &Migrator) -> Result<(), Error> {
    migrator.run_direct(None, conn, false).await.map_err(|source| match source {
        MigrateError::VersionMismatch(version) => {
            let changed = migrator.iter().find(|m| m.version == version).map_or_else(|| version.to_string(), name);
            Error::Changed { whose, migration: changed }
        }
        source => Error::Migrate { whose, source },
    })
}

fn name(migration: &Migration) -> String {
    format!("{} ({})", migration.version, migration.description)
}

/// That each migration of `migrator` was applied, and is still the same. More than these may have been.
pub async fn check(conn: &mut PgConnection, service: &str, whose: &'static str, migrator: &Migrator) -> Result<(), Error> {
    let failed = |source| Error::Database { doing: "checking which migrations are applied", source };
    let table = migrator.table_name.as_ref();
    let there: bool =
        sqlx::query_scalar("select to_regclass($1) is not null").bind(table).fetch_one(&mut *conn).await.map_err(failed)?;
    let mut applied = BTreeMap::new();
    if there {
        let sql = format!("select version, checksum from {table} where success");
        let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *conn).await;
        let rows: Vec<(i64, Vec<u8>)> = match rows {
            Err(error) if denied(&error) => {
                let role: String =
                    sqlx::query_scalar("select quote_ident(current_user)").fetch_one(&mut *conn).await.map_err(failed)?;
                let lacks =
                    format!("the role lacks privileges; run as the owner of the tables: `grant select on {table} to {role}`");
                return Err(Error::Surroundings(surroundings::Error::Missing(vec![lacks])));
            }
            rows => rows.map_err(failed)?,
        };
        applied.extend(rows);
    }
    let ups = || migrator.iter().filter(|m| !m.migration_type.is_down_migration());
    if let Some(changed) = ups().find(|m| applied.get(&m.version).is_some_and(|sum| sum[..] != m.checksum[..])) {
        return Err(Error::Changed { whose, migration: name(changed) });
    }
    let missing: Vec<&Migration> = ups().filter(|m| !applied.contains_key(&m.version)).collect();
    match missing.first() {
        Some(first) => {
            let (service, missing, first) = (service.to_owned(), missing.len(), name(first));
            Err(Error::NotMigrated { service, whose, missing, first })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_looked_for_is_the_last() {
        let last = super::kit().iter().map(|migration| migration.version).max();
        assert_eq!(last, Some(crate::database::surroundings::MIGRATION));
    }
}
