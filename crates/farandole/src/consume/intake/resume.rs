//! A position set to where the reader already is, or shortly ahead: the chains' heads are kept.
//!
//! **Why.** Who passes over one stranger's record says nothing of the others in that partition. Without their heads a relay's repetition
//! of what was applied would pass as new, and take effect twice. So the records from the stored position on are looked at as the reader
//! does it: what is passed over and is the next of its chain moves its head; a repetition, a stray or a forgery moves none. Only the source
//! of the record that is to be taken, although the chain rule refuses it, begins anew there.
//!
//! **How it fails.** A record that was passed over wrongly, which the next of its source names as the one before it, stops the partition
//! there once more, with words: a second question is better than an event that takes effect twice.

use std::ops::ControlFlow;

use crate::consume::intake::judge::{SOURCES, names};
use crate::consume::intake::position::Position;
use crate::wire::chain::{Head, Link, Verdict};
use crate::wire::extent::{self, Client, Extent};
use crate::wire::record::Record;

/// Offsets that are looked at, at most. A reader's stored position may be some seconds behind the record that it stands at.
const FAR: i64 = 100_000;

/// The records between a reader's position and where it is set to, as far as they are in chains; the last is the one read next, if it is.
#[derive(Debug)]
pub(super) struct Stretch {
    from: i64,
    links: Vec<(i64, String, Link)>,
}

impl Stretch {
    /// Reads it from `whole`, the partition's extent; none when `to` is elsewhere, or the beginning of the stretch has expired.
    pub fn read(client: &Client, whole: Extent, from: i64, to: i64) -> Result<Option<Self>, extent::Error> {
        if !(from..=from.saturating_add(FAR)).contains(&to) || from < whole.low {
            return Ok(None);
        }
        let mut stretch = Self { from, links: Vec::new() };
        client.each(&[Extent { low: from, ..whole }], |record: Record| {
            if let Ok(Some((source, link))) = record.link() {
                stretch.links.push((record.offset, source.to_owned(), link));
            }
            // `to` may be no record's: then the first behind it is the one read next.
            Ok::<_, extent::Error>(record.offset < to)
        })?;
        Ok(Some(stretch))
    }

    /// `position` set to `to`; none when it isn't in this stretch.
    pub fn resume(&self, mut position: Position, topic: &str, to: i64) -> Option<Position> {
        if !(self.from..=to).contains(&position.next_offset) {
            return None;
        }
        let links = self.links.iter().filter(|(offset, ..)| *offset >= position.next_offset);
        let links: Vec<_> = links.collect();
        for (offset, source, link) in links {
            let step = if *offset < to { pass(&mut position, topic, source, link) } else { take(&mut position, source, link) };
            if step.is_break() {
                break;
            }
        }
        position.reach(to);
        Some(position)
    }
}

fn pass(position: &mut Position, topic: &str, source: &str, link: &Link) -> ControlFlow<()> {
    match position.judge(source, link) {
        // As the reader does it: it parks records of further sources.
        Verdict::Apply if position.heads.contains_key(source) || position.heads.len() < SOURCES || names(topic, source) => {
            position.lead(source, Head { place: link.place, previous: link.previous });
        }
        // Nothing of that source was applied, so nothing of it can be applied twice.
        Verdict::NoStart if position.midway_of.len() < SOURCES => drop(position.midway_of.insert(source.to_owned())),
        _ => {}
    }
    ControlFlow::Continue(())
}

fn take(position: &mut Position, source: &str, link: &Link) -> ControlFlow<()> {
    if matches!(position.judge(source, link), Verdict::Ahead | Verdict::Fork | Verdict::NoStart) {
        position.heads.remove(source);
        position.midway_of.insert(source.to_owned());
    }
    ControlFlow::Break(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chain::Place;

    fn link(number: i64, previous: Option<i64>) -> Link {
        let at = |number| Place { lineage: 1, number };
        let cause = "test".to_owned();
        Link { place: at(number), previous: previous.map(at), cause, correlation: uuid::Uuid::nil(), of: (1, 1), command: None }
    }

    /// At offset 2, after `s` 1 and 2 and `t` 7 were applied.
    fn stands() -> Position {
        let mut position = Position { next_offset: 2, topic_id: Some("id".to_owned()), ..Position::default() };
        for (source, link) in [("s", link(2, Some(1))), ("t", link(7, None))] {
            position.lead(source, Head { place: link.place, previous: link.previous });
        }
        position
    }

    fn set(records: &[(&str, Link)], to: i64) -> Position {
        let links = (2..).zip(records).map(|(offset, (source, link))| (offset, (*source).to_owned(), link.clone())).collect();
        Stretch { from: 2, links }.resume(stands(), "orders", to).unwrap()
    }

    /// Guard: the heads of other sources, and of who was forged, stay. Without, a repetition passes as new.
    #[test]
    fn what_is_passed_over_leaves_the_chains_as_they_are() {
        let strays = [
            ("a stranger's, from nowhere", ("x", link(9, Some(8)))),
            ("a gap", ("s", link(9, Some(8)))),
            ("a fork", ("s", link(4, Some(1)))),
            ("a repetition", ("s", link(1, None))),
        ];
        for (what, stray) in strays {
            let after = set(&[stray, ("t", link(8, Some(7)))], 3);
            assert_eq!((after.next_offset, &after.topic_id, after.midway), (3, &Some("id".to_owned()), false), "{what}");
            assert_eq!(after.heads, stands().heads, "{what}");
            assert_eq!(after.judge("s", &link(2, Some(1))), Verdict::Drop, "{what}");
            assert_eq!(after.judge("s", &link(3, Some(2))), Verdict::Apply, "{what}");
            assert_eq!(after.judge("t", &link(9, Some(8))), Verdict::Ahead, "{what}");
        }
        // A true record that is left out is its chain's last all the same, and a stranger may go on.
        let after = set(&[("s", link(3, Some(2))), ("x", link(9, Some(8)))], 4);
        assert_eq!(after.judge("s", &link(4, Some(3))), Verdict::Apply);
        assert_eq!(after.judge("x", &link(10, Some(9))), Verdict::Apply);
    }

    /// Guard: only the source of the record that is to be taken begins anew, and once.
    #[test]
    fn what_is_taken_begins_its_own_chain_anew_and_no_other() {
        for taken in [("s", link(9, Some(8))), ("s", link(4, Some(1))), ("x", link(9, Some(8)))] {
            let (source, link9) = taken.clone();
            let mut after = set(&[taken, ("t", link(9, Some(8)))], 2);
            assert_eq!(after.judge(source, &link9), Verdict::Apply);
            assert_eq!(after.judge("t", &link(7, None)), Verdict::Drop);
            assert_eq!(after.judge("y", &link(9, Some(8))), Verdict::NoStart);
            after.lead(source, Head { place: link9.place, previous: link9.previous });
            assert!(after.midway_of.is_empty());
        }
        // It stands where no record is: at the end, or before one that is the next of its chain.
        assert_eq!(set(&[], 2), stands());
        assert_eq!(set(&[("s", link(3, Some(2)))], 2), stands());
    }

    #[test]
    fn elsewhere_nothing_is_kept() {
        let stretch = Stretch { from: 3, links: Vec::new() };
        for to in [1, 5] {
            assert_eq!(stretch.resume(stands(), "orders", to), None, "the reader was behind what was read, or is beyond");
        }
    }
}
