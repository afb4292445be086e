//! What was measured, as the lines that all measures print.

use super::account::Account;
use super::usage::Kind;
use crate::report::{Figure, Side};

/// The peer's name.
const RESTATE: &str = "Restate";

type Value = fn(&Account) -> f64;

/// Of the rate that was asked for: measure, unit, what is to be reached, and the value.
const AT_RATE: [(&str, &str, Option<f64>, Value); 7] = [
    ("saga p50", "ms", Some(30.0), |account| account.outcome.confirmed.ms(0.5)),
    ("saga p99", "ms", Some(100.0), |account| account.outcome.confirmed.ms(0.99)),
    ("saga answer p50", "ms", None, |account| account.outcome.answer.ms(0.5)),
    ("saga answer p99", "ms", None, |account| account.outcome.answer.ms(0.99)),
    ("saga CPU", "ms CPU/order", None, Account::cpu_ms),
    ("saga memory", "MB", Some(250.0), Account::memory_mb),
    ("saga placed", "orders/s", None, |account| account.outcome.rate),
];
/// Of the highest rate that was held.
const AT_LIMIT: [(&str, &str, Option<f64>, Value); 3] = [
    ("saga sustained", "orders/s", Some(3_000.0), |account| account.outcome.rate),
    ("saga sustained p50", "ms", None, |account| account.outcome.confirmed.ms(0.5)),
    ("saga sustained p99", "ms", None, |account| account.outcome.confirmed.ms(0.99)),
];

/// Of ours and, if there is one, the peer's.
pub fn of(ours: &Account, peer: Option<&Account>, is_limit: bool) -> Vec<Figure> {
    let rows = if is_limit { &AT_LIMIT[..] } else { &AT_RATE[..] };
    let side = |account: &Account, value: Value| {
        let cpu_s = account.cpu_ms() * account.orders() / 1e3;
        Side { value: value(account), cpu_s, peak_mb: account.memory_mb() }
    };
    let figures = rows.iter().map(|(measure, unit, limit, value)| {
        let mut figure = Figure::new(measure, unit, RESTATE);
        figure.limit = *limit;
        figure.runs.push((side(ours, *value), peer.map(|peer| side(peer, *value))));
        figure
    });
    let mut figures: Vec<Figure> = figures.collect();
    if let Some(first) = figures.first_mut() {
        first.detail = Some(serde_json::json!({ "ours": ours.json(), "peer": peer.map(Account::json) }));
    }
    figures
}

impl Account {
    /// CPU time of an order, of all processes but this program's.
    fn cpu_ms(&self) -> f64 {
        let kinds = [Kind::Service, Kind::Outside, Kind::Part, Kind::Database];
        kinds.iter().map(|kind| self.outcome.window.sum(*kind).cpu_s).sum::<f64>() * 1e3 / self.orders()
    }

    /// Memory of our services, or of the peer's server and program.
    fn memory_mb(&self) -> f64 {
        let of = |kind| self.outcome.window.sum(kind).mb;
        if self.is_peers { of(Kind::Service) + of(Kind::Part) } else { of(Kind::Service) }
    }
}
