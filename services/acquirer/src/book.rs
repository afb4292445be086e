//! The state in memory: authorisations in the order they came, and the idempotency keys that are still remembered.
//!
//! **Invariant:** the book changes only by [`Book::apply`], with a [`Line`] that is (or is about to be) in the log; applying the log
//! from the start gives the same book.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::authorisation::{Authorisation, Currency, Operation, State, Status};

/// One line of the log: what an executed request left behind. Both parts or neither: a line is never half there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The authorisation as it became; absent where only the key is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorisation: Option<Authorisation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Remembered>,
}

/// An idempotency key, the request it stood for, and what was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remembered {
    pub key: Digest,
    pub request: Digest,
    pub at: Timestamp,
    pub operation: Operation,
    pub id: Uuid,
    pub state: State,
    pub updated_at: Timestamp,
}

/// The first 128 bits of a SHA-256: keys and requests are compared by it, and take the same room whatever their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 16]);

/// Counts and sums over all authorisations.
#[derive(Debug, Default, Serialize)]
pub struct Totals {
    pub authorisations: usize,
    pub references: usize,
    /// Merchant references with more than one record that was ever authorised (all but declined).
    pub duplicates: usize,
    /// Merchant references with more than one record that still holds or took money (authorised or captured).
    pub duplicates_live: usize,
    /// Idempotency keys remembered.
    pub keys: usize,
    pub by_status: BTreeMap<Status, StatusTotals>,
}

/// The part of the totals that has one status.
#[derive(Debug, Default, Serialize)]
pub struct StatusTotals {
    pub count: u64,
    pub sums: BTreeMap<Currency, Sums>,
}

/// Minor units of one currency.
#[derive(Debug, Default, Serialize)]
pub struct Sums {
    pub amount: u64,
    pub captured: u64,
    pub refunded: u64,
}

/// Authorisations and keys. Nothing is ever removed but keys past their retention.
pub struct Book {
    records: Vec<Authorisation>,
    by_id: HashMap<Uuid, usize>,
    by_reference: HashMap<Box<str>, Vec<usize>>,
    retention: SignedDuration,
    /// Keys, oldest first; the map holds each one's position counted from the first ever, `forgotten` of which are gone.
    keys: VecDeque<Remembered>,
    positions: HashMap<Digest, usize>,
    forgotten: usize,
}

// === impl Book ===

impl Book {
    pub fn new(retention: SignedDuration) -> Self {
        Self {
            records: Vec::new(),
            by_id: HashMap::new(),
            by_reference: HashMap::new(),
            retention,
            keys: VecDeque::new(),
            positions: HashMap::new(),
            forgotten: 0,
        }
    }

    pub fn apply(&mut self, line: Line) {
        if let Some(authorisation) = line.authorisation {
            self.put(authorisation);
        }
        if let Some(key) = line.key {
            self.positions.insert(key.key, self.forgotten + self.keys.len());
            self.keys.push_back(key);
        }
    }

    /// Drops the keys whose time is over.
    pub fn forget(&mut self, now: Timestamp) {
        while self.keys.front().is_some_and(|key| self.expired(key, now)) {
            let Some(gone) = self.keys.pop_front() else { break };
            // A key used again after its retention stands twice in the queue: the map points to the later one, which stays.
            if self.positions.get(&gone.key) == Some(&self.forgotten) {
                self.positions.remove(&gone.key);
            }
            self.forgotten += 1;
        }
    }

    /// What a key was used for. A clock that went back can leave an expired key behind a younger one: it is not found either.
    pub fn remembered(&self, key: &Digest, now: Timestamp) -> Option<&Remembered> {
        let position = self.positions.get(key)?.checked_sub(self.forgotten)?;
        self.keys.get(position).filter(|key| !self.expired(key, now))
    }

    pub fn find(&self, id: Uuid) -> Option<&Authorisation> {
        self.records.get(*self.by_id.get(&id)?)
    }

    /// All authorisations of a merchant reference, oldest first.
    pub fn of_reference<'a>(&'a self, reference: &str) -> impl Iterator<Item = &'a Authorisation> {
        let places = self.by_reference.get(reference).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.records.get(*place))
    }

    /// At most `limit` authorisations in the order they came, after that one (from the first, without one); whether more follow.
    /// `None`: there is no such authorisation.
    pub fn page(&self, after: Option<Uuid>, limit: usize) -> Option<(&[Authorisation], bool)> {
        let start = match after {
            Some(id) => self.by_id.get(&id)? + 1,
            None => 0,
        };
        let end = self.records.len().min(start.saturating_add(limit));
        Some((self.records.get(start..end)?, end < self.records.len()))
    }

    /// Walks over everything: for audits.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            authorisations: self.records.len(),
            references: self.by_reference.len(),
            keys: self.positions.len(),
            ..Totals::default()
        };
        for record in &self.records {
            let of_status = totals.by_status.entry(record.state.status()).or_default();
            of_status.count += 1;
            let sums = of_status.sums.entry(record.currency).or_default();
            sums.amount += record.amount;
            sums.captured += record.state.captured();
            sums.refunded += record.state.refunded();
        }
        for places in self.by_reference.values().filter(|places| places.len() > 1) {
            let statuses = || places.iter().filter_map(|p| Some(self.records.get(*p)?.state.status()));
            let approved = statuses().filter(|s| *s != Status::Declined).count();
            let live = statuses().filter(|s| matches!(s, Status::Authorised | Status::Captured)).count();
            totals.duplicates += usize::from(approved > 1);
            totals.duplicates_live += usize::from(live > 1);
        }
        totals
    }

    /// The fewest lines that give this book again.
    pub fn lines(&self) -> impl Iterator<Item = Line> {
        let records = self.records.iter().map(|record| Line { authorisation: Some(record.clone()), key: None });
        let keys = self.keys.iter().map(|key| Line { authorisation: None, key: Some(key.clone()) });
        records.chain(keys)
    }

    fn put(&mut self, authorisation: Authorisation) {
        if let Some(known) = self.by_id.get(&authorisation.id).and_then(|place| self.records.get_mut(*place)) {
            *known = authorisation;
            return;
        }
        let place = self.records.len();
        self.by_id.insert(authorisation.id, place);
        match self.by_reference.get_mut(&authorisation.merchant_reference) {
            Some(places) => places.push(place),
            None => {
                // One is the rule; a Vec that grows by itself starts at four.
                self.by_reference.insert(authorisation.merchant_reference.clone(), vec![place]);
            }
        }
        self.records.push(authorisation);
    }

    fn expired(&self, key: &Remembered, now: Timestamp) -> bool {
        now.duration_since(key.at) >= self.retention
    }
}

// === impl Digest ===

impl Digest {
    pub fn of(text: &str) -> Self {
        let mut first = [0; 16];
        first.iter_mut().zip(Sha256::digest(text.as_bytes())).for_each(|(to, from)| *to = from);
        Self(first)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        format!("{:032x}", u128::from_be_bytes(digest.0))
    }
}

impl TryFrom<String> for Digest {
    type Error = std::num::ParseIntError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(|number| Self(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests;
