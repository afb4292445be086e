//! Applies the chain rule to a batch: what is new, what repeats, where the chain is broken. Pure.

use crate::consume::intake::older::Older;
use crate::consume::intake::position::Position;
use crate::ground::text::brief;
use crate::parking::Fault;
use crate::wire::chain::{Head, Link, Verdict};
use crate::wire::record::Record;

/// Sources of one partition. A topic has one or a few; each costs memory, and bytes in every position. Records of further ones park, so
/// that who writes under forged names stops nobody: the service that the topic is named after always has a place.
pub(super) const SOURCES: usize = 64;

/// A record that passed the chain rule.
pub struct Item {
    pub record: Record,
    /// The head of its source's chain once it is applied, if it is in one.
    pub head: Option<Head>,
    /// Why it parks, whatever it says.
    pub fault: Option<Fault>,
}

/// What is new in a batch, up to a broken link.
pub struct Judged {
    /// In order.
    pub items: Vec<Item>,
    /// The offset after the last record that is settled: it is among the items, or was applied before.
    pub passed: i64,
    /// Records that were applied before under another offset.
    pub repeated: u64,
    /// Records of older lineages, and the last of them.
    pub older: (u64, Option<Older>),
    /// Where the chain is broken; what comes after isn't looked at.
    pub broken: Option<Broken>,
}

/// A record that isn't the next of its source's chain.
pub struct Broken {
    pub record: Record,
    pub link: Link,
    pub verdict: Verdict,
    /// The last that was applied of its source.
    pub head: Option<Head>,
}

/// Drops what was applied before `after`; gives the rest, with what their chains' heads are behind each.
pub fn judge(topic: &str, mut after: Position, batch: Vec<Record>) -> Judged {
    let mut judged =
        Judged { items: Vec::with_capacity(batch.len()), passed: after.next_offset, repeated: 0, older: (0, None), broken: None };
    for record in batch {
        if record.offset < after.next_offset {
            continue;
        }
        let (mut next, mut fault) = (None, None);
        // A damaged header says nothing of its place: the record is taken as one that can't be read, and the chain shows
        // at the next record whether something is missing.
        if let Ok(Some((source, link))) = record.link() {
            let head = after.heads.get(source).copied();
            match after.judge(source, &link) {
                Verdict::Apply if head.is_none() && after.heads.len() >= SOURCES && !names(topic, source) => {
                    let reason = format!(
                        "its source {} is one too many: {SOURCES} sources are tracked in this partition; check who writes to \
                         the topic",
                        brief(source)
                    );
                    fault = Some(Fault { reason, transient: false });
                }
                Verdict::Apply => next = Some(Head { place: link.place, previous: link.previous }),
                Verdict::Drop => {
                    match head.map(|head| head.place).filter(|head| link.place.lineage < head.lineage) {
                        Some(head) => judged.older = (judged.older.0 + 1, Some(Older::new(&record, source, link.place, head))),
                        None => judged.repeated += 1,
                    }
                    judged.passed = record.offset + 1;
                    continue;
                }
                verdict => {
                    judged.broken = Some(Broken { record, link, verdict, head });
                    return judged;
                }
            }
        }
        after.pass(&record, next);
        judged.passed = after.next_offset;
        judged.items.push(Item { record, head: next, fault });
    }
    judged
}

/// Whether `topic`, which may have a prefix, is that of the service that publishes as `source`.
pub(super) fn names(topic: &str, source: &str) -> bool {
    source.strip_prefix("/farandole/").is_some_and(|service| !service.is_empty() && topic.ends_with(service))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::Header;

    /// A record at `offset` of `source` with a number, and the one before it.
    fn record(offset: i64, source: &str, (number, previous): (i64, Option<i64>)) -> Record {
        let before = previous.map_or_else(|| "-".to_owned(), |number| format!("1:{number}"));
        let link = format!("l=1;n={number};p={before};c=test;k={};i=1/1", uuid::Uuid::nil());
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        let headers = vec![header("ce_source", source), header("farandole", &link)];
        Record { topic: "orders".to_owned(), partition: 0, offset, key: None, value: None, headers }
    }

    fn offsets(judged: &Judged) -> Vec<i64> {
        judged.items.iter().map(|item| item.record.offset).collect()
    }

    /// Guard: the whole rule on a batch. Without it repetitions take effect twice and losses pass unseen.
    #[test]
    fn what_repeats_is_dropped_and_what_is_missing_ends_the_batch() {
        let (s, t) = ("/farandole/orders", "/farandole/other");
        let first = || vec![record(0, s, (1, None)), record(1, t, (7, None)), record(2, s, (2, Some(1)))];
        let judged = judge("orders", Position::default(), first());
        assert_eq!((offsets(&judged), judged.passed, judged.repeated), (vec![0, 1, 2], 3, 0));
        assert!(judged.broken.is_none());

        let mut stands = Position::default();
        for item in &judged.items {
            stands.pass(&item.record, item.head);
        }
        let again = judge("orders", stands.clone(), first());
        assert_eq!((offsets(&again), again.passed, again.repeated), (vec![], 3, 0), "by their offsets");
        let repeated = vec![record(3, s, (2, Some(1))), record(4, s, (3, Some(2))), record(5, s, (3, Some(2)))];
        let judged = judge("orders", stands.clone(), repeated);
        assert_eq!((offsets(&judged), judged.passed, judged.repeated), (vec![4], 6, 2), "by their numbers");

        let gap = vec![record(3, s, (3, Some(2))), record(4, t, (9, Some(8))), record(5, s, (4, Some(3)))];
        let judged = judge("orders", stands.clone(), gap);
        assert_eq!((offsets(&judged), judged.passed), (vec![3], 4), "what comes after a gap waits");
        let broken = judged.broken.unwrap();
        assert_eq!(
            (broken.record.offset, broken.verdict, broken.head.map(|head| head.place.number)),
            (4, Verdict::Ahead, Some(7))
        );
        let judged = judge("orders", stands.clone(), vec![record(3, s, (3, Some(1)))]);
        assert_eq!(judged.broken.unwrap().verdict, Verdict::Fork);

        let mut healed = record(3, s, (2, Some(2)));
        healed.headers[1].value = healed.headers[1].value.replace("l=1;", "l=2;");
        let judged = judge("orders", stands, vec![healed, record(4, s, (3, Some(2))), record(5, s, (4, Some(3)))]);
        assert_eq!((offsets(&judged), judged.passed, judged.repeated, judged.older.0), (vec![3], 6, 0, 2), "by their lineage");
    }

    /// Guard: a bound on sources, with a place for the one that the topic is named after. Without it positions grow with whoever writes.
    #[test]
    fn sources_beyond_the_bound_park_but_for_the_topics_own() {
        let many = (0..).take(SOURCES + 1).map(|n| record(n, &format!("/farandole/s{n}"), (1, None)));
        let own = record(100, "/farandole/orders", (1, None));
        let judged = judge("shop.orders", Position::default(), many.chain([own]).collect());
        let faults: Vec<i64> = judged.items.iter().filter(|i| i.fault.is_some()).map(|i| i.record.offset).collect();
        assert_eq!((faults, judged.items.len(), judged.broken.is_none()), (vec![SOURCES as i64], SOURCES + 2, true));
    }
}
