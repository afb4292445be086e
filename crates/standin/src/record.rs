//! What a stand-in keeps a book of, and how a record lies in the database.

use redb::{ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::problem::Problem;

pub(crate) type Json = &'static [u8];
/// Each reference with the ids of its records.
pub(crate) const REFERENCES: TableDefinition<'_, (&str, u128), ()> = TableDefinition::new("references");

/// An authorisation, a parcel: as it is kept, and as callers see it. Its JSON has a `status`.
pub trait Record: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stand-in, in its file's name and the types of its problems: `acquirer`.
    const OF: &'static str;
    /// What a record is called: `authorisation`.
    const ONE: &'static str;
    /// Its path, table and list: `authorisations`.
    const MANY: &'static str;
    /// The field with its caller's own reference.
    const REFERENCE: &'static str;
    /// What its status is when all went well, for answers that lie.
    const FINE: &'static str;

    fn id(&self) -> Uuid;
    fn reference(&self) -> &str;
}

/// By id. Ids rise, so this is the order in which they came.
pub(crate) const fn table<R: Record>() -> TableDefinition<'static, u128, Json> {
    TableDefinition::new(R::MANY)
}

/// The record of that id, or the problem that there is none.
pub(crate) fn known<R: Record>(records: &impl ReadableTable<u128, Json>, id: Uuid) -> anyhow::Result<R> {
    let missing = || Problem::new("not_found", format!("there is no {} {id}", R::ONE));
    Ok(serde_json::from_slice(records.get(id.as_u128())?.ok_or_else(missing)?.value())?)
}
