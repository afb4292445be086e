//! Reading rows, and turning away those that can't be an order's line.

use std::path::Path;

use anyhow::Context as _;

use crate::lines::{self, Lines, Seen};

/// Minor units a piece at most, as the shop takes them.
const MAX_PRICE: i64 = 100_000_000_000;
/// Characters of a customer's number, as the shop takes them.
const MAX_CUSTOMER: usize = 64;

/// A row that can be a line of an order, or of a cancellation (then the quantity counts what is returned).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it is in the file; 1 is the header.
    pub number: u64,
    /// Stock code.
    pub sku: String,
    /// Pieces, above zero.
    pub quantity: i64,
    /// Pence a piece, above zero.
    pub unit_price: i64,
}

/// A row's invoice and customer, and the line or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it is in the file; 1 is the header.
    pub number: u64,
    /// Invoice number without its `C`; empty in a line that can't be read.
    pub invoice: String,
    /// Whether it is a cancellation.
    pub cancels: bool,
    /// Customer number; none in a quarter of the rows.
    pub customer: Option<String>,
    /// The line, or the reason why the row is turned away.
    pub line: Result<Line, &'static str>,
}

/// The columns that the file must have, in any order.
const COLUMNS: [&str; 6] = ["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"];

/// A file's rows.
pub struct Rows {
    lines: Lines,
    at: [usize; 6],
}

impl Rows {
    /// Opens a file, plain or gzip.
    ///
    /// # Errors
    /// When it can't be opened or lacks a column.
    pub fn open(path: &Path, seen: Seen) -> anyhow::Result<Self> {
        let lines = Lines::open(path, seen)?;
        let mut at = [0usize; 6];
        for (at, column) in at.iter_mut().zip(COLUMNS) {
            *at = (lines.header.iter().position(|name| name.trim() == column))
                .with_context(|| format!("{} has no column {column}; it must have {}", path.display(), COLUMNS.join(", ")))?;
        }
        Ok(Self { lines, at })
    }

    /// The next row; none at the end. One that can't be read is a row that is turned away.
    ///
    /// # Errors
    /// When the file can't be read on; a gzip file that ends early is one of those.
    pub fn next_row(&mut self) -> anyhow::Result<Option<Row>> {
        let Some(lines::Line { number, fields }) = self.lines.next_line()? else { return Ok(None) };
        Ok(Some(match fields {
            Ok(fields) => row(number, self.at.map(|at| fields.get(at).map(|text| text.trim()).unwrap_or_default())),
            Err(reason) => Row { number, invoice: String::new(), cancels: false, customer: None, line: Err(reason) },
        }))
    }

    /// As [`Lines::count`].
    pub fn count(&self) -> (u64, String) {
        self.lines.count()
    }
}

fn row(number: u64, [invoice, sku, quantity, date, price, customer]: [&str; 6]) -> Row {
    let (cancels, invoice) = match invoice.strip_prefix('C') {
        Some(rest) => (true, rest),
        None => (false, invoice),
    };
    // The data set writes customers as numbers with a decimal: 17850.0.
    let customer = Some(customer.trim_end_matches(".0")).filter(|c| !c.is_empty());
    let line = line(number, invoice, cancels, [sku, quantity, date, price, customer.unwrap_or_default()]);
    Row { number, invoice: invoice.to_owned(), cancels, customer: customer.map(str::to_owned), line }
}

fn line(number: u64, invoice: &str, cancels: bool, rest: [&str; 5]) -> Result<Line, &'static str> {
    let [sku, quantity, date, price, customer] = rest;
    if invoice.is_empty() || invoice.len() > 20 || !invoice.bytes().all(|b| b.is_ascii_digit()) {
        return Err("invoice_number_is_none");
    }
    if !is_date(date) {
        return Err("date_is_none");
    }
    if !is_goods(sku) {
        return Err("stock_code_is_no_goods");
    }
    if !schemas::sku::is_one(sku) {
        return Err("stock_code_has_what_does_not_show");
    }
    if customer.chars().count() > MAX_CUSTOMER || customer.chars().any(|c| c.is_control() || c == '\u{fffd}') {
        return Err("customer_is_none");
    }
    let quantity = whole(quantity).ok_or("quantity_is_no_number")?;
    let quantity = if cancels { quantity.checked_neg().ok_or("quantity_is_no_number")? } else { quantity };
    if quantity <= 0 {
        return Err(if cancels { "cancellation_of_nothing" } else { "quantity_is_zero_or_less" });
    }
    if quantity > 1_000_000 {
        return Err("quantity_is_above_the_limit");
    }
    match pence(price) {
        Some(unit_price) if unit_price > MAX_PRICE => Err("price_is_above_the_limit"),
        Some(unit_price) if unit_price > 0 => Ok(Line { number, sku: sku.to_owned(), quantity, unit_price }),
        Some(_) => Err("price_is_zero_or_less"),
        None => Err("price_is_not_in_pence"),
    }
}

/// Goods have codes that begin with five digits, or are gift vouchers and the `DCGS` range; the others are postage, fees,
/// discounts, samples and corrections.
fn is_goods(sku: &str) -> bool {
    let digits = sku.bytes().take_while(u8::is_ascii_digit).count();
    digits >= 5 || sku.starts_with("DCGS") || sku.starts_with("gift_")
}

/// A whole number, which may have noughts behind a point.
fn whole(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    (!fraction.is_empty() && fraction.bytes().all(|b| b == b'0')).then(|| whole.parse().ok()).flatten()
}

/// A day, with or without a time: `2010-12-01 08:26:00`, `2010-12-01T08:26`, `12/1/2010 8:26` (month or day first: copies of the data set
/// have both). Nothing is done by it, but a row without a day is none.
fn is_date(text: &str) -> bool {
    let (day, time) = text.split_once([' ', 'T']).map_or((text, None), |(day, time)| (day, Some(time)));
    let numbers = |text: &str, by: char| {
        text.split(by)
            .map(|n| Some(n).filter(|n| n.len() <= 4 && n.bytes().all(|b| b.is_ascii_digit()))?.parse::<u32>().ok())
            .collect::<Option<Vec<u32>>>()
    };
    let day = match (numbers(day, '-').as_deref(), numbers(day, '/').as_deref()) {
        (Some([year, month, day]), _) => is_day(*year, *month, *day),
        (_, Some([a, b, year])) => is_day(*year, *a, *b) || is_day(*year, *b, *a),
        _ => false,
    };
    let time = time.is_none_or(|time| match numbers(time, ':').as_deref() {
        Some([hour, minute, rest @ ..]) => {
            *hour < 24 && *minute < 60 && rest.len() <= 1 && rest.iter().all(|second| *second < 60)
        }
        _ => false,
    });
    day && time
}

fn is_day(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1900..=2999).contains(&year) && (1..=days).contains(&day)
}

/// Pounds with at most two decimals, as pence.
fn pence(pounds: &str) -> Option<i64> {
    let (negative, digits) = match pounds.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, pounds),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits_only = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 2 || !digits_only(whole) || !digits_only(fraction) {
        return None;
    }
    let pence = whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(format!("{fraction:0<2}").parse().ok()?)?;
    Some(if negative { -pence } else { pence })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pounds_become_pence_exactly() {
        for (pounds, expected) in [
            ("2.55", Some(255)),
            ("3", Some(300)),
            ("3.0", Some(300)),
            ("0.1", Some(10)),
            ("0.001", None),
            ("-11062.06", Some(-1_106_206)),
            ("2.5500", Some(255)),
            ("", None),
            ("1e5", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(pence(pounds), expected, "{pounds}");
        }
    }

    const DAY: &str = "2010-12-01 08:26:00";

    #[test]
    fn a_row_is_taken_or_turned_away_for_a_reason() {
        let read = |invoice: &str, sku: &str, quantity: &str, price: &str| {
            row(2, [invoice, sku, quantity, DAY, price, "17850.0"]).line.map(|l| l.quantity)
        };
        for (invoice, sku, quantity, price, expected) in [
            ("536365", "85123A", "6", "2.55", Ok(6)),
            ("536365", "85123A", "6.0", "2.55", Ok(6)),
            ("C536379", "85123A", "-6", "2.55", Ok(6)),
            ("C536379", "85123A", "-6.00", "2.55", Ok(6)),
            ("536365", "85123A", "0", "2.55", Err("quantity_is_zero_or_less")),
            ("536365", "85123A", "-6", "2.55", Err("quantity_is_zero_or_less")),
            ("C536379", "85123A", "6", "2.55", Err("cancellation_of_nothing")),
            ("536365", "POST", "1", "18.0", Err("stock_code_is_no_goods")),
            ("536365", "85123 A", "6", "2.55", Ok(6)),
            ("536365", "85123\u{200b}A", "6", "2.55", Err("stock_code_has_what_does_not_show")),
            ("536365", "85123e\u{301}", "6", "2.55", Err("stock_code_has_what_does_not_show")),
            ("536365", "85123A", "six", "2.55", Err("quantity_is_no_number")),
            ("536365", "85123A", "6.5", "2.55", Err("quantity_is_no_number")),
            ("536365", "85123A", "6.", "2.55", Err("quantity_is_no_number")),
            ("536365", "85123A", "6", "0.0", Err("price_is_zero_or_less")),
            ("536365", "85123A", "6", "0.001", Err("price_is_not_in_pence")),
            ("536365", "85123A", "6", "1000000000.01", Err("price_is_above_the_limit")),
            ("A563185", "85123A", "6", "1", Err("invoice_number_is_none")),
            ("", "85123A", "6", "1", Err("invoice_number_is_none")),
            ("536365", "85123A", "6000000", "1", Err("quantity_is_above_the_limit")),
        ] {
            assert_eq!(read(invoice, sku, quantity, price), expected, "{invoice} {sku} {quantity} {price}");
        }
        let customer = |customer: &str| row(2, ["1", "85123A", "6", DAY, "1", customer]).line.is_ok();
        assert!(customer("M\u{fc}ller") && customer("") && !customer(&"x".repeat(65)) && !customer("a\u{7}b"));
    }

    #[test]
    fn a_day_is_one_that_there_is() {
        for text in [
            "2010-12-01 08:26:00",
            "2010-12-01T08:26",
            "2010-12-01",
            "1/2/2011",
            "12/1/2010 8:26",
            "31/12/2010 23:59",
            "2012-02-29",
        ] {
            assert!(is_date(text), "{text}");
        }
        for text in [
            "",
            "2010-13-01",
            "2010-02-29",
            "yesterday!",
            "2010-12-01 25:00",
            "2010-12-01 8",
            "13/13/2010",
            "0000-00-00",
            "1/2/11",
            "2010-12-01 08:26:00:00",
            "++++-++-++",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_fields_are_a_row(fields in prop::array::uniform6(".{0,30}"), plain in prop::array::uniform6("[0-9C./: -]{0,25}")) {
            for fields in [&fields, &plain] {
                let row = row(2, [0, 1, 2, 3, 4, 5].map(|i| fields[i].as_str()));
                if let Ok(line) = row.line {
                    prop_assert!(line.quantity > 0 && line.unit_price > 0 && schemas::sku::is_one(&line.sku));
                }
            }
        }
    }
}
