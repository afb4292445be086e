//! The lines of a file, one by one, and the fields of each.
//!
//! **Invariant:** a line is a record. A quote that isn't closed ends with its line and spoils no other, and lines are counted as they
//! end, whatever is in them: so the account can be held against the file and not only against itself. The files that are
//! meant here break no field over two lines; one that does is refused line by line, with the numbers.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

/// Bytes of a line at most: fifty times the longest of the data set.
const LONGEST: usize = 16 * 1024;
/// A byte-order mark, which some programs put in front of all.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The file's bytes as they go by, for a progress bar.
pub type Seen = Arc<AtomicU64>;

struct Counting<R>(R, Seen);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Counts what comes out of the file, apart from whoever reads lines of it: ends of lines, and a digest of it all.
struct Whole<R> {
    bytes: R,
    ends: u64,
    last: u8,
    digest: Sha256,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.bytes.read(buffer)?;
        let read = &buffer[..n];
        self.ends += read.iter().filter(|b| **b == b'\n').count() as u64;
        self.last = read.last().copied().unwrap_or(self.last);
        self.digest.update(read);
        Ok(n)
    }
}

/// A file's lines after the first.
pub struct Lines {
    reader: BufReader<Whole<Box<dyn Read + Send>>>,
    /// The first line's fields.
    pub header: Vec<String>,
    number: u64,
    line: Vec<u8>,
}

/// A line as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// 1 is the header.
    pub number: u64,
    /// Its fields, as many as the header has, or why there are none.
    pub fields: Result<Vec<String>, &'static str>,
}

impl Lines {
    /// Opens a file, plain or gzip, and reads its header.
    ///
    /// # Errors
    /// When it can't be read, or is empty.
    pub fn open(path: &Path, seen: Seen) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let mut file = Counting(BufReader::with_capacity(1 << 16, file), seen);
        let mut magic = Vec::new();
        (&mut file).take(2).read_to_end(&mut magic).with_context(|| format!("reading {}", path.display()))?;
        let packed = magic == [0x1f, 0x8b];
        let whole = std::io::Cursor::new(magic).chain(file);
        Self::read(if packed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
            .with_context(|| format!("reading the first line of {}", path.display()))
    }

    fn read(bytes: Box<dyn Read + Send>) -> anyhow::Result<Self> {
        let whole = Whole { bytes, ends: 0, last: b'\n', digest: Sha256::new() };
        let mut lines =
            Self { reader: BufReader::with_capacity(1 << 16, whole), header: Vec::new(), number: 0, line: Vec::new() };
        let header = lines.next_line()?.context("it is empty")?;
        // A file with CR alone is one line, and would be an empty list of orders.
        let end = lines.line.strip_suffix(b"\n").unwrap_or(&lines.line);
        if end.strip_suffix(b"\r").unwrap_or(end).contains(&b'\r') {
            bail!("its lines end in CR alone, as old programs wrote them: save it with LF or CRLF as the end of a line");
        }
        match header.fields {
            Ok(fields) => lines.header = fields,
            Err(reason) => bail!("it can't be a header: {}", reason.replace('_', " ")),
        }
        Ok(lines)
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    /// When the file can't be read on; a gzip file that ends early is one of those.
    pub fn next_line(&mut self) -> anyhow::Result<Option<Line>> {
        self.line.clear();
        let limit = LONGEST as u64 + 1;
        let n = (&mut self.reader)
            .take(limit)
            .read_until(b'\n', &mut self.line)
            .with_context(|| format!("after line {}", self.number))?;
        if n == 0 {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        if self.line.len() > LONGEST && !self.line.ends_with(b"\n") {
            self.reader.skip_until(b'\n')?;
            return Ok(Some(Line { number, fields: Err("line_is_too_long") }));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if number == 1 { line.strip_prefix(MARK).unwrap_or(line) } else { line };
        let fields = fields(line).and_then(|fields| match (fields.len(), self.header.len()) {
            _ if number == 1 => Ok(fields),
            (is, must) if is < must => Err("columns_missing"),
            (is, must) if is > must => Err("columns_too_many"),
            _ => Ok(fields),
        });
        Ok(Some(Line { number, fields }))
    }

    /// Lines that the file has after its header, counted by their ends, and a digest of all of it. To be asked at the end.
    pub fn count(&self) -> (u64, String) {
        let whole = self.reader.get_ref();
        let lines = whole.ends + u64::from(whole.last != b'\n');
        let digest = whole.digest.clone().finalize();
        (lines.saturating_sub(1), digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The fields of a line, RFC 4180: separated by commas, and in double quotes where they hold one.
fn fields(line: &[u8]) -> Result<Vec<String>, &'static str> {
    if line.is_empty() {
        return Err("line_is_empty");
    }
    let text = String::from_utf8_lossy(line);
    let (mut fields, mut rest) = (Vec::new(), &*text);
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(inner) => quoted(inner)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("quote_in_the_middle"),
        }
    }
}

/// What is before the closing quote, and what is after it.
fn quoted(mut rest: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    loop {
        let end = rest.find('"').ok_or("quote_is_not_closed")?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &[u8]) -> anyhow::Result<(Vec<Line>, u64)> {
        let mut lines = Lines::read(Box::new(std::io::Cursor::new(text.to_vec())))?;
        let mut found = Vec::new();
        while let Some(line) = lines.next_line()? {
            found.push(line);
        }
        Ok((found, lines.count().0))
    }

    /// Guard: a line is a record. With a reader that lets a quote span lines, all that follows it is gone, or in another's columns.
    #[test]
    fn a_quote_that_is_not_closed_costs_its_line_alone() {
        let text = b"\xef\xbb\xbfa,b\r\n1,\"x, \"\"y\"\"\"\r\n2,\"open\n3,z\r\n\r\n4,\"q\"r\n5\n6,7,8\n9,\xff";
        let (lines, count) = all(text).unwrap();
        let found: Vec<_> =
            lines.iter().map(|line| (line.number, line.fields.as_ref().map(|f| f.join("|")).map_err(|e| *e))).collect();
        let expected: [(u64, Result<String, &str>); 8] = [
            (2, Ok("1|x, \"y\"".to_owned())),
            (3, Err("quote_is_not_closed")),
            (4, Ok("3|z".to_owned())),
            (5, Err("line_is_empty")),
            (6, Err("quote_in_the_middle")),
            (7, Err("columns_missing")),
            (8, Err("columns_too_many")),
            (9, Ok("9|\u{fffd}".to_owned())),
        ];
        assert_eq!(found, expected);
        assert_eq!(count, 8);
    }

    /// Guard: the look for CR in the first line. Without, all of the file is the header, and nothing is left to import.
    #[test]
    fn a_file_with_carriage_returns_alone_is_refused() {
        let rows = "1,2\r".repeat(LONGEST);
        for text in ["a,b\r1,2\r3,4\r", "a,b\r1,2\r\n", &format!("a,b\r{rows}")] {
            let refused = all(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("CR alone"), "{refused}");
        }
        assert_eq!(all(b"a,b\r\n1,2\r\n").unwrap().1, 1);
        assert_eq!(all(b"a,b\r").unwrap().1, 0);
    }

    #[test]
    fn what_is_no_file_of_lines_is_an_error_or_a_refused_line() {
        assert!(all(b"").unwrap_err().to_string().contains("it is empty"));
        let (lines, count) = all(format!("a\n{}\nb", "x".repeat(10 * LONGEST)).as_bytes()).unwrap();
        assert_eq!(
            (lines[0].fields.clone(), lines[1].fields.clone(), count),
            (Err("line_is_too_long"), Ok(vec!["b".to_owned()]), 2)
        );
    }

    proptest! {
        #[test]
        fn every_line_of_any_file_is_one_line_of_the_account(text in "[a,\"\r\n]{0,200}", bytes: Vec<u8>) {
            for text in [text.as_bytes(), &bytes[..], &[b"h\n", &bytes[..]].concat()] {
                let Ok((lines, count)) = all(text) else { continue };
                prop_assert_eq!(lines.len() as u64, count);
                let ends = text.split(|b| *b == b'\n').count() as u64;
                prop_assert_eq!(count + 1, if text.ends_with(b"\n") { ends - 1 } else { ends });
            }
        }
    }
}
