//! Rows into invoices; invoices into orders and cancellations.

use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use crate::rows::{Line, Row};

/// An invoice with at least one line that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Its number, without the `C` of a cancellation.
    pub number: String,
    /// Whether it is a cancellation.
    pub cancels: bool,
    /// The customer; a guest is named after the invoice.
    pub customer: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// What an invoice is about, in 16 bytes: customer and lines in any order.
pub type Digest = [u8; 16];

impl Invoice {
    /// The digest by which a cancellation finds the invoice that it undoes.
    pub fn digest(&self) -> Digest {
        let mut lines: Vec<String> =
            self.lines.iter().map(|l| format!("{}\u{0}{}\u{0}{}", l.sku, l.quantity, l.unit_price)).collect();
        lines.sort_unstable();
        let mut hash = Sha256::new();
        hash.update(self.customer.as_bytes());
        for line in lines {
            hash.update(b"\n");
            hash.update(line.as_bytes());
        }
        let hash = hash.finalize();
        std::array::from_fn(|i| hash[i])
    }
}

/// Rows read, and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub read: u64,
    /// Became part of an order or a cancel request.
    pub taken: u64,
    /// The others, by reason.
    pub turned_away: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Counts `n` rows that are turned away.
    pub fn turn_away(&mut self, reason: &'static str, n: usize) {
        *self.turned_away.entry(reason).or_default() += n as u64;
    }
}

/// Puts rows together that follow each other and have the same invoice number.
#[derive(Debug, Default)]
pub struct Assembler {
    open: Option<Invoice>,
    seen: HashSet<u64>,
    last: Option<(String, bool)>,
    skip: bool,
}

impl Assembler {
    /// Takes a row; gives the invoice before it when this row begins another.
    pub fn push(&mut self, row: Row, tally: &mut Tally) -> Option<Invoice> {
        tally.read += 1;
        let at = (row.invoice.clone(), row.cancels);
        let mut done = None;
        if self.last.as_ref() != Some(&at) {
            done = self.open.take();
            self.skip = !self.seen.insert(number(&at));
            self.last = Some(at);
        }
        match row.line {
            Err(reason) => tally.turn_away(reason, 1),
            // Its first part is an order already: the same number can't be a second one.
            Ok(_) if self.skip => tally.turn_away("invoice_in_two_parts", 1),
            Ok(line) => {
                let customer = row.customer.unwrap_or_else(|| format!("guest-{}", row.invoice));
                let open = self.open.get_or_insert_with(|| Invoice {
                    number: row.invoice,
                    cancels: row.cancels,
                    customer,
                    lines: Vec::new(),
                });
                open.lines.push(line);
            }
        }
        done
    }

    /// The last invoice.
    pub fn finish(&mut self) -> Option<Invoice> {
        self.open.take()
    }
}

fn number((invoice, cancels): &(String, bool)) -> u64 {
    let hash = Sha256::digest(format!("{cancels}{invoice}").as_bytes());
    u64::from_le_bytes(std::array::from_fn(|i| hash[i]))
}

/// Earlier orders by what they are about. An order whose twin came as well can't be told from it, so neither is cancelled.
#[derive(Debug)]
pub struct Earlier<T>(HashMap<Digest, Vec<T>>);

impl<T> Default for Earlier<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Earlier<T> {
    /// Remembers an order.
    pub fn add(&mut self, digest: Digest, order: T) {
        self.0.entry(digest).or_default().push(order);
    }

    /// The one order that a cancellation undoes; it can be undone once.
    pub fn undo(&mut self, digest: &Digest) -> Option<T> {
        match self.0.get_mut(digest) {
            Some(orders) if orders.len() == 1 => orders.pop(),
            _ => None,
        }
    }
}

/// Each SKU's demand in pieces, from the first pass.
#[derive(Debug, Default)]
pub struct Demand(BTreeMap<String, i64>);

impl Demand {
    /// Adds an invoice's lines.
    pub fn add(&mut self, invoice: &Invoice) {
        if !invoice.cancels {
            for line in &invoice.lines {
                let demand = self.0.entry(line.sku.clone()).or_default();
                *demand = demand.saturating_add(line.quantity);
            }
        }
    }

    /// What to receive: all of it, but nine tenths (at least one piece) for every tenth SKU.
    pub fn receipts(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0
            .iter()
            .enumerate()
            .map(|(i, (sku, &demand))| (sku.as_str(), if i % 10 == 9 { (demand * 9 / 10).max(1) } else { demand }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(invoice: &str, cancels: bool, sku: &str, quantity: i64) -> Row {
        let line = Ok(Line { sku: sku.to_owned(), quantity, unit_price: 100 });
        Row { invoice: invoice.to_owned(), cancels, customer: Some("1".to_owned()), line }
    }

    #[test]
    fn rows_become_invoices_and_add_up() {
        let mut tally = Tally::default();
        let mut assembler = Assembler::default();
        let mut invoices = Vec::new();
        let mut bad = row("1", false, "x", 1);
        bad.line = Err("price_is_not_in_pence");
        for row in [
            row("1", false, "a", 1),
            bad,
            row("1", false, "b", 2),
            row("2", false, "a", 1),
            row("1", false, "c", 1),
            row("1", true, "c", 1),
        ] {
            invoices.extend(assembler.push(row, &mut tally));
        }
        invoices.extend(assembler.finish());
        assert_eq!(
            invoices.iter().map(|i| (i.number.as_str(), i.cancels, i.lines.len())).collect::<Vec<_>>(),
            [("1", false, 2), ("2", false, 1), ("1", true, 1)]
        );
        assert_eq!(tally.read, 6);
        assert_eq!(tally.turned_away, BTreeMap::from([("invoice_in_two_parts", 1), ("price_is_not_in_pence", 1)]));
    }

    #[test]
    fn a_cancellation_undoes_exactly_one_earlier_order() {
        let invoice = |number: &str, lines: &[(&str, i64)]| Invoice {
            number: number.to_owned(),
            cancels: false,
            customer: "1".to_owned(),
            lines: lines
                .iter()
                .map(|(sku, quantity)| Line { sku: (*sku).to_owned(), quantity: *quantity, unit_price: 100 })
                .collect(),
        };
        let mut earlier = Earlier::default();
        earlier.add(invoice("1", &[("a", 1), ("b", 2)]).digest(), 1);
        earlier.add(invoice("2", &[("a", 1)]).digest(), 2);
        earlier.add(invoice("3", &[("a", 1)]).digest(), 3);
        assert_eq!(earlier.undo(&invoice("C4", &[("b", 2), ("a", 1)]).digest()), Some(1), "lines in another order");
        assert_eq!(earlier.undo(&invoice("C5", &[("b", 2), ("a", 1)]).digest()), None, "only once");
        assert_eq!(earlier.undo(&invoice("C6", &[("a", 1)]).digest()), None, "two are alike");
        assert_eq!(earlier.undo(&invoice("C7", &[("a", 2)]).digest()), None, "a part or more of it");
    }

    #[test]
    fn every_tenth_sku_is_short() {
        let mut demand = Demand::default();
        let lines = (0..20).map(|i| Line { sku: format!("{i:05}"), quantity: 10, unit_price: 1 }).collect();
        demand.add(&Invoice { number: "1".to_owned(), cancels: false, customer: "1".to_owned(), lines });
        let short: Vec<_> = demand.receipts().filter(|(_, n)| *n != 10).collect();
        assert_eq!(short, [("00009", 9), ("00019", 9)]);
    }
}
