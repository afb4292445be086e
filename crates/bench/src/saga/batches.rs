//! How much goes together in a transaction and in a round of the relay: as each service counts it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::http::Server;

/// One service's, so far, or from one look to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Batches {
    /// Transactions of inputs, and inputs in them.
    pub transactions: f64,
    pub inputs: f64,
    /// Rounds of the relay, and rows in them.
    pub rounds: f64,
    pub rows: f64,
}

impl Batches {
    /// From what `/metrics` answers.
    fn of(metrics: &str) -> Self {
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<f64>().ok());
            line.unwrap_or(0.0)
        };
        Self {
            transactions: value("farandole_batch_inputs_count"),
            inputs: value("farandole_batch_inputs_sum"),
            rounds: value("farandole_relay_batch_rows_count"),
            rows: value("farandole_relay_batch_rows_sum"),
        }
    }

    /// What was added since.
    pub fn since(self, before: Self) -> Self {
        Self {
            transactions: self.transactions - before.transactions,
            inputs: self.inputs - before.inputs,
            rounds: self.rounds - before.rounds,
            rows: self.rows - before.rows,
        }
    }
}

/// Each service's so far.
///
/// # Errors
/// When one doesn't answer.
pub async fn read(services: &[(String, Arc<Server>)]) -> anyhow::Result<BTreeMap<String, Batches>> {
    let mut all = BTreeMap::new();
    for (name, service) in services {
        let answer = service.get("/metrics").await?;
        all.insert(name.clone(), Batches::of(&String::from_utf8_lossy(&answer.body)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_counts_are_read() {
        let metrics = "# TYPE farandole_batch_inputs histogram\nfarandole_batch_inputs_bucket{le=\"1\"} 2\nfarandole_batch_inputs_sum 9\n\
                       farandole_batch_inputs_count 3\nfarandole_relay_batch_rows_sum 8\nfarandole_relay_batch_rows_count 2\n";
        let batches = Batches { transactions: 3.0, inputs: 9.0, rounds: 2.0, rows: 8.0 };
        assert_eq!(Batches::of(metrics), batches);
        assert_eq!(batches.since(batches), Batches::default());
    }
}
