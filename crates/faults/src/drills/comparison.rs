//! A lost database beside the one that was made anew: what differs, and whether it may. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::held::{Difference, Held, tables};
use super::unrelayed::{Asked, Pieces, Unrelayed};

/// Events that change none of an order's rows: those of articles, and what is only said.
const NO_ROW: [&str; 3] = [".StockReceived", ".StockAdjusted", ".CancellationRefused"];

/// What is known of how the database was lost.
#[derive(Debug)]
pub struct Loss<'a> {
    pub service: &'a str,
    pub before: &'a Held,
    pub after: &'a Held,
    /// Rows that were never relayed.
    pub unrelayed: &'a [Unrelayed],
    /// Commands that led to events which are in the topic.
    pub commands: &'a HashSet<Asked>,
    /// What unrelayed events had changed of each article.
    pub stock: &'a BTreeMap<String, Pieces>,
    /// Nothing moved when it was lost.
    pub drained: bool,
}

/// A line for each kind of row, and what differs although it may not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub lines: Vec<String>,
    pub violations: Vec<String>,
}

/// Compares.
pub fn compare(loss: &Loss<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    for (table, _) in tables(loss.service) {
        if *table == "stock" { loss.articles(&mut verdict) } else { loss.state(table, &mut verdict) }
    }
    loss.tasks(&mut verdict);
    loss.answers(&mut verdict);
    loss.parked(&mut verdict);
    loss.positions(&mut verdict);
    verdict
}

impl Loss<'_> {
    /// Unrelayed events of the service's own topic.
    fn events(&self) -> impl Iterator<Item = &Unrelayed> {
        self.unrelayed.iter().filter(|row| row.topic == self.service)
    }

    fn line(&self, verdict: &mut Verdict, what: &str, difference: &Difference, why: &str) {
        let rows = self.before.rows(what).len();
        verdict.lines.push(match difference.is_empty() {
            true => format!("{what}: {rows} rows, equal"),
            false => format!("{what}: {rows} rows; {} differ: {why}", difference.keys().count()),
        });
    }

    /// Rows that differ are those of unrelayed events' aggregates, all of them and no others.
    fn state(&self, table: &str, verdict: &mut Verdict) {
        let difference = self.before.difference(self.after, table);
        let differ: BTreeSet<&str> = difference.keys().map(String::as_str).collect();
        let events = self.events().filter(|row| !NO_ROW.iter().any(|kind| row.kind.ends_with(kind)));
        let named: BTreeSet<&str> = events.map(|row| row.aggregate.as_str()).collect();
        if differ != named || !difference.added.is_empty() {
            let others: Vec<_> = differ.symmetric_difference(&named).take(3).collect();
            let (service, named) = (self.service, named.len());
            verdict
                .violations
                .push(format!("{service}: {table}: {difference}; {named} row(s) were never relayed; not both: {others:?}"));
        }
        self.line(verdict, table, &difference, "they lack an event that was never relayed");
    }

    /// Each article has what it had, less what unrelayed events had brought and taken.
    fn articles(&self, verdict: &mut Verdict) {
        let difference = self.before.difference(self.after, "stock");
        let (before, after) = (self.before.rows("stock"), self.after.rows("stock"));
        for sku in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let (had, mut has) = (pieces(before.get(sku)), pieces(after.get(sku)));
            let lost = self.stock.get(sku).copied().unwrap_or_default();
            has.add(&lost);
            if had != has {
                let text = format!("{sku}: had {had:?}, has {has:?} with what was never relayed, {lost:?}");
                verdict.violations.push(format!("{}: stock: {text}", self.service));
            }
        }
        self.line(verdict, "stock", &difference, "they lack what was never relayed");
    }

    /// Those of unrelayed events' aggregates may differ. What was closed unheard stays until its outcome is in.
    fn tasks(&self, verdict: &mut Verdict) {
        let mut difference = self.before.difference(self.after, "tasks");
        let rows = self.after.rows("tasks");
        let kept = difference.added.len();
        difference.added.retain(|key| !rows.get(key).is_some_and(|row| row.starts_with("t|")));
        let kept = kept - difference.added.len();
        let named: Vec<&str> = self.events().map(|row| row.aggregate.as_str()).collect();
        let others: Vec<&String> = difference.keys().filter(|key| !named.iter().any(|id| key.contains(id))).take(3).collect();
        if !others.is_empty() {
            verdict.violations.push(format!("{}: tasks: {difference}; not of what was never relayed: {others:?}", self.service));
        }
        self.line(verdict, "tasks", &difference, "they are of what was never relayed");
        if kept > 0 {
            verdict.lines.push(format!("tasks: {kept} closed effect(s) beside, kept until their outcome is in"));
        }
    }

    /// What is missing was answered with unrelayed events, or with none.
    fn answers(&self, verdict: &mut Verdict) {
        let mut difference = self.before.difference(self.after, "answers");
        let word = |asked: &Asked| format!("{} {}", asked.scope, asked.key);
        let lost: BTreeSet<String> = self.unrelayed.iter().filter_map(|row| row.command.as_ref()).map(word).collect();
        let relayed: BTreeSet<String> = self.commands.iter().map(word).collect();
        let missing = difference.missing.len();
        difference.missing.retain(|key| lost.contains(key) || relayed.contains(key));
        let eventless = missing - difference.missing.len();
        let wrong = difference.missing.iter().any(|key| !lost.contains(key)) || difference.missing.len() != lost.len();
        if wrong || difference.added.len() + difference.changed.len() > 0 {
            verdict.violations.push(format!("{}: answers: {difference}; {} lost", self.service, lost.len()));
        }
        self.line(verdict, "answers", &difference, "of commands whose events were never relayed");
        if eventless > 0 {
            verdict.lines.push(format!("answers: {eventless} of commands that led to no event don't come back"));
        }
    }

    /// The same are parked; undrained, what isn't is read again.
    fn parked(&self, verdict: &mut Verdict) {
        let mut difference = self.before.difference(self.after, "parked");
        if !self.drained {
            difference.missing.retain(|place| !self.is_read_again(place));
            // Of those that were released it wasn't relayed that they were.
            let journal = self.unrelayed.iter().filter(|row| row.kind.ends_with(".Released")).count();
            if difference.added.len() <= journal {
                difference.added.clear();
            }
        }
        if !difference.is_empty() {
            verdict.violations.push(format!("{}: parked: {difference}", self.service));
        }
        self.line(verdict, "parked", &difference, "see below");
    }

    fn is_read_again(&self, place: &str) -> bool {
        let Some((at, offset)) = place.rsplit_once('@') else { return false };
        number(self.after.rows("positions").get(at)) <= offset.parse().unwrap_or(-1)
    }

    /// The same, or undrained none further.
    fn positions(&self, verdict: &mut Verdict) {
        let difference = self.before.difference(self.after, "positions");
        let (before, after) = (self.before.rows("positions"), self.after.rows("positions"));
        let again = |at: &String| number(before.get(at)) - number(after.get(at));
        let ahead = difference.keys().any(|at| again(at) < 0);
        if ahead || self.drained && !difference.is_empty() {
            verdict.violations.push(format!("{}: positions: {difference}", self.service));
        }
        self.line(verdict, "positions", &difference, "they are set back");
        let records: i64 = difference.keys().map(again).sum();
        if records > 0 {
            verdict.lines.push(format!("positions: {records} record(s) are read again"));
        }
    }
}

fn number(text: Option<&String>) -> i64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Of a row of stock as text.
fn pieces(row: Option<&String>) -> Pieces {
    let numbers = row.map_or("", String::as_str).trim_end_matches(')').rsplit(',').map(|n| n.parse().unwrap_or(0));
    let mut last = numbers.take(4);
    let mut next = || last.next().unwrap_or(0);
    let (shipped, adjusted, reserved) = (next(), next(), next());
    Pieces { received: next(), reserved, adjusted, shipped }
}

#[cfg(test)]
mod tests {
    use super::super::held::Rows;
    use super::*;

    fn rows(of: &[(&str, &str)]) -> Rows {
        of.iter().map(|(key, row)| ((*key).to_owned(), (*row).to_owned())).collect()
    }

    fn held() -> Held {
        Held(
            [
                ("orders", rows(&[("o1", "placed"), ("o2", "confirmed")])),
                ("stock", rows(&[("tea", "(tea,10,3,-1,2)")])),
                ("tasks", rows(&[("confirm/o1/x", "f|deadline")])),
                ("answers", rows(&[("POST /orders k1", "1"), ("POST /orders k2", "2")])),
                ("parked", rows(&[("payments/1@7", "head")])),
                ("positions", rows(&[("payments/1", "9")])),
            ]
            .into(),
        )
    }

    fn asked(key: &str) -> Asked {
        Asked { scope: "POST /orders".to_owned(), key: key.to_owned() }
    }

    /// How many violations, where `change` is what came back wrong.
    fn violated(service: &str, drained: bool, unrelayed: &[Unrelayed], change: impl Fn(&mut Held)) -> usize {
        let (before, mut after) = (held(), held());
        change(&mut after);
        let commands = HashSet::from([asked("k1"), asked("k2")]);
        let stock = if unrelayed.is_empty() {
            BTreeMap::new()
        } else {
            [("tea".to_owned(), Pieces { received: 4, reserved: -1, shipped: 1, adjusted: 0 })].into()
        };
        let (before, after, commands, stock) = (&before, &after, &commands, &stock);
        compare(&Loss { service, before, after, unrelayed, commands, stock, drained }).violations.len()
    }

    fn set(held: &mut Held, what: &'static str, key: &str, row: Option<&str>) {
        let rows = held.0.entry(what).or_default();
        match row {
            Some(row) => drop(rows.insert(key.to_owned(), row.to_owned())),
            None => drop(rows.remove(key)),
        }
    }

    #[test]
    fn of_a_drained_service_everything_has_to_be_there() {
        assert_eq!(violated("orders", true, &[], |_| {}), 0);
        for (what, key) in [
            ("orders", "o1"),
            ("tasks", "confirm/o1/x"),
            ("answers", "POST /orders k1"),
            ("parked", "payments/1@7"),
            ("positions", "payments/1"),
        ] {
            assert_eq!(violated("orders", true, &[], |after| set(after, what, key, None)), 1, "{what} is gone");
            let other = if what == "positions" { "8" } else { "other" };
            assert_eq!(violated("orders", true, &[], |after| set(after, what, key, Some(other))), 1, "{what} is another");
            let more = if what == "positions" { "payments/2" } else { "more" };
            assert_eq!(violated("orders", true, &[], |after| set(after, what, more, Some("f|1"))), 1, "{what} more");
        }
        assert_eq!(violated("inventory", true, &[], |after| set(after, "stock", "tea", Some("(tea,10,3,-1,3)"))), 1);
        assert_eq!(violated("orders", true, &[], |after| set(after, "tasks", "void/o2/y", Some("t|effect"))), 0, "closed");
        assert_eq!(violated("orders", true, &[], |after| set(after, "answers", "POST /orders k3", None)), 0, "nothing there");
    }

    #[test]
    fn undrained_exactly_what_was_never_relayed_is_missing() {
        let lost = [Unrelayed::sample("orders", "o1", Some(asked("k1")))];
        let gone = |after: &mut Held| {
            set(after, "orders", "o1", None);
            set(after, "tasks", "confirm/o1/x", None);
            set(after, "answers", "POST /orders k1", None);
        };
        assert_eq!(violated("orders", false, &lost, gone), 0);
        assert_eq!(violated("orders", false, &lost, |_| {}), 2, "a row and an answer of what nobody relayed");
        let other = |after: &mut Held| (gone(after), set(after, "orders", "o2", Some("placed"))).1;
        assert_eq!(violated("orders", false, &lost, other), 1, "a row more");
        let back = |after: &mut Held| {
            (gone(after), set(after, "positions", "payments/1", Some("7")), set(after, "parked", "payments/1@7", None)).0
        };
        assert_eq!(violated("orders", false, &lost, back), 0, "read again, and parked again");
        let lost_parked = |after: &mut Held| (gone(after), set(after, "parked", "payments/1@7", None)).0;
        assert_eq!(violated("orders", false, &lost, lost_parked), 1, "behind the position");
        let ahead = |after: &mut Held| (gone(after), set(after, "positions", "payments/1", Some("10"))).0;
        assert_eq!(violated("orders", false, &lost, ahead), 1, "it would skip a record");
        let mut said = lost[0].clone();
        said.kind = "farandole.shipping.CancellationRefused".to_owned();
        let but_this = |after: &mut Held| set(after, "answers", "POST /orders k1", None);
        assert_eq!(violated("orders", false, &[said], but_this), 0, "no row says it");
        let receipt = [Unrelayed::sample("inventory", "tea", None)];
        assert_eq!(violated("inventory", false, &receipt, |after| set(after, "stock", "tea", Some("(tea,6,4,-1,1)"))), 0);
        assert_eq!(violated("inventory", false, &receipt, |_| {}), 1);
    }
}
