//! PostgreSQL: sessions with the settings that the guarantees rest on, locks, steps, and requirements on the database.

pub mod gate;
pub mod locks;
pub mod session;
pub mod sessions;
pub mod step;
pub mod surroundings;

/// A batch's transaction.
pub type Tx<'a> = sqlx::Transaction<'a, sqlx::Postgres>;
