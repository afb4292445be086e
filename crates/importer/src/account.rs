//! What an import did.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::invoices::Tally;

/// The account of an import. `rows_read = rows_taken + rows_turned_away`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Account {
    /// Rows of the file.
    pub rows_read: u64,
    /// Rows that became part of an order or a cancel request.
    pub rows_taken: u64,
    /// Rows that did not.
    pub rows_turned_away: u64,
    /// Those, by reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Kinds of goods received.
    pub skus: u64,
    /// Orders placed.
    pub placed: u64,
    /// Cancel requests that the data asked for.
    pub cancels_from_data: u64,
    /// Cancel requests added on purpose.
    pub cancels_scripted: u64,
    /// Cancel requests that were refused, the order having ended otherwise.
    pub cancels_refused: u64,
    /// Requests that were sent again after trouble.
    pub retries: u64,
    /// Seconds from the first order to the last answer.
    pub seconds: f64,
}

impl Account {
    pub(crate) fn rows(&mut self, tally: &Tally) {
        self.rows_read = tally.read;
        self.rows_taken = tally.taken;
        self.rows_turned_away = tally.turned_away.values().sum();
        self.reasons.clone_from(&tally.turned_away);
    }
}
