//! A type-erased fold, so that a heal is compiled once and not per service.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use crate::heal::fold::Fold;
use crate::heal::{Error, MissingRecord};

/// [`Fold`] with boxed futures.
pub(super) trait AnyFold: Send + Sync {
    /// [`Fold::topic`].
    fn topic(&self) -> Option<&str>;
    /// [`Fold::skips`].
    fn skips(&self) -> bool;
    /// [`Fold::check`].
    fn check<'a>(&'a self, records: &'a [MissingRecord]) -> BoxFuture<'a, Result<(), Error>>;
    /// [`Fold::fold`].
    fn fold<'a>(&'a self, conn: &'a mut PgConnection, records: &'a [MissingRecord]) -> BoxFuture<'a, Result<u64, Error>>;
}

impl<F: Fold> AnyFold for F {
    fn topic(&self) -> Option<&str> {
        Fold::topic(self)
    }

    fn skips(&self) -> bool {
        Fold::skips(self)
    }

    fn check<'a>(&'a self, records: &'a [MissingRecord]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(Fold::check(self, records))
    }

    fn fold<'a>(&'a self, conn: &'a mut PgConnection, records: &'a [MissingRecord]) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(Fold::fold(self, conn, records))
    }
}
