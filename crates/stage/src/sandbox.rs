//! Databases made on demand, each with a role of the same name that can open this one and no other, and a prefix for topics.

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::error::Error;
use crate::postgres::connect;

/// One test's own place in a stage: nobody else has its prefix. It is never emptied; the run's end removes it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// For topics and consumer groups: `t`, ten random digits, and a dot.
    pub prefix: String,
    admin: String,
}

/// A database and the role that owns it.
#[derive(Clone)]
pub struct Database {
    /// The role's address of it, password included.
    pub url: String,
    /// The database.
    pub name: String,
    /// The role, named as the database.
    pub role: String,
    /// The role's password.
    pub password: String,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

impl Sandbox {
    pub(crate) fn new(admin: &str) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self { prefix: format!("t{}.", &id[..10]), admin: admin.to_owned() }
    }

    /// The database of `service` in this sandbox, created at the first call. The name in PostgreSQL is `t…_<service>`.
    pub async fn database(&self, service: &str) -> Result<Database, Error> {
        create(&self.admin, &format!("{}_{service}", self.prefix.trim_end_matches('.'))).await
    }
}

/// Creates a database and its role, or returns those there are.
pub(crate) async fn create(admin: &str, name: &str) -> Result<Database, Error> {
    if !is_name(name) {
        return Err(Error::Name { name: name.into() });
    }
    let database = describe(admin, name);
    let failed = |source| Error::Sql { what: format!("creating the database {name}"), source };
    let mut connection = connect(admin).await.map_err(failed)?;
    let made = make(&mut connection, &database).await;
    connection.close().await.map_err(failed)?;
    made.map_err(failed)?;
    Ok(database)
}

async fn make(connection: &mut PgConnection, database: &Database) -> Result<(), sqlx::Error> {
    // The name has no character that means anything in SQL, the password is hexadecimal.
    let (name, password) = (&database.name, &database.password);
    // Two callers that want the same one at once: the second waits, and finds it.
    sqlx::query("SELECT pg_advisory_lock(hashtext($1))").bind(name).execute(&mut *connection).await?;
    let (role, there): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1), EXISTS (SELECT FROM pg_database WHERE datname = $1)",
    )
    .bind(name)
    .fetch_one(&mut *connection)
    .await?;
    if !role {
        connection.execute(AssertSqlSafe(format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'"))).await?;
    }
    if !there {
        // Copying through the WAL (the default since 15) needs no checkpoint: some 70 ms against 350–550 ms, measured with fsync.
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE \"{name}\" OWNER \"{name}\" TEMPLATE template0"))).await?;
    }
    // The owner keeps its own right to connect.
    connection.execute(AssertSqlSafe(format!("REVOKE CONNECT, TEMPORARY ON DATABASE \"{name}\" FROM PUBLIC"))).await?;
    Ok(())
}

/// The password follows from the superuser's, so that whoever may create the database finds the same one again.
fn describe(admin: &str, name: &str) -> Database {
    let password: String = Sha256::digest(format!("{admin}\n{name}")).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let server = admin.rsplit_once('@').map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
    Database { url: format!("postgres://{name}:{password}@{server}/{name}"), name: name.into(), role: name.into(), password }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 48 && name.chars().all(plain)
}
