//! What was measured at one rate, in words and as lines of `--json`.

use serde_json::{Value, json};

use super::batches::Batches;
use super::hops::Hop;
use super::run::Outcome;
use super::spread::Spread;
use super::usage::Kind;

/// One rate's.
pub struct Account {
    /// Whose it is.
    pub name: &'static str,
    pub is_peers: bool,
    pub outcome: Outcome,
    pub hops: Vec<Hop>,
    pub is_brokers_time: bool,
    /// Events on the topics for each order, by type.
    pub events: Vec<(String, f64)>,
    /// Rates that were tried on the way to this one, and whether each was held.
    pub steps: Vec<(f64, bool)>,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Service, "services"),
    (Kind::Database, "PostgreSQL"),
    (Kind::Part, "broker and registry, or Restate"),
    (Kind::Outside, "outside the shop"),
    (Kind::Load, "this program"),
];

impl Account {
    /// Orders that were confirmed in the window.
    pub fn orders(&self) -> f64 {
        self.outcome.rate * self.outcome.seconds
    }

    /// Prints it.
    pub fn print(&self) {
        let Self { outcome, .. } = self;
        let load = &outcome.load;
        println!(
            "\n{}: {:.0} orders/s for {} s after {} s of warm-up at the same rate: {:.1} confirmed/s; \
             {} placed in all, {} refused, {} held back",
            self.name, load.rate, load.seconds, load.warm_up, outcome.rate, outcome.placed, outcome.refused, outcome.held_back
        );
        if let Some(why) = &outcome.refusal {
            println!("  the first that was refused: {why}");
        }
        println!(
            "\n{:<34} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "ms from when it was due to", "n", "p50", "p90", "p99", "p99.9", "max"
        );
        for (to, spread) in self.latencies().into_iter().filter(|(_, spread)| spread.count() > 0) {
            let [p50, p90, p99, p999, max] = spread.five();
            println!("{to:<34} {:>8} {p50:>9.2} {p90:>9.2} {p99:>9.2} {p999:>9.2} {max:>9.2}", spread.count());
        }
        if !self.hops.is_empty() {
            self.print_hops();
        }
        self.print_processes();
    }

    fn print_hops(&self) {
        let whose = if self.is_brokers_time { "the broker wrote it" } else { "it was sent" };
        println!(
            "\n{:<20} {:<18} {:>8} {:>8} {:>8}  between (a record's time is when {whose}, to a millisecond)",
            "from", "to", "mean ms", "p50 ms", "p99 ms"
        );
        for Hop { words: [from, to, between], times, is_part } in &self.hops {
            let (mean, p50, p99) = (times.mean_ms(), times.ms(0.5), times.ms(0.99));
            println!(
                "{from:<20} {to:<18} {mean:>8.2} {p50:>8.2} {p99:>8.2}  {}{between}",
                if *is_part { "" } else { "(not in the sum) " }
            );
        }
        let parts: f64 = self.hops.iter().filter(|hop| hop.is_part).map(|hop| hop.times.mean_ms()).sum();
        println!("{:<39} {parts:>8.2}", "sum of the means");
    }

    fn print_processes(&self) {
        println!("\n{:<44} {:>14} {:>9} {:>8}", "process", "CPU ms/order", "% of core", "MB");
        let row = |name: &str, cpu_s: f64, mb: f64| {
            let (each, share) = (cpu_s * 1e3 / self.orders(), cpu_s / self.outcome.seconds * 100.0);
            println!("{name:<44} {each:>14.3} {share:>9.1} {mb:>8.1}");
        };
        let mut all = 0.0;
        for (kind, name) in KINDS {
            if !self.outcome.window.used.iter().any(|(of, _, _)| *of == kind) {
                continue;
            }
            let mut of_kind: Vec<_> = self
                .outcome
                .window
                .used
                .iter()
                .filter(|(of, _, used)| *of == kind && (used.cpu_s > 0.0 || used.mb > 5.0))
                .collect();
            of_kind.sort_by(|a, b| b.2.cpu_s.total_cmp(&a.2.cpu_s));
            let sum = self.outcome.window.sum(kind);
            all += sum.cpu_s;
            row(name, sum.cpu_s, sum.mb);
            of_kind.iter().for_each(|(_, name, used)| row(&format!("  {name}"), used.cpu_s, used.mb));
        }
        row("all", all, 0.0);
        if self.is_peers {
            return;
        }
        let window = &self.outcome.window;
        println!(
            "\n{:<20} {:>18} {:>16} {:>14} {:>14}",
            "service", "transactions/order", "inputs in each", "rounds/order", "rows in each"
        );
        for (name, batches) in &window.batches {
            let [transactions, inputs, rounds, rows] = self.each(batches);
            println!("{name:<20} {transactions:>18.2} {inputs:>16.2} {rounds:>14.2} {rows:>14.2}");
        }
        println!(
            "\nan order: {:.2} commits, {:.2} flushes of the log, {:.1} kB of it; events {}",
            window.commits / self.orders(),
            window.flushes / self.orders(),
            window.wal_bytes / self.orders() / 1e3,
            self.events.iter().map(|(kind, n)| format!("{kind} {n:.2}")).collect::<Vec<_>>().join(", ")
        );
    }

    /// Transactions an order and inputs in each; rounds of the relay an order and rows in each.
    fn each(&self, batches: &Batches) -> [f64; 4] {
        let Batches { transactions, inputs, rounds, rows } = *batches;
        [transactions / self.orders(), inputs / transactions.max(1.0), rounds / self.orders(), rows / rounds.max(1.0)]
    }

    /// A peer's answer is its confirmation.
    fn latencies(&self) -> Vec<(&'static str, &Spread)> {
        let Outcome { answer, confirmed, by_http, .. } = &self.outcome;
        if self.is_peers {
            return vec![("the answer, with all steps done", answer)];
        }
        vec![
            ("the HTTP answer", answer),
            ("OrderConfirmed seen on the topic", confirmed),
            ("confirmed by HTTP, of a sample", by_http),
        ]
    }

    /// All of it for programs.
    pub fn json(&self) -> Value {
        let Outcome { placed, refused, held_back, rate, seconds, window, .. } = &self.outcome;
        let latencies: Vec<Value> =
            self.latencies().iter().map(|(to, spread)| json!({ "to": to, "times": spread.json() })).collect();
        let hops = self.hops.iter().map(|Hop { words: [from, to, between], times, is_part }| {
            json!({ "from": from, "to": to, "between": between, "in_sum": is_part, "times": times.json() })
        });
        let processes = window.used.iter().map(|(kind, name, used)| {
            let kind = KINDS.iter().find(|(of, _)| of == kind).map(|(_, name)| *name);
            json!({ "kind": kind, "name": name, "cpu_ms_order": used.cpu_s * 1e3 / self.orders(), "mb": used.mb })
        });
        let batches = window.batches.iter().map(|(name, batches)| {
            let [transactions, inputs, rounds, rows] = self.each(batches);
            json!({
                "service": name, "transactions_order": transactions, "inputs_transaction": inputs,
                "rounds_order": rounds, "rows_round": rows,
            })
        });
        json!({
            "steps": self.steps, "batches": batches.collect::<Vec<_>>(),
            "rate": self.outcome.load.rate, "warm_up_s": self.outcome.load.warm_up, "seconds": seconds, "confirmed_s": rate,
            "placed": placed, "refused": refused, "held_back": held_back,
            "latencies": latencies, "hops": hops.collect::<Vec<_>>(), "brokers_time": self.is_brokers_time,
            "processes": processes.collect::<Vec<_>>(),
            "commits_order": window.commits / self.orders(), "flushes_order": window.flushes / self.orders(),
            "wal_bytes_order": window.wal_bytes / self.orders(),
            "events_order": self.events.iter().map(|(kind, n)| (kind.clone(), json!(n))).collect::<serde_json::Map<_, _>>(),
        })
    }
}
