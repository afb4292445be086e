//! Reading rows, and turning away those that can't be an order's line.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;

/// A row that can be a line of an order, or of a cancellation (then the quantity counts what is returned).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
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
    /// Invoice number without its `C`.
    pub invoice: String,
    /// Whether it is a cancellation.
    pub cancels: bool,
    /// Customer number; none in a quarter of the rows.
    pub customer: Option<String>,
    /// The line, or the reason why the row is turned away.
    pub line: Result<Line, &'static str>,
}

/// The file's bytes as they go by, for a progress bar.
pub type Seen = std::sync::Arc<std::sync::atomic::AtomicU64>;

struct Counting<R>(R, Seen);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.fetch_add(n as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(n)
    }
}

/// The columns that the file must have, in any order.
const COLUMNS: [&str; 6] = ["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"];

/// The rows of a file, plain or gzip.
///
/// # Errors
/// When it can't be opened or lacks a column. A row that can't be read is a row that is turned away; a gzip stream that ends
/// early is an error.
pub fn open(path: &Path, seen: Seen) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Row>> + Send> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut file = Counting(BufReader::with_capacity(1 << 16, file), seen);
    let mut magic = [0u8; 2];
    let n = file.read(&mut magic).with_context(|| format!("reading {}", path.display()))?;
    let whole = std::io::Cursor::new(magic[..n].to_vec()).chain(file);
    let bytes: Box<dyn Read + Send> = if magic == [0x1f, 0x8b] { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.byte_headers().with_context(|| format!("reading the header of {}", path.display()))?.clone();
    let mut at = [0usize; 6];
    for (at, column) in at.iter_mut().zip(COLUMNS) {
        *at = header
            .iter()
            .position(|name| name.strip_prefix("\u{feff}".as_bytes()).unwrap_or(name) == column.as_bytes())
            .with_context(|| format!("{} has no column {column}; it must have {}", path.display(), COLUMNS.join(", ")))?;
    }
    let path = path.to_owned();
    Ok(reader.into_byte_records().map(move |record| {
        let record = record.with_context(|| format!("reading {}", path.display()))?;
        let field = |i: usize| record.get(at[i]).map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        let fields = [0, 1, 2, 3, 4, 5].map(field);
        Ok(row(fields))
    }))
}

fn row([invoice, sku, quantity, date, price, customer]: [Option<String>; 6]) -> Row {
    let number = invoice.unwrap_or_default();
    let (cancels, invoice) = match number.strip_prefix('C') {
        Some(rest) => (true, rest.to_owned()),
        None => (false, number),
    };
    let line = line(&invoice, cancels, sku, quantity, date, price);
    // The data set writes customers as numbers with a decimal: 17850.0.
    let customer = customer.map(|c| c.trim_end_matches(".0").to_owned()).filter(|c| !c.is_empty());
    Row { invoice, cancels, customer, line }
}

fn line(
    invoice: &str,
    cancels: bool,
    sku: Option<String>,
    quantity: Option<String>,
    date: Option<String>,
    price: Option<String>,
) -> Result<Line, &'static str> {
    let (Some(sku), Some(quantity), Some(date), Some(price)) = (sku, quantity, date, price) else {
        return Err("columns_missing");
    };
    if invoice.is_empty() || !invoice.bytes().all(|b| b.is_ascii_digit()) {
        return Err("invoice_number_is_none");
    }
    if date.len() < 10 {
        return Err("date_is_none");
    }
    if !is_goods(&sku) {
        return Err("stock_code_is_no_goods");
    }
    let quantity: i64 = quantity.parse().map_err(|_| "quantity_is_no_number")?;
    let quantity = if cancels { quantity.checked_neg().ok_or("quantity_is_no_number")? } else { quantity };
    if quantity <= 0 {
        return Err(if cancels { "cancellation_of_nothing" } else { "quantity_is_zero_or_less" });
    }
    if quantity > 1_000_000 {
        return Err("quantity_is_above_the_limit");
    }
    match pence(&price) {
        Some(unit_price) if unit_price > 0 => Ok(Line { sku, quantity, unit_price }),
        Some(_) => Err("price_is_zero_or_less"),
        None => Err("price_is_not_in_pence"),
    }
}

/// Goods have codes that begin with five digits, or are gift vouchers and the `DCGS` range; the others are postage, fees,
/// discounts, samples and corrections.
fn is_goods(sku: &str) -> bool {
    let digits = sku.bytes().take_while(u8::is_ascii_digit).count();
    sku.len() <= 64 && (digits >= 5 || sku.starts_with("DCGS") || sku.starts_with("gift_"))
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

    #[test]
    fn a_row_is_taken_or_turned_away_for_a_reason() {
        let read = |invoice: &str, sku: &str, quantity: &str, price: &str| {
            row([invoice, sku, quantity, "2010-12-01 08:26:00", price, "17850.0"].map(|s| Some(s.to_owned())))
                .line
                .map(|l| l.quantity)
        };
        for (invoice, sku, quantity, price, expected) in [
            ("536365", "85123A", "6", "2.55", Ok(6)),
            ("C536379", "85123A", "-6", "2.55", Ok(6)),
            ("536365", "85123A", "0", "2.55", Err("quantity_is_zero_or_less")),
            ("536365", "85123A", "-6", "2.55", Err("quantity_is_zero_or_less")),
            ("C536379", "85123A", "6", "2.55", Err("cancellation_of_nothing")),
            ("536365", "POST", "1", "18.0", Err("stock_code_is_no_goods")),
            ("536365", "85123A", "six", "2.55", Err("quantity_is_no_number")),
            ("536365", "85123A", "6", "0.0", Err("price_is_zero_or_less")),
            ("536365", "85123A", "6", "0.001", Err("price_is_not_in_pence")),
            ("A563185", "85123A", "6", "1", Err("invoice_number_is_none")),
            ("", "85123A", "6", "1", Err("invoice_number_is_none")),
            ("536365", "85123A", "6000000", "1", Err("quantity_is_above_the_limit")),
        ] {
            assert_eq!(read(invoice, sku, quantity, price), expected, "{invoice} {sku} {quantity} {price}");
        }
        assert_eq!(row([const { None }; 6]).line, Err("columns_missing"));
    }
}
