//! Turns the "Online Retail" data set into orders.
//!
//! Two passes over the file. The first adds up each SKU's demand and receives it as stock, but nine tenths for every tenth
//! SKU, so that shortages happen, and tells the prices. The second turns invoices into orders through the HTTP API, and exact cancellations into
//! cancel requests.
//!
//! **Invariant:** every line of the file is a row, and every row is taken or turned away for a stated reason; the three add up, and the
//! lines are counted apart from what reads them. One row that the shop refuses ends nothing. A second run places nothing twice: each
//! request carries an idempotency key made from the invoice's number, or from the file and the SKU. Memory grows with the number of
//! SKUs, and by a digest, a number and an order id an invoice.

pub mod account;
pub mod calls;
pub mod invoices;
pub mod lines;
pub mod rows;
mod run;

pub use account::Account;
pub use run::{Options, run};
