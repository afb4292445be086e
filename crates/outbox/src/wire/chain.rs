//! The chain: every record names its own number and that of the record before it in its partition.
//!
//! A consumer keeps the head of each source's chain in each partition, in the transaction that applies the record. A record
//! that is there already is dropped; a record whose predecessor is missing stops the partition. So a lost event is noticed at
//! the next one, and de-duplication costs one number a partition, not a row a message.
//!
//! **Assumption:** a source's numbers grow with each record within a lineage, and the relay gives a row the same number each time
//! it sends it. Without the first, a stale record would be accepted as new; without the second, a crash would apply an event
//! twice.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A place in a source's history: its lineage, and its number within that. Places are ordered as they follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// One unbroken history of a service's numbers.
    pub lineage: i64,
    /// Service-wide number, growing within a lineage.
    pub number: i64,
}

impl Place {
    /// Whether a chain can go on behind it. No service comes this far by itself: a record that has was written by somebody else.
    pub fn leaves_room(self) -> bool {
        self.lineage <= CONTINUED && self.number <= CONTINUED
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.lineage, self.number)
    }
}

/// The `farandole` header.
///
/// `l=<lineage>;n=<number>;p=<lineage>:<number>` (or `p=-` for the first of a partition)
/// `;c=<cause>;k=<correlation id>;i=<i>/<n>` and, for a command's events, `;cmd=<scope>,<key>,<body hash>`.
/// `;`, `%` and `,` inside a value are percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// This record.
    pub place: Place,
    /// The record before it in its partition, if any.
    pub previous: Option<Place>,
    /// What led to it: `topic/partition/offset`, `command/<id>`, and for tasks `deadline/<name>/<id of the event that opened it>` or
    /// `outcome/…`; builds before the second kit migration wrote no id.
    pub cause: String,
    /// Shared by everything that one first command led to.
    pub correlation: Uuid,
    /// This is event `of.0` of the `of.1` that one input gave; from 1.
    pub of: (i16, i16),
    /// The idempotency scope, key and body hash of the command that led to it.
    pub command: Option<String>,
}

/// A `farandole` header that isn't one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header `farandole`: field `{field}` is {fault} in {header:?}")]
pub struct Malformed {
    field: &'static str,
    fault: &'static str,
    header: String,
}

/// The greatest lineage and number that are taken: beyond it there would be no room to count on, and who continues a chain that
/// a stranger has begun counts on.
const FURTHEST: i64 = i64::MAX - (1 << 40);
/// The greatest that a heal continues. Behind it as many follow as a service gives in 34 years at a thousand a second; a chain that goes
/// on from [`FURTHEST`] itself would end with its next record, which nobody could read.
const CONTINUED: i64 = FURTHEST - (1 << 40);

impl Link {
    /// Reads the header.
    ///
    /// # Errors
    /// Names the field that is missing or wrong.
    pub fn parse<'a>(header: &'a str) -> Result<Self, Malformed> {
        // One pass: a header is read for every record.
        let (mut l, mut n, mut p, mut c, mut k, mut i, mut cmd) = (None, None, None, None, None, None, None);
        for (name, value) in header.split(';').filter_map(|part| part.split_once('=')) {
            let field = match name {
                "l" => &mut l,
                "n" => &mut n,
                "p" => &mut p,
                "c" => &mut c,
                "k" => &mut k,
                "i" => &mut i,
                "cmd" => &mut cmd,
                _ => continue, // a later version's
            };
            field.get_or_insert(value);
        }
        let malformed = |field, fault| Malformed { field, fault, header: header.chars().take(200).collect() };
        let there = |name, field: Option<&'a str>| field.ok_or_else(|| malformed(name, "missing"));
        // Digits alone: `parse` takes a sign as well, which no checker that was written from the documents does.
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let number = |name, text: &str| match text.parse::<i64>() {
            Ok(n) if n <= FURTHEST && digits(text) => Ok(n),
            _ => Err(malformed(name, "no number")),
        };
        let place = Place { lineage: number("l", there("l", l)?)?, number: number("n", there("n", n)?)? };
        let previous = match there("p", p)? {
            "-" => None,
            text => {
                let (lineage, n) = text.split_once(':').ok_or_else(|| malformed("p", "no place"))?;
                Some(Place { lineage: number("p", lineage)?, number: number("p", n)? })
            }
        };
        // With its hyphens, which make 36 characters; `parse_str` takes other forms too.
        let correlation = Uuid::parse_str(there("k", k)?).ok().filter(|_| k.is_some_and(|k| k.len() == 36));
        let correlation = correlation.ok_or_else(|| malformed("k", "no uuid"))?;
        let (i, n) = there("i", i)?.split_once('/').ok_or_else(|| malformed("i", "no fraction"))?;
        let of = match (i.parse(), n.parse()) {
            (Ok(a), Ok(b)) if 1 <= a && a <= b && digits(i) && digits(n) => (a, b),
            _ => return Err(malformed("i", "no fraction")),
        };
        Ok(Self { place, previous, cause: unescape(there("c", c)?), correlation, of, command: cmd.map(str::to_owned) })
    }
}

/// Percent-encodes what would end a value of the `farandole` header.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ';' | '%' | ',' | '\0'..='\u{1f}' => {
                let _ = write!(out, "%{:02X}", c as u32); // writing to a String can't fail
            }
            c => out.push(c),
        }
    }
    out
}

/// Undoes [`escape`]; leaves alone what isn't an escape.
pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        match hex(rest.get(at + 1..at + 3)).filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Two hexadecimal digits; `from_str_radix` takes a sign too.
fn hex(digits: Option<&str>) -> Option<u8> {
    let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// What the chain rule says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next: apply it.
    Apply,
    /// It was applied before, or belongs to an older lineage: drop it.
    Drop,
    /// Its predecessor hasn't been seen.
    Ahead,
    /// Two histories: it is new and names a predecessor before the head, or it isn't the head and belongs after the head's
    /// predecessor.
    Fork,
    /// The first record seen of this source names a predecessor.
    NoStart,
}

/// The last record applied of a source, and what it named as the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The record.
    pub place: Place,
    /// The record before it.
    pub previous: Option<Place>,
}

/// The chain rule, for one partition and source.
pub fn judge(head: Option<Head>, place: Place, previous: Option<Place>) -> Verdict {
    let Some(Head { place: head, previous: before }) = head else {
        return if previous.is_none() { Verdict::Apply } else { Verdict::NoStart };
    };
    if place == head && previous == before {
        return Verdict::Drop;
    }
    if place.lineage == head.lineage && place <= head && before.is_none_or(|before| before < place) {
        // Nothing lies between a record and its predecessor, so either this one or the head is forged; if it is the head, with
        // too high a number, then dropping this one would drop every true record after it, too.
        return Verdict::Fork;
    }
    if place <= head {
        return Verdict::Drop;
    }
    match previous {
        Some(p) if p == head => Verdict::Apply,
        Some(p) if p > head => Verdict::Ahead,
        _ => Verdict::Fork,
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    /// The predecessor of every head here.
    const BEFORE: Place = Place { lineage: 1, number: 5 };

    fn at(lineage: i64, number: i64) -> Place {
        Place { lineage, number }
    }

    #[test]
    fn the_rule() {
        let cases = [
            ("the first", None, at(1, 7), None, Verdict::Apply),
            ("a first that names a predecessor", None, at(1, 7), Some(at(1, 3)), Verdict::NoStart),
            ("the next", Some(at(1, 7)), at(1, 9), Some(at(1, 7)), Verdict::Apply),
            ("the same again", Some(at(1, 7)), at(1, 7), Some(BEFORE), Verdict::Drop),
            ("the head's number after another record", Some(at(1, 7)), at(1, 7), Some(at(1, 6)), Verdict::Fork),
            ("one between the head and its predecessor", Some(at(1, 9)), at(1, 8), Some(at(1, 7)), Verdict::Fork),
            ("an older one", Some(at(1, 7)), at(1, 3), None, Verdict::Drop),
            ("a second successor of the head's predecessor", Some(at(1, 7)), at(1, 6), Some(BEFORE), Verdict::Fork),
            ("a ghost of an older lineage", Some(at(2, 7)), at(1, 9), Some(BEFORE), Verdict::Drop),
            ("one too far", Some(at(1, 7)), at(1, 12), Some(at(1, 9)), Verdict::Ahead),
            ("a fork", Some(at(1, 7)), at(1, 9), Some(at(1, 3)), Verdict::Fork),
            ("a second beginning", Some(at(1, 7)), at(1, 9), None, Verdict::Fork),
            ("a new lineage that continues", Some(at(1, 7)), at(2, 1), Some(at(1, 7)), Verdict::Apply),
            ("a new lineage from before", Some(at(1, 7)), at(2, 1), Some(at(1, 3)), Verdict::Fork),
            ("an old lineage", Some(at(2, 1)), at(1, 9), Some(at(1, 7)), Verdict::Drop),
            ("a later one of a new lineage", Some(at(1, 7)), at(2, 5), Some(at(2, 1)), Verdict::Ahead),
        ];
        for (what, head, place, previous, verdict) in cases {
            let head = head.map(|place| Head { place, previous: Some(BEFORE) });
            assert_eq!(judge(head, place, previous), verdict, "{what}");
        }
    }

    #[test]
    fn the_header_reads_back() {
        let k = Uuid::nil();
        let link = Link::parse(&format!("l=1;n=42;p=1:40;c=a%3Bb/0/7;k={k};i=1/2;cmd=s,k,h")).unwrap();
        assert_eq!((link.place, link.previous, link.cause.as_str(), link.of), (at(1, 42), Some(at(1, 40)), "a;b/0/7", (1, 2)));
        assert_eq!(link.command.as_deref(), Some("s,k,h"));
        assert_eq!(Link::parse(&format!("l=1;n=1;p=-;c=x;k={k};i=1/1")).unwrap().previous, None);
    }

    #[test]
    fn damage_names_the_field() {
        let k = Uuid::nil();
        for (header, field) in [
            (String::new(), "l"),
            (format!("l=x;n=1;p=-;c=x;k={k};i=1/1"), "l"),
            (format!("l=1;n=-4;p=-;c=x;k={k};i=1/1"), "n"),
            (format!("l=1;n=+4;p=-;c=x;k={k};i=1/1"), "n"),
            (format!("l=1;n=1;p=1:+1;c=x;k={k};i=1/1"), "p"),
            (format!("l=1;n=1;p=-;c=x;k={};i=1/1", k.simple()), "k"),
            (format!("l=1;n=1;p=-;c=x;k={k};i=+1/1"), "i"),
            (format!("l=1;n=99999999999999999999;p=-;c=x;k={k};i=1/1"), "n"),
            (format!("l=1;n=1;p=7;c=x;k={k};i=1/1"), "p"),
            ("l=1;n=1;p=-;c=x;k=no;i=1/1".to_owned(), "k"),
            (format!("l=1;n=1;p=-;c=x;k={k};i=2/1"), "i"),
            (format!("l=1;n=1;p=-;c=x;k={k};i=1"), "i"),
        ] {
            assert_eq!(Link::parse(&header).unwrap_err().field, field, "{header}");
        }
    }

    #[test]
    fn what_is_read_and_what_is_continued() {
        let k = Uuid::nil();
        let read = |l: i64, n: i64| Link::parse(&format!("l={l};n={n};p=-;c=x;k={k};i=1/1")).ok().map(|link| link.place);
        assert_eq!(read(1, FURTHEST + 1), None);
        for (lineage, number, continues) in
            [(1, FURTHEST, false), (FURTHEST, 1, false), (1, CONTINUED + 1, false), (CONTINUED, CONTINUED, true)]
        {
            let place = read(lineage, number).unwrap();
            assert_eq!(place.leaves_room(), continues, "{place}");
        }
        // What follows the last that is continued is read.
        assert!(read(CONTINUED + 1, CONTINUED + 1).is_some());
    }

    #[test]
    fn escapes_come_back() {
        for text in ["", "plain", "a;b%c,d", "%", "%4", "%zz", "%+1", "ü;%ü", "%25%3B"] {
            assert_eq!(unescape(&escape(text)), text);
        }
        assert_eq!(unescape("%+1%3B"), "%+1;", "a sign is no digit");
    }
}
