//! Turns the "Online Retail" data set into orders.
//!
//! Two passes over the file. The first adds up each SKU's demand and receives it as stock, but nine tenths for every tenth
//! SKU, so that shortages happen. The second turns invoices into orders through the HTTP API, and exact cancellations into
//! cancel requests.
//!
//! **Invariant:** every row read is taken or turned away for a stated reason, and the two add up. A second run places nothing
//! twice: each request carries an idempotency key made from the invoice's number. Memory grows with the number of SKUs, and by
//! a digest, a number and an order id an invoice.

pub mod account;
pub mod calls;
pub mod invoices;
pub mod rows;
mod run;

pub use account::Account;
pub use run::{Options, run};
