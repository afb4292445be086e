//! What a row is, and how rows are copied in.

use sqlx::Encode;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, Postgres};
use sqlx::query::Query;

use super::key::Key;

/// Bytes that are sent at once.
const PIECE: usize = 1 << 18;
/// Bytes of a length.
const LENGTH: usize = 4;

/// A table's row. Implemented by [`tables!`](crate::tables!).
///
/// Routes that read the tables themselves get a row from a query by [`from_row`](Row::from_row), which reads the columns in the order of
/// their declaration.
#[diagnostic::on_unimplemented(message = "`{Self}` is no row of a table", note = "rows are declared by `farandole::tables!`")]
pub trait Row: Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// The key: the type of the key column, or a tuple of those of several.
    type Key: Key;
    /// The table's name.
    const TABLE: &'static str;
    /// The key columns first.
    const COLUMNS: &'static [&'static str];
    /// SQL types of arrays of each column, in the same order.
    fn array_types() -> Vec<String>;
    /// This row's key as text.
    fn key(&self) -> String;
    /// The row from a query's result, whose columns are those of [`Row::COLUMNS`] in that order.
    ///
    /// # Errors
    /// When a column is missing or has another type.
    fn from_row(row: &PgRow) -> sqlx::Result<Self>;
    /// The columns' values as texts that people read, in the order of [`Row::COLUMNS`].
    #[doc(hidden)]
    fn texts(&self) -> Vec<String>;
    /// Adds the columns to a `COPY`.
    ///
    /// # Errors
    /// When a value can't be written.
    #[doc(hidden)]
    fn copy(&self, rows: &mut CopyRows) -> sqlx::Result<()>;
    /// Binds one array for each column.
    fn bind<'q>(rows: &[&Self], query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>;
}

/// Rows as a binary `COPY` has them, in pieces.
#[derive(Debug, Default)]
pub struct CopyRows {
    pieces: Vec<Vec<u8>>,
    /// The last piece. Values encode themselves into such a buffer only.
    bytes: PgArgumentBuffer,
}

impl CopyRows {
    pub(super) fn add<R: Row>(&mut self, row: &R) -> sqlx::Result<()> {
        if self.pieces.is_empty() && self.bytes.is_empty() {
            self.bytes.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
            self.bytes.extend([0; 8]); // no flags, no extension
        }
        self.bytes.extend(i16::try_from(R::COLUMNS.len()).unwrap_or(i16::MAX).to_be_bytes());
        row.copy(self)?;
        if self.bytes.len() >= PIECE {
            self.cut();
        }
        Ok(())
    }

    fn cut(&mut self) {
        // Beside its bytes it has notes for a statement's parameters, which go with it.
        self.pieces.push(std::mem::take(&mut *std::mem::take(&mut self.bytes)));
        self.bytes.reserve(PIECE + PIECE / 8);
    }

    /// All of it; none without a row.
    pub(super) fn pieces(mut self) -> Option<Vec<Vec<u8>>> {
        if self.pieces.is_empty() && self.bytes.is_empty() {
            return None;
        }
        self.bytes.extend((-1_i16).to_be_bytes());
        self.cut();
        Some(self.pieces)
    }

    /// Adds a column's value.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn column<T: for<'q> Encode<'q, Postgres>>(&mut self, value: &T) -> sqlx::Result<()> {
        let at = self.bytes.len();
        self.bytes.extend((-1_i32).to_be_bytes()); // what a null has for its length
        let is_null = value.encode_by_ref(&mut self.bytes).map_err(sqlx::Error::Encode)?.is_null();
        let length = self.bytes.len() - at - LENGTH;
        if is_null {
            self.bytes.truncate(at + LENGTH);
            return Ok(());
        }
        let length = i32::try_from(length).map_err(|_| sqlx::Error::Protocol("a value of 2 GiB or more".to_owned()))?;
        self.bytes[at..at + LENGTH].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}
