//! What a service's routes work with.

use sqlx::PgPool;

use crate::engine::commands::Commands;
use crate::participant::Participant;

/// What a service's routes work with.
#[derive(Debug)]
pub struct Api<P: Participant> {
    /// For reading. State is changed by commands alone.
    pub pool: PgPool,
    /// Where commands are handed in.
    pub commands: Commands<P>,
}

impl<P: Participant> Clone for Api<P> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), commands: self.commands.clone() }
    }
}

/// Whether tables, topics and schemas are made or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// What is missing is made.
    Make,
    /// What is missing is an error that says so.
    Refuse,
}
