//! Fingerprints of a state's parts, one for each way in which interchangeable names can be exchanged.
//!
//! A state is known by the sum of its parts' fingerprints, so a step costs those parts that it changes. Two states that differ only in which of
//! two interchangeable names is which have the same fingerprints in another order; the least of them is that of both.
//!
//! An id that an input made is a hash, in which no name can be exchanged. In its place stands what it was made of.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{PoisonError, RwLock};

use uuid::Uuid;

/// A fingerprint for each way to exchange names; the first exchanges none.
pub(crate) type Prints = Box<[u64]>;

/// The ways to exchange names.
#[derive(Debug)]
pub(crate) struct Exchanges {
    ways: Vec<Vec<(String, String)>>,
    /// Ids of inputs that stand in events, and what they were made of.
    made: RwLock<HashMap<Uuid, String>>,
    /// Whether there are any: threads that only read don't wait for one another.
    any: AtomicBool,
}

/// Ways that are tried: of more names the worlds are too large anyway.
const MOST: usize = 720;

impl Exchanges {
    /// All ways to exchange the names within each group.
    pub fn of(groups: &[Vec<String>]) -> Self {
        let mut ways: Vec<Vec<(String, String)>> = vec![Vec::new()];
        for group in groups {
            let orders = orders(group.len());
            let mut more = Vec::with_capacity(ways.len() * orders.len());
            for order in &orders {
                for way in &ways {
                    let mut way = way.clone();
                    let pairs = order.iter().enumerate().filter(|(i, to)| *i != **to);
                    way.extend(pairs.map(|(i, to)| (group[i].clone(), group[*to].clone())));
                    more.push(way);
                }
            }
            assert!(
                more.len() <= MOST,
                "{} ways to exchange names are too many: declare fewer interchangeable names",
                more.len()
            );
            ways = more;
        }
        Self { ways, made: RwLock::default(), any: AtomicBool::new(false) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ways.len()
    }

    /// Of nothing.
    pub fn none(&self) -> Prints {
        vec![0; self.len()].into()
    }

    /// Of a part that is described by `text`.
    pub fn prints(&self, text: &str) -> Prints {
        if self.len() == 1 {
            return Box::new([hash(text)]);
        }
        let text = self.spelled(text);
        let plain = hash(&text);
        self.ways.iter().map(|way| exchanged(&text, way).map_or(plain, |text| hash(&text))).collect()
    }

    /// Notes that this id stands in an event, and what it was made of.
    pub fn learn(&self, id: Uuid, of: &str) {
        if self.made.read().unwrap_or_else(PoisonError::into_inner).contains_key(&id) {
            return;
        }
        let of = format!("<{}>", self.spelled(of));
        self.made.write().unwrap_or_else(PoisonError::into_inner).insert(id, of);
        self.any.store(true, Relaxed);
    }

    /// The text with what ids were made of in their place.
    fn spelled<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.any.load(Relaxed) {
            return Cow::Borrowed(text);
        }
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        let (mut out, mut done) = (String::new(), 0);
        for (hyphen, _) in text.match_indices('-') {
            let start = hyphen.wrapping_sub(8);
            let id = text.get(start..start.wrapping_add(36)).filter(|_| start >= done);
            if let Some(of) = id.and_then(|id| made.get(&Uuid::try_parse(id).ok()?)) {
                out.push_str(&text[done..start]);
                out.push_str(of);
                done = start + 36;
            }
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[done..]);
        Cow::Owned(out)
    }
}

/// All orders of so many.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for order in orders(n - 1) {
        for at in (0..n).rev() {
            let mut longer = order.clone();
            longer.insert(at, n - 1);
            all.push(longer);
        }
    }
    all
}

/// The text with names exchanged; none where there is none of them. A name within a longer word isn't one.
pub(crate) fn exchanged(text: &str, way: &[(String, String)]) -> Option<String> {
    let mut done = 0;
    let mut out = String::new();
    while let Some((at, from, to)) = first(text, done, way) {
        out.reserve(text.len());
        out.push_str(&text[done..at]);
        out.push_str(to);
        done = at + from.len();
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}

fn first<'a>(text: &str, after: usize, way: &'a [(String, String)]) -> Option<(usize, &'a str, &'a str)> {
    let found = way.iter().filter(|(from, _)| !from.is_empty()).filter_map(|(from, to)| {
        let at = text[after..].match_indices(from.as_str()).map(|(at, _)| after + at).find(|at| is_whole(text, *at, from))?;
        Some((at, from.as_str(), to.as_str()))
    });
    found.min_by_key(|(at, from, _)| (*at, usize::MAX - from.len()))
}

/// Whether what stands there is a name of its own, and no part of a longer word.
fn is_whole(text: &str, at: usize, name: &str) -> bool {
    let goes_on = |a: Option<char>, b: Option<char>| [a, b].iter().all(|c| c.is_some_and(char::is_alphanumeric));
    let end = at + name.len();
    let begins = goes_on(text[..at].chars().next_back(), name.chars().next());
    let ends = goes_on(name.chars().next_back(), text[end..].chars().next());
    !begins && !ends
}

/// Mixed well, since they are added up.
pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Adds a part.
pub(crate) fn add(sum: &mut Prints, part: &Prints) {
    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum = sum.wrapping_add(*part));
}

/// Takes a part away.
pub(crate) fn take(sum: &mut Prints, part: &Prints) {
    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum = sum.wrapping_sub(*part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_by_a_name_has_the_same_prints_in_another_order() {
        let two = Exchanges::of(&[vec!["o1".to_owned(), "o2".to_owned()]]);
        let (a, b) = (two.prints("row o1 of o2"), two.prints("row o2 of o1"));
        assert_eq!((a[0], a[1]), (b[1], b[0]));
        assert_ne!(a[0], a[1]);
        let none = two.prints("row x");
        assert_eq!(none[0], none[1]);
        assert_eq!(Exchanges::of(&[vec!["a".into(), "b".into(), "c".into()], vec!["x".into(), "y".into()]]).len(), 12);
    }

    #[test]
    fn names_within_names_are_exchanged_whole() {
        let way = [("o1".to_owned(), "o11".to_owned()), ("o11".to_owned(), "o1".to_owned())];
        assert_eq!(exchanged("o1 o11 o2", &way).as_deref(), Some("o11 o1 o2"));
        assert_eq!(exchanged("x", &way), None);
        let way = [("a".to_owned(), "b".to_owned()), ("b".to_owned(), "a".to_owned())];
        assert_eq!(exchanged("table a of b, a/b", &way).as_deref(), Some("table b of a, b/a"));
        assert_eq!(exchanged("table", &way), None);
    }
}
