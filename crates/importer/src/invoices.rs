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
    /// Where its lines are in the file.
    pub fn numbers(&self) -> Vec<u64> {
        self.lines.iter().map(|line| line.number).collect()
    }

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

/// What rows become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Rows that belong together.
    Invoice(Invoice),
    /// Lines of the file that are turned away, and why.
    TurnedAway(&'static str, Vec<u64>),
}

/// Lines of an order at most, as the shop takes them.
const MAX_LINES: usize = 5_000;

/// Puts rows together that follow each other and have the same invoice number.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Rows so far.
    pub read: u64,
    open: Option<Invoice>,
    seen: HashSet<u64>,
    last: Option<(String, bool)>,
    /// Why what is left of this invoice is turned away.
    skip: Option<&'static str>,
}

impl Assembler {
    /// Takes a row; gives the invoice before it when this row begins another, and what is turned away.
    pub fn push(&mut self, row: Row, pieces: &mut Vec<Piece>) {
        self.read += 1;
        let at = (row.invoice.clone(), row.cancels);
        // A line that can't be read says nothing of its invoice, and ends none.
        if self.last.as_ref() != Some(&at) && !row.invoice.is_empty() {
            pieces.extend(self.finish());
            // Its first part is an order already: the same number can't be a second one.
            self.skip = (!self.seen.insert(number(&at))).then_some("invoice_in_two_parts");
            self.last = Some(at);
        }
        let line = match (row.line, self.skip) {
            (Ok(line), None) => line,
            (Err(reason), _) | (Ok(_), Some(reason)) => return pieces.push(Piece::TurnedAway(reason, vec![row.number])),
        };
        let customer = row.customer.unwrap_or_else(|| format!("guest-{}", row.invoice));
        let new = || Invoice { number: row.invoice, cancels: row.cancels, customer, lines: Vec::new() };
        let open = self.open.get_or_insert_with(new);
        open.lines.push(line);
        // An order without some of its lines would be another order.
        if open.lines.len() > MAX_LINES
            && let Some(invoice) = self.open.take()
        {
            let reason = "invoice_has_more_than_5000_lines";
            self.skip = Some(reason);
            pieces.push(Piece::TurnedAway(reason, invoice.numbers()));
        }
    }

    /// The last invoice.
    pub fn finish(&mut self) -> Option<Piece> {
        self.open.take().map(Piece::Invoice)
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
            .map(|(i, (sku, &demand))| (sku.as_str(), if i % 10 == 9 { (demand - demand / 10).max(1) } else { demand }))
    }
}

/// What each SKU costs, in the order of the file: a price counts once, for it holds for a day after the next one came.
#[derive(Debug, Default)]
pub struct Prices {
    known: HashMap<String, Vec<i64>>,
    list: Vec<(String, i64)>,
}

impl Prices {
    /// Adds those of an invoice.
    pub fn add(&mut self, invoice: &Invoice) {
        for line in invoice.lines.iter().filter(|_| !invoice.cancels) {
            let known = self.known.entry(line.sku.clone()).or_default();
            if !known.contains(&line.unit_price) {
                known.push(line.unit_price);
                self.list.push((line.sku.clone(), line.unit_price));
            }
        }
    }

    /// SKUs with a price, in minor units, in the order in which they came.
    pub fn list(&self) -> &[(String, i64)] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64, invoice: &str, cancels: bool, sku: &str, quantity: i64) -> Row {
        let line = Ok(Line { number, sku: sku.to_owned(), quantity, unit_price: 100 });
        Row { number, invoice: invoice.to_owned(), cancels, customer: Some("1".to_owned()), line }
    }

    /// Invoices with whether they cancel and their lines, what was turned away with its lines, and rows read.
    type Assembled = (Vec<(String, bool, usize)>, Vec<(&'static str, Vec<u64>)>, u64);

    fn assembled(rows: impl IntoIterator<Item = Row>) -> Assembled {
        let (mut assembler, mut pieces) = (Assembler::default(), Vec::new());
        rows.into_iter().for_each(|row| assembler.push(row, &mut pieces));
        pieces.extend(assembler.finish());
        let (mut invoices, mut turned_away) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Invoice(i) => invoices.push((i.number, i.cancels, i.lines.len())),
                Piece::TurnedAway(reason, lines) => turned_away.push((reason, lines)),
            }
        }
        (invoices, turned_away, assembler.read)
    }

    #[test]
    fn rows_become_invoices_and_add_up() {
        let bad = Row { line: Err("price_is_not_in_pence"), ..row(3, "1", false, "x", 1) };
        let unreadable = Row { line: Err("columns_missing"), ..row(4, "", false, "x", 1) };
        let rows = [
            row(2, "1", false, "a", 1),
            bad,
            unreadable,
            row(5, "1", false, "b", 2),
            row(6, "2", false, "a", 1),
            row(7, "1", false, "c", 1),
            row(8, "1", true, "c", 1),
        ];
        let (invoices, turned_away, read) = assembled(rows);
        assert_eq!(invoices, [("1".to_owned(), false, 2), ("2".to_owned(), false, 1), ("1".to_owned(), true, 1)]);
        let expected = [("price_is_not_in_pence", vec![3]), ("columns_missing", vec![4]), ("invoice_in_two_parts", vec![7])];
        assert_eq!((turned_away, read), (expected.to_vec(), 7));
    }

    #[test]
    fn an_invoice_of_too_many_lines_is_turned_away_whole_and_alone() {
        let many = (0..6_000).map(|n| row(n, "1", false, "a", 1));
        let (invoices, turned_away, read) = assembled(many.chain([row(6_000, "2", false, "a", 1)]));
        assert_eq!(invoices, [("2".to_owned(), false, 1)]);
        assert_eq!(turned_away.iter().map(|(_, lines)| lines.len()).sum::<usize>(), 6_000);
        assert!(turned_away.iter().all(|(reason, _)| *reason == "invoice_has_more_than_5000_lines"));
        assert_eq!(read, 6_001);
    }

    #[test]
    fn a_cancellation_undoes_exactly_one_earlier_order() {
        let invoice = |number: &str, lines: &[(&str, i64)]| Invoice {
            number: number.to_owned(),
            cancels: false,
            customer: "1".to_owned(),
            lines: lines
                .iter()
                .map(|(sku, quantity)| Line { number: 2, sku: (*sku).to_owned(), quantity: *quantity, unit_price: 100 })
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
    fn a_price_counts_once() {
        let line = |sku: &str, unit_price| Line { number: 2, sku: sku.to_owned(), quantity: 1, unit_price };
        let invoice = |cancels, lines| Invoice { number: "1".to_owned(), cancels, customer: "1".to_owned(), lines };
        let mut prices = Prices::default();
        prices.add(&invoice(false, vec![line("a", 5), line("b", 7), line("a", 6)]));
        prices.add(&invoice(true, vec![line("a", 9)]));
        prices.add(&invoice(false, vec![line("a", 5), line("b", 8)]));
        let list = [("a", 5), ("b", 7), ("a", 6), ("b", 8)].map(|(sku, price)| (sku.to_owned(), price));
        assert_eq!(prices.list(), list);
    }

    #[test]
    fn every_tenth_sku_is_short() {
        let mut demand = Demand::default();
        let lines = (0..20).map(|i| Line { number: 2, sku: format!("{i:05}"), quantity: 10, unit_price: 1 }).collect();
        demand.add(&Invoice { number: "1".to_owned(), cancels: false, customer: "1".to_owned(), lines });
        let short: Vec<_> = demand.receipts().filter(|(_, n)| *n != 10).collect();
        assert_eq!(short, [("00009", 9), ("00019", 9)]);
    }
}
