//! What an import did.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde::Serialize;

/// The reason of rows whose order or cancel request the shop refused.
pub(crate) const REFUSED: &str = "the_shop_refused_it";
/// The reason of rows that were to cancel such an order.
pub(crate) const NO_ORDER: &str = "its_order_was_not_taken";

/// Lines named of each reason: enough to see what is wrong; all of them go to [`Options::refused`](crate::Options::refused).
const EXAMPLES: usize = 10;
/// Characters of the shop's words that are kept.
const WORDS: usize = 300;
/// Reasons that say that the file is damaged, rather than that a row is no sale of goods.
const DAMAGE: [&str; 5] =
    ["quote_is_not_closed", "quote_in_the_middle", "columns_missing", "columns_too_many", "line_is_too_long"];

/// Rows read, and what became of them.
#[derive(Default)]
pub struct Tally {
    /// All.
    pub read: u64,
    /// Became part of an order or a cancel request.
    pub taken: u64,
    /// The others, by reason.
    pub turned_away: BTreeMap<&'static str, u64>,
    /// Some of each reason.
    pub examples: BTreeMap<&'static str, Vec<Example>>,
    /// Where every one is written.
    list: Option<List>,
}

/// A file of refused lines, and the first error of it.
type List = (std::io::BufWriter<std::fs::File>, std::io::Result<()>);

/// A row that was turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Where it is in the file; 1 is the header.
    pub line: u64,
    /// What the shop said, if it was the shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

impl Tally {
    /// Writes every line that is turned away to `list`: number, reason and, if it was the shop, its words, with tabs between.
    #[must_use]
    pub fn listing(list: Option<std::fs::File>) -> Self {
        Self { list: list.map(|file| (std::io::BufWriter::new(file), Ok(()))), ..Self::default() }
    }

    /// Counts rows that are turned away.
    pub fn turn_away(&mut self, reason: &'static str, lines: impl IntoIterator<Item = u64>, words: Option<&str>) {
        let words =
            words.map(|words| words.chars().take(WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>());
        let (count, examples) = (self.turned_away.entry(reason).or_default(), self.examples.entry(reason).or_default());
        for line in lines {
            *count += 1;
            if examples.len() < EXAMPLES {
                examples.push(Example { line, words: words.clone() });
            }
            if let Some((file, Ok(()))) = &mut self.list {
                let done = writeln!(file, "{line}\t{reason}\t{}", words.as_deref().unwrap_or_default());
                if let (Err(error), Some(list)) = (done, &mut self.list) {
                    list.1 = Err(error);
                }
            }
        }
    }

    /// Ends the list.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn end(&mut self) -> std::io::Result<()> {
        match self.list.take() {
            Some((mut file, written)) => written.and_then(|()| file.flush()),
            None => Ok(()),
        }
    }
}

/// The account of an import. `lines = rows_read = rows_taken + rows_turned_away`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Account {
    /// Lines of the file after its header, counted by their ends and apart from what was read of them.
    pub lines: u64,
    /// Rows of the file.
    pub rows_read: u64,
    /// Rows that became part of an order or a cancel request.
    pub rows_taken: u64,
    /// Rows that did not.
    pub rows_turned_away: u64,
    /// Those, by reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// The first few lines of each reason.
    pub examples: BTreeMap<&'static str, Vec<Example>>,
    /// Kinds of goods received.
    pub skus: u64,
    /// Kinds of goods that the shop didn't take in, with what it said of the first few.
    pub skus_refused: u64,
    /// What it said of the first few.
    pub receipts_refused: Vec<String>,
    /// Prices that the shop was told.
    pub prices: u64,
    /// Orders placed.
    pub placed: u64,
    /// Orders that the shop didn't take.
    pub orders_refused: u64,
    /// Cancel requests that the data asked for.
    pub cancels_from_data: u64,
    /// Cancel requests added on purpose.
    pub cancels_scripted: u64,
    /// Cancel requests that were refused since the order had been rejected.
    pub cancels_refused: u64,
    /// Cancel requests that were refused since the order's parcel had left.
    pub cancels_late: u64,
    /// Requests that were sent again after trouble.
    pub retries: u64,
    /// Seconds from the first order to the last answer.
    pub seconds: f64,
}

impl Account {
    pub(crate) fn rows(&mut self, tally: &Tally) {
        self.rows_read = tally.read;
        self.rows_taken = tally.taken;
        self.rows_turned_away = tally.turned_away.values().sum();
        self.reasons.clone_from(&tally.turned_away);
        self.examples.clone_from(&tally.examples);
    }

    pub(crate) fn receipt_refused(&mut self, words: String) {
        self.skus_refused += 1;
        if self.receipts_refused.len() < EXAMPLES {
            self.receipts_refused.push(words.chars().take(WORDS).collect());
        }
    }

    /// Whether all that could be sales was taken: no line is damaged, and the shop refused nothing.
    pub fn is_whole(&self) -> bool {
        let damaged = DAMAGE.iter().any(|reason| self.reasons.contains_key(reason));
        let refused = self.reasons.contains_key(REFUSED) || self.reasons.contains_key(NO_ORDER);
        !damaged && !refused && self.skus_refused == 0
    }
}
