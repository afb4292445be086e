//! Rows that lie in memory instead of a database, for who runs participants without one.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::row::Row;

/// A row of any table.
#[doc(hidden)]
pub trait AnyRow: Any + Debug + Send + Sync {
    /// For a downcast.
    fn as_any(&self) -> &dyn Any;
    /// Whether the other is the same row: words may mask what differs.
    fn equals(&self, other: &dyn AnyRow) -> bool;
}

impl<R: Row> AnyRow for R {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn AnyRow) -> bool {
        other.as_any().downcast_ref::<R>() == Some(self)
    }
}

/// Looks a row up by its table and its key's text.
#[doc(hidden)]
pub type Find<'a> = &'a dyn Fn(&'static str, &str) -> Option<Arc<dyn AnyRow>>;
/// Takes a row that changed, or that there is none any more, with its table and its key's text.
#[doc(hidden)]
pub type Put<'a> = &'a mut dyn FnMut(&'static str, &str, Option<Arc<dyn AnyRow>>);
