//! Rows of a service's tables, loaded for a batch at once, changed in memory, and stored at once. Declare them by
//! [`tables!`](crate::tables!).
//!
//! One query per table loads and locks every row that a batch touches; one statement per table stores those that changed. Locks
//! are taken in one order everywhere: by table in the order of declaration, within a table by key. **Absent keys are locked
//! too**, with an advisory lock and a second look: two topics may announce the same new aggregate at once, and without it
//! both transactions would see no row and one would undo the other.
//!
//! Reading a row that the batch didn't load would look like its absence, so a [`Table`] remembers such a read and the
//! engine refuses the decision.

mod bulk;
mod declare;
mod key;
mod memory;
mod row;
mod unstored;
mod write;

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::future::Future;

use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::database::locks;

#[doc(hidden)]
pub use bulk::{Out, Stored};
pub use key::{Key, Part};
#[doc(hidden)]
pub use memory::{AnyRow, Find, Put};
#[doc(hidden)]
pub use row::CopyRows;
pub use row::Row;

use bulk::{Folding, Held};

/// The rows that an input touches, as tables and keys: what [`touches`](crate::Participant::touches) gives.
///
/// ```
/// use farandole::Keys;
/// use uuid::Uuid;
///
/// farandole::tables! {
///     pub struct Tables {
///         orders: Order in "orders" { id: Uuid, customer: String },
///         stock: Stock in "stock" { [sku: String, warehouse: i32], quantity: i64 },
///     }
/// }
///
/// let id = Uuid::from_u128(7);
/// // A reservation reads its order and the stock of each line, here of warehouse 1.
/// let keys = Keys::of::<Order>([id]).and::<Stock>(["tea", "milk"].map(|sku| (sku.to_owned(), 1)));
/// assert!(!keys.is_empty() && Keys::default().is_empty());
/// assert_eq!(Keys::own::<Tables>(&id), Keys::of::<Order>([id])); // what `touches` names by default
/// let mut all = Keys::of::<Stock>([("tea".to_owned(), 1)]);
/// all.merge(keys.clone());
/// assert_eq!(all, keys);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<&'static str, BTreeSet<String>>);

impl Keys {
    /// These keys of `R`'s table: `Keys::of::<Stock>(["tea".to_owned()])`.
    pub fn of<R: Row>(keys: impl IntoIterator<Item = impl Borrow<R::Key>>) -> Self {
        Self::default().and::<R>(keys)
    }

    /// Those, and these of `R`'s table.
    #[must_use]
    pub fn and<R: Row>(mut self, keys: impl IntoIterator<Item = impl Borrow<R::Key>>) -> Self {
        self.0.entry(R::TABLE).or_default().extend(keys.into_iter().map(|k| k.borrow().text()));
        self
    }

    /// The row of the first of the tables `T` whose key is `id`: an aggregate's own. Empty where there are no tables.
    pub fn own<T: Tables>(id: &impl Display) -> Self {
        let mut keys = Self::default();
        if let Some(table) = T::names().first() {
            keys.0.entry(table).or_default().insert(id.to_string());
        }
        keys
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// Adds what `other` names.
    pub fn merge(&mut self, other: Self) {
        for (table, keys) in other.0 {
            self.0.entry(table).or_default().extend(keys);
        }
    }

    fn table(&self, table: &str) -> impl Iterator<Item = &String> {
        self.0.get(table).into_iter().flatten()
    }
}

/// A row's place in a batch: what is stored, and what it is now.
#[derive(Debug)]
struct Slot<R> {
    stored: Option<R>,
    now: Option<R>,
}

/// The rows of one table that were loaded for a batch. `decide` reads them, `evolve` changes them; [`tables!`](crate::tables!) has an
/// example.
#[derive(Debug)]
pub struct Table<R: Row> {
    rows: BTreeMap<String, Slot<R>>,
    missed: RefCell<BTreeSet<String>>,
    /// Only while events are folded.
    folding: Option<Box<Folding<R>>>,
}

impl<R: Row> Default for Table<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), missed: RefCell::default(), folding: None }
    }
}

impl<R: Row> Table<R> {
    /// Gives the rows that a fold holds; see [`Tables::texts`].
    #[doc(hidden)]
    pub fn texts(&self, each: &mut dyn FnMut(&'static str, String, &'static [&'static str], Vec<String>)) {
        for (key, held) in self.folding.iter().flat_map(|folding| &folding.rows) {
            if let Some(row) = &held.now {
                each(R::TABLE, key.clone(), R::COLUMNS, row.texts());
            }
        }
    }

    /// Gives the keys of the rows that a fold holds, in parts; see [`Tables::touched`].
    #[doc(hidden)]
    pub fn touched(&self, each: &mut dyn FnMut(&'static str, Vec<String>)) {
        let keys = self.folding.iter().flat_map(|folding| folding.rows.keys());
        keys.for_each(|key| each(R::TABLE, R::Key::parts(key)));
    }

    /// The row of this key, if there is one.
    pub fn get(&self, key: &R::Key) -> Option<&R> {
        let key = key.text();
        let known = match &self.folding {
            Some(folding) => folding.get(&key),
            None => self.rows.get(&key).map(|slot| slot.now.as_ref()),
        };
        known.unwrap_or_else(|| {
            self.missed.borrow_mut().insert(key);
            None
        })
    }

    /// The place of a row to change; none, and noted, if it isn't loaded.
    fn place(&mut self, key: String) -> Option<&mut Option<R>> {
        let place = match &mut self.folding {
            Some(folding) => folding.change(key),
            None => self.rows.get_mut(&key).map(|slot| &mut slot.now).ok_or(key),
        };
        place.map_err(|key| self.missed.borrow_mut().insert(key)).ok()
    }

    /// The row of this key to change, if there is one.
    pub fn get_mut(&mut self, key: &R::Key) -> Option<&mut R> {
        self.place(key.text())?.as_mut()
    }

    /// Inserts the row, or replaces the one of the same key.
    pub fn put(&mut self, row: R) {
        if let Some(now) = self.place(row.key()) {
            *now = Some(row);
        }
    }

    /// Deletes the row of this key, if there is one.
    pub fn delete(&mut self, key: &R::Key) {
        if let Some(now) = self.place(key.text()) {
            *now = None;
        }
    }

    /// Puts a row in place as if it had been loaded, or its absence; for tests without a database.
    pub fn given(&mut self, key: &R::Key, row: Option<R>) {
        self.hold(key.text(), row);
    }

    /// Holds a row as the database has it, or its absence.
    fn hold(&mut self, key: String, row: Option<R>) {
        match &mut self.folding {
            Some(folding) => drop(folding.rows.insert(key, Held::loaded(row))),
            None => drop(self.rows.insert(key, Slot { stored: row.clone(), now: row })),
        }
    }

    fn is_held(&self, key: &str) -> bool {
        self.folding.as_ref().map_or_else(|| self.rows.contains_key(key), |folding| folding.rows.contains_key(key))
    }

    /// A row that was read or changed without having been loaded: a fault of `touches`.
    #[doc(hidden)]
    pub fn take_missed(&mut self) -> Option<String> {
        self.missed.take().first().map(|key| format!("{}[{key}]", R::TABLE))
    }

    /// All rows that were, as keys to load: how a fold finds out what an event changes, since `touches` is about inputs.
    #[doc(hidden)]
    pub fn missed(&mut self) -> Keys {
        let keys = self.missed.take();
        if keys.is_empty() { Keys::default() } else { Keys(BTreeMap::from([(R::TABLE, keys)])) }
    }

    /// Loads and locks the rows of `keys` that aren't loaded yet.
    ///
    /// # Errors
    /// The database's.
    #[doc(hidden)]
    pub async fn load(&mut self, conn: &mut PgConnection, keys: &Keys) -> sqlx::Result<()> {
        let wanted: Vec<&str> = keys.table(R::TABLE).filter(|key| !self.is_held(key)).map(String::as_str).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let absent = self.look(conn, &wanted).await?;
        if absent.is_empty() {
            return Ok(());
        }
        let absent = if self.is_alone() {
            absent
        } else {
            locks::lock_all(conn, R::TABLE, &absent).await?;
            self.look(conn, &absent.iter().map(String::as_str).collect::<Vec<_>>()).await?
        };
        absent.into_iter().for_each(|key| self.hold(key, None));
        Ok(())
    }

    /// Loads what is there of `keys`, locked; gives the others.
    async fn look(&mut self, conn: &mut PgConnection, keys: &[&str]) -> sqlx::Result<Vec<String>> {
        let sql = format!(
            "select {} from {} where {} order by {}{}",
            R::COLUMNS.join(", "),
            R::TABLE,
            Self::among(),
            R::Key::SQL
                .iter()
                .zip(R::COLUMNS)
                .map(|(sql, column)| if *sql == "text" { format!("{column} collate \"C\"") } else { (*column).to_owned() })
                .collect::<Vec<_>>()
                .join(", "),
            if self.is_alone() { "" } else { " for no key update" },
        );
        let found = bound::<R::Key>(&sql, keys)?.fetch_all(&mut *conn).await?;
        for row in &found {
            let row = R::from_row(row)?;
            self.hold(row.key(), Some(row));
        }
        Ok(keys.iter().filter(|key| !self.is_held(key)).map(|key| (*key).to_owned()).collect())
    }

    /// The condition that a row's key is among those that [`bound`] binds.
    fn among() -> String {
        let arrays: Vec<String> = R::Key::SQL.iter().enumerate().map(|(i, sql)| format!("${}::text[]::{sql}[]", i + 1)).collect();
        match &arrays[..] {
            [one] => format!("{} = any({one})", R::COLUMNS[0]),
            _ => format!("({}) in (select * from unnest({}))", Self::key_columns(), arrays.join(", ")),
        }
    }

    fn key_columns() -> String {
        R::COLUMNS[..R::Key::SQL.len()].join(", ")
    }

    /// Stores every row that changed.
    ///
    /// # Errors
    /// The database's.
    #[doc(hidden)]
    pub async fn store(&mut self, conn: &mut PgConnection) -> sqlx::Result<()> {
        if let Some(change) = self.change() {
            change.execute(&mut *conn).await?;
        }
        self.delete_gone(conn).await
    }

    /// Deletes the rows that were stored and are no more.
    async fn delete_gone(&mut self, conn: &mut PgConnection) -> sqlx::Result<()> {
        let gone = self.rows.iter().filter(|(_, slot)| slot.now.is_none() && slot.stored.is_some());
        let gone: Vec<&str> = gone.map(|(key, _)| key.as_str()).collect();
        if !gone.is_empty() {
            Self::deletion(&gone)?.execute(conn).await?;
        }
        Ok(())
    }

    /// The statement that deletes the rows of these keys.
    fn deletion(keys: &[&str]) -> sqlx::Result<Query<'static, Postgres, PgArguments>> {
        bound::<R::Key>(&format!("delete from {} where {}", R::TABLE, Self::among()), keys)
    }

    /// The statement that stores those that are there, if any changed.
    #[doc(hidden)]
    pub fn change(&self) -> Option<Query<'static, Postgres, PgArguments>> {
        let changed = self.rows.values().filter(|s| s.now != s.stored).filter_map(|s| s.now.as_ref());
        Self::upsert(&changed.collect::<Vec<_>>())
    }

    /// The statement that inserts these, or changes those that are there.
    fn upsert(rows: &[&R]) -> Option<Query<'static, Postgres, PgArguments>> {
        if rows.is_empty() {
            return None;
        }
        let sql = format!(
            "insert into {table} ({columns}) select * from unnest({arrays}) on conflict ({key}) do update set {sets}",
            table = R::TABLE,
            columns = R::COLUMNS.join(", "),
            arrays = numbered(&R::array_types()),
            key = Self::key_columns(),
            sets = R::COLUMNS.iter().map(|c| format!("{c} = excluded.{c}")).collect::<Vec<_>>().join(", "),
        );
        Some(R::bind(rows, sqlx::query(AssertSqlSafe(sql))))
    }
}

/// `sql` with the parts of these keys, an array a column.
fn bound<K: Key>(sql: &str, keys: &[&str]) -> sqlx::Result<Query<'static, Postgres, PgArguments>> {
    let mut columns = vec![Vec::with_capacity(keys.len()); K::SQL.len()];
    for key in keys {
        let parts = K::parts(key);
        if parts.len() != columns.len() {
            return Err(sqlx::Error::Protocol(format!("{key:?} is no key of {} column(s)", columns.len())));
        }
        columns.iter_mut().zip(parts).for_each(|(column, part)| column.push(part));
    }
    Ok(columns.into_iter().fold(sqlx::query(AssertSqlSafe(sql.to_owned())), Query::bind))
}

/// `$1::type1, $2::type2, …`
fn numbered(types: &[String]) -> String {
    types.iter().enumerate().map(|(i, t)| format!("${}::{t}", i + 1)).collect::<Vec<_>>().join(", ")
}

/// All tables of a participant. Implemented by [`tables!`](crate::tables!).
#[diagnostic::on_unimplemented(
    message = "`{Self}` isn't a set of tables",
    note = "tables are declared by `farandole::tables!`; without any: `farandole::tables! {{ pub struct Tables {{}} }}`"
)]
pub trait Tables: Default + Send + 'static {
    /// Loads and locks what `keys` names, table by table in the order of declaration.
    fn load(&mut self, conn: &mut PgConnection, keys: &Keys) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// Stores what changed.
    fn store(&mut self, conn: &mut PgConnection) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// Loads what `keys` names from memory.
    #[doc(hidden)]
    fn load_from(&mut self, keys: &Keys, find: Find<'_>);
    /// Gives what changed.
    #[doc(hidden)]
    fn store_to(&self, put: Put<'_>);
    /// From here on events are folded; see [`Table::fold`].
    #[doc(hidden)]
    fn fold(&mut self, stored: Stored);
    /// Begins a try; see [`Table::mark`].
    #[doc(hidden)]
    fn mark(&mut self);
    /// Takes a try back; see [`Table::back`].
    #[doc(hidden)]
    fn back(&mut self);
    /// Rows that are to be written.
    #[doc(hidden)]
    fn changed(&self) -> usize;
    /// Prepares for writing in bulk; see [`Table::prepare`].
    #[doc(hidden)]
    fn prepare(&mut self, conn: &mut PgConnection, resumed: bool) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// Takes out what is to be written; see [`Table::take_out`].
    ///
    /// # Errors
    /// When a row can't be encoded.
    #[doc(hidden)]
    fn take_out(&mut self) -> sqlx::Result<Out>;
    /// Lets go of rows once what was taken out before the last time is written; see [`Table::let_go`].
    #[doc(hidden)]
    fn let_go(&mut self);
    /// Gives the rows that a fold holds: table, key, columns, and their values as texts.
    #[doc(hidden)]
    fn texts(&self, each: &mut dyn FnMut(&'static str, String, &'static [&'static str], Vec<String>));
    /// Gives the keys of the rows that a fold holds, deleted ones too: table, and the key's parts.
    #[doc(hidden)]
    fn touched(&self, each: &mut dyn FnMut(&'static str, Vec<String>));
    /// The tables' names and columns, those of the key first, and how many those are.
    #[doc(hidden)]
    fn columns() -> Vec<(&'static str, &'static [&'static str], usize)>;
    /// The tables' names.
    fn names() -> &'static [&'static str] {
        &[]
    }
    /// A row that was read without having been loaded.
    fn take_missed(&mut self) -> Option<String>;
    /// All of them, as keys to load.
    fn missed(&mut self) -> Keys;
}

/// The SQL name of the array type of a Rust type.
#[doc(hidden)]
pub fn array_type<T>() -> String
where
    Vec<T>: sqlx::Type<Postgres>,
{
    use sqlx::TypeInfo as _;
    <Vec<T> as sqlx::Type<Postgres>>::type_info().name().to_owned()
}

/// Reads column `i` of a row.
///
/// # Errors
/// When its type is another.
#[doc(hidden)]
pub fn column<'r, T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>>(row: &'r PgRow, i: usize) -> sqlx::Result<T> {
    row.try_get(i)
}
