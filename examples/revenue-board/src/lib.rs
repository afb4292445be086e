//! A board of what each day has brought: a handler over a table of its own, and events of a service that isn't written in Rust.
//!
//! `services/analytics` keeps the wire contract (`docs/wire.md`), so its records are read as those of any other service: by number, each once.
use std::collections::BTreeMap;

use farandole::handler::{Error, Handler, Repeating};
use farandole::{Codec, Message as _, Record, Tx, codec};
use schemas::analytics::DailyRevenueReported;

farandole::messages! {
    /// What the board reads.
    pub enum Heard { DailyRevenueReported }
}

/// Keeps the last report of each day and currency.
#[derive(Debug)]
pub struct Board {
    codec: Codec,
}

impl Board {
    /// A board that reads values with `codec`.
    ///
    /// # Errors
    /// When the schema of what it reads can't be used.
    pub fn new(codec: Codec) -> Result<Self, codec::Error> {
        codec.add_reader_schema(Heard::TYPES)?;
        Ok(Self { codec })
    }
}

impl Handler for Board {
    // It counts how often a day was told.
    const REPEATING: Repeating = Repeating::Adds;

    async fn handle(&self, tx: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        // A statement changes a row once: of each day the last report, and how many there were.
        let mut days: BTreeMap<(i32, String), (DailyRevenueReported, i64)> = BTreeMap::new();
        for record in records.iter().filter(|record| record.kind() == Some(DailyRevenueReported::NAME)) {
            let report: DailyRevenueReported = record.decode(&self.codec, DailyRevenueReported::NAME)?;
            let at = (report.day, report.currency.clone());
            let told = days.get(&at).map_or(0, |(_, told)| *told);
            days.insert(at, (report, told + 1));
        }
        for ((day, currency), (report, told)) in days {
            sqlx::query(
                "insert into revenue (day, currency, orders, revenue, reported_at, reports)
                 values (date '1970-01-01' + $1, $2, $3, $4, timestamptz '1970-01-01Z' + $5 * interval '1 microsecond', $6)
                 on conflict (day, currency) do update set orders = excluded.orders, revenue = excluded.revenue,
                   reported_at = excluded.reported_at, reports = revenue.reports + excluded.reports",
            )
            .bind(day)
            .bind(currency)
            .bind(report.orders)
            .bind(report.revenue)
            .bind(report.reported_at)
            .bind(told)
            .execute(&mut **tx)
            .await?;
        }
        Ok(())
    }
}
