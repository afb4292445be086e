//! Walks a partition record by record: what this database had published, and what lies beyond.
//!
//! The head that the relay's state holds is looked for by its id and number together: after a rewind numbers repeat, and an id that was
//! appended twice is that of two records. Before it,
//! a walk that began in the middle may meet repetitions whose first occurrence it hasn't seen, so nothing is refused there.
//! Beyond it the chain rule holds as it does for every consumer.
//!
//! **Records that are passed over**, since somebody has named them: nothing of them is taken. One that the chain rule takes stays in
//! the chain all the same, unless what comes after it follows what is before it: consumers have taken it, and stop at a record that
//! doesn't name it. One that the rule doesn't take, or that leaves no room, is a *stray*, as if somebody else's; who asks later where
//! the chain ends has to know of it.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::publish::relay::own::Own;
use crate::publish::relay::state::Head;
use crate::wire::chain::{self, Link, Place, Verdict, judge};
use crate::wire::record::Record;

/// What a record is.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordClass {
    /// Somebody else's.
    Foreign,
    /// Up to the head, or a repetition, with its id.
    Before(Uuid),
    /// The next after all before it.
    Beyond(NewRecord),
}

/// A record after the head.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecord {
    pub id: Uuid,
    pub link: Link,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// By the chain rule.
    #[error("{0}")]
    Chain(&'static str),
    /// It is the next, at a place that nothing can follow.
    #[error("its number {0} leaves no room for further numbers")]
    NoRoom(Place),
}

/// A walk along one partition.
#[derive(Debug)]
pub struct Walk {
    own: Own,
    /// What is to be passed over (topic/partition@offset).
    named: BTreeSet<String>,
    head: Option<Head>,
    /// The first record read may name one before it: the walk begins in the middle, or the topic's beginning has expired.
    from_middle: bool,
    /// What the topic holds is no state: it may begin in the middle for who knows nothing of it.
    no_state: bool,
    past: bool,
    seen: Option<chain::Head>,
    /// The chain's last record so far.
    pub last: Option<Head>,
    /// Records of the chain, each counted once.
    pub records: i64,
    /// Named records that were passed over, and those of them that are strays.
    pub passed: BTreeSet<String>,
    pub strays: BTreeSet<String>,
    /// The last record of the chain was named: its place and what was before it, should it be a stray.
    aside: Option<(String, Option<chain::Head>, Option<Head>)>,
}

impl Walk {
    /// A walk over the own records, towards `head`.
    pub fn new(own: Own, head: Option<Head>, from_middle: bool) -> Self {
        let (named, passed, strays) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let past = head.is_none();
        Self {
            own,
            named,
            head,
            from_middle,
            no_state: false,
            past,
            seen: None,
            last: None,
            records: 0,
            passed,
            strays,
            aside: None,
        }
    }

    /// The same along a topic that is no state.
    pub fn of_no_state(self) -> Self {
        Self { no_state: true, ..self }
    }

    /// The same, passing over these.
    pub fn passing(self, named: BTreeSet<String>) -> Self {
        Self { named, ..self }
    }

    /// Whether the head was met.
    pub fn has_met_head(&self) -> bool {
        self.past
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next(&mut self, record: &Record) -> Result<RecordClass, Wrong> {
        let Some((id, link)) = self.own.link(record) else { return Ok(RecordClass::Foreign) };
        let verdict = judge(self.seen, link.place, link.previous);
        let first = self.seen.is_none();
        if let (false, Some(head)) = (self.past, self.head) {
            if head.id == id && Place::from(head) == link.place {
                self.past = true;
                self.go(id, &link);
                return Ok(RecordClass::Before(id));
            }
            // The head itself has expired, and this is the record after it.
            if !(first && self.from_middle && link.previous == Some(head.into())) {
                // What nothing can follow, was followed by the head all the same: somebody else's.
                if verdict != Verdict::Drop && link.place.leaves_room() {
                    self.go(id, &link);
                }
                return Ok(RecordClass::Before(id));
            }
            self.past = true;
        }
        let mut found = self.take(first, verdict, &link);
        // What was passed over last may have come in between, from somebody else: then this one follows what was before it.
        let is_other = self.seen.is_none_or(|seen| seen.place != link.place);
        if let Some((stray, seen, last)) = self.aside.take_if(|_| is_other && found != Ok(true)) {
            let behind = self.take(seen.is_none(), judge(seen, link.place, link.previous), &link);
            if behind == Ok(true) {
                self.strays.insert(stray);
                (self.seen, self.last, self.records, found) = (seen, last, self.records - 1, behind);
            } else {
                self.aside = Some((stray, seen, last));
            }
        }
        let at = if self.named.is_empty() { None } else { Some(record.at()).filter(|at| self.named.contains(at)) };
        match (found, at) {
            (Ok(false), _) => Ok(RecordClass::Before(id)),
            (Ok(true), None) => {
                self.aside = None;
                self.go(id, &link);
                Ok(RecordClass::Beyond(NewRecord { id, link }))
            }
            (Ok(true), Some(at)) => {
                self.passed.insert(at.clone());
                self.aside = Some((at, self.seen, self.last));
                self.go(id, &link);
                Ok(RecordClass::Foreign)
            }
            (Err(_), Some(at)) => {
                self.passed.insert(at.clone());
                self.strays.insert(at);
                Ok(RecordClass::Foreign)
            }
            (Err(wrong), None) => Err(wrong),
        }
    }

    /// Whether a record beyond the head is taken, as the next; false when it is there already.
    fn take(&self, first: bool, verdict: Verdict, link: &Link) -> Result<bool, Wrong> {
        match verdict {
            Verdict::Drop => return Ok(false),
            Verdict::Apply => {}
            Verdict::NoStart if first && self.from_middle && (self.head.is_some() || self.no_state) => {}
            Verdict::NoStart => return Err(Wrong::Chain("the topic's beginning is missing")),
            // Readers took the later lineage, and dropped what this database published since as ghosts.
            Verdict::Ahead | Verdict::Fork if self.seen.is_some_and(|seen| seen.place.lineage < link.place.lineage) => {
                return Err(Wrong::Chain(
                    "its lineage was opened by another database: a copy of this one was healed and has published since, so \
                     readers drop what this one publishes. Only that copy can continue: restore this database from it",
                ));
            }
            Verdict::Ahead => return Err(Wrong::Chain("the record before it is missing")),
            Verdict::Fork => return Err(Wrong::Chain("it starts a second history (fork)")),
        }
        if link.place.leaves_room() { Ok(true) } else { Err(Wrong::NoRoom(link.place)) }
    }

    fn go(&mut self, id: Uuid, link: &Link) {
        self.seen = Some(chain::Head { place: link.place, previous: link.previous });
        self.last = Some(Head { lineage: link.place.lineage, number: link.place.number, id });
        self.records += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::State;
    use super::*;
    use crate::wire::record::Header;

    const SOURCE: &str = "/farandole/orders";

    fn own() -> Own {
        Own::of("orders", &State::first("7".to_owned()))
    }

    fn record(source: &str, number: i64, previous: Option<i64>) -> Record {
        let previous = previous.map_or_else(|| "-".to_owned(), |p| format!("1:{p}"));
        let id = Uuid::from_u128(number.unsigned_abs().into());
        let header = |name: &str, value: String| Header { name: name.to_owned(), value };
        Record {
            topic: "orders".to_owned(),
            partition: 0,
            offset: 0,
            key: Some(b"k".to_vec()),
            value: None,
            headers: vec![
                header("ce_source", source.to_owned()),
                header("ce_id", id.to_string()),
                header("farandole", format!("l=1;n={number};p={previous};c=x/0/0;k={id};i=1/1")),
            ],
        }
    }

    fn walked(head: Option<i64>, from_middle: bool, records: &[(i64, Option<i64>)]) -> Result<Vec<i64>, String> {
        let head = head.map(|n| Head { lineage: 1, number: n, id: Uuid::from_u128(n.unsigned_abs().into()) });
        let mut walk = Walk::new(own(), head, from_middle);
        let mut beyond = Vec::new();
        for (number, previous) in records {
            if let RecordClass::Beyond(b) = walk.next(&record(SOURCE, *number, *previous)).map_err(|wrong| wrong.to_string())? {
                beyond.push(b.link.place.number);
            }
        }
        if walk.has_met_head() { Ok(beyond) } else { Err("no head".to_owned()) }
    }

    #[test]
    fn what_lies_beyond_the_head() {
        let chain = [(1, None), (2, Some(1)), (5, Some(2)), (7, Some(5))];
        assert_eq!(walked(Some(2), false, &chain), Ok(vec![5, 7]));
        assert_eq!(walked(None, false, &chain), Ok(vec![1, 2, 5, 7]));
        assert_eq!(walked(Some(7), false, &chain), Ok(vec![]));
        assert_eq!(walked(Some(9), false, &chain), Err("no head".to_owned()));
    }

    #[test]
    fn repetitions_count_once_wherever_they_come() {
        // A crash repeats the head and what follows; a ghost comes at the end.
        let again = [(1, None), (2, Some(1)), (5, Some(2)), (2, Some(1)), (5, Some(2)), (7, Some(5)), (2, Some(1))];
        assert_eq!(walked(Some(2), false, &again), Ok(vec![5, 7]));
        // Begun in the middle, at a ghost.
        let middle = [(2, Some(1)), (7, Some(5)), (8, Some(7)), (9, Some(8))];
        assert_eq!(walked(Some(8), true, &middle), Ok(vec![9]));
    }

    #[test]
    fn a_head_that_has_expired_is_known_by_its_successor() {
        assert_eq!(walked(Some(5), true, &[(7, Some(5)), (8, Some(7))]), Ok(vec![7, 8]));
        assert_eq!(walked(Some(5), true, &[(8, Some(7))]), Err("no head".to_owned()));
    }

    #[test]
    fn beyond_the_head_nothing_may_be_missing() {
        for (records, word) in [([(1, None), (5, Some(3))], "missing"), ([(3, None), (4, Some(1))], "second history")] {
            let head = records[0].0;
            assert!(walked(Some(head), false, &records).unwrap_err().contains(word), "{records:?}");
        }
        assert!(walked(None, false, &[(4, Some(3))]).unwrap_err().contains("beginning"));
    }

    /// Guard: the reason for two histories that are whole each. Without, an operator looks for a record that is missing, and there is none.
    #[test]
    fn a_healed_copy_that_has_gone_on_is_said() {
        let of = |number: i64, link: &str| {
            let mut record = record(SOURCE, number, None);
            record.headers[2].value = format!("{link};c=x/0/0;k={};i=1/1", Uuid::nil());
            record
        };
        let mut walk = Walk::new(own(), Some(Head { lineage: 1, number: 5, id: Uuid::from_u128(5) }), false);
        for (number, link) in [(1, "l=1;n=1;p=-"), (2, "l=2;n=2;p=1:1"), (5, "l=1;n=5;p=1:1")] {
            assert!(matches!(walk.next(&of(number, link)), Ok(RecordClass::Before(_))));
        }
        let wrong = walk.next(&of(3, "l=2;n=3;p=2:2")).unwrap_err().to_string();
        assert!(walk.has_met_head() && wrong.contains("a copy of this one was healed"), "{wrong}");
    }

    #[test]
    fn behind_the_last_number_nothing_is_taken() {
        let last = i64::MAX - (1 << 40);
        assert!(walked(Some(2), false, &[(1, None), (2, Some(1)), (last, Some(2))]).unwrap_err().contains("no room"));
        // Before the head it is somebody else's, and shows at its consumers.
        assert_eq!(walked(Some(2), false, &[(1, None), (last, Some(1)), (2, Some(1)), (3, Some(2))]), Ok(vec![3]));
        assert_eq!(walked(Some(9), false, &[(1, None), (last, Some(1))]), Err("no head".to_owned()));
    }

    /// What lies beyond the head, numbered 2, and the chain's end, when the records at these offsets are passed over; and which are strays.
    fn passing(records: &[(i64, Option<i64>)], named: &[i64]) -> Result<(Vec<i64>, i64, Vec<String>), String> {
        let named = named.iter().map(|offset| format!("orders/0@{offset}")).collect();
        let head = Head { lineage: 1, number: 2, id: Uuid::from_u128(2) };
        let mut walk = Walk::new(own(), Some(head), false).passing(named);
        let mut beyond = Vec::new();
        for (offset, (number, previous)) in (0..).zip([(1, None), (2, Some(1))].iter().chain(records)) {
            let record = Record { offset, ..record(SOURCE, *number, *previous) };
            if let RecordClass::Beyond(b) = walk.next(&record).map_err(|wrong| wrong.to_string())? {
                beyond.push(b.link.place.number);
            }
        }
        Ok((beyond, walk.last.map_or(0, |last| last.number), walk.strays.into_iter().collect()))
    }

    #[test]
    fn a_named_record_is_passed_over() {
        let stray = |offset: i64| vec![format!("orders/0@{offset}")];
        // The next of the chain stays in it, with nothing taken of it: at the end, followed, and repeated.
        assert_eq!(passing(&[(3, Some(2)), (5, Some(3))], &[3]), Ok((vec![3], 5, vec![])));
        assert_eq!(passing(&[(3, Some(2)), (5, Some(3)), (7, Some(5))], &[3]), Ok((vec![3, 7], 7, vec![])));
        assert_eq!(passing(&[(3, Some(2)), (3, Some(2)), (2, Some(1))], &[2]), Ok((vec![], 3, vec![])));
        // What the chain goes on without is a stray, whatever number it has.
        assert_eq!(passing(&[(5, Some(2)), (3, Some(2)), (4, Some(3))], &[2]), Ok((vec![3, 4], 4, stray(2))));
        assert_eq!(passing(&[(3, Some(2)), (2, Some(1)), (9, Some(2))], &[2]), Ok((vec![9], 9, stray(2))));
        // So is what isn't the next, and what leaves no room.
        assert_eq!(passing(&[(9, Some(7)), (3, Some(2))], &[2]), Ok((vec![3], 3, stray(2))));
        assert_eq!(passing(&[(9, None)], &[2]), Ok((vec![], 2, stray(2))));
        assert_eq!(passing(&[(i64::MAX - (1 << 40), Some(2))], &[2]), Ok((vec![], 2, stray(2))));
        // Nothing else is let through by that.
        assert!(passing(&[(5, Some(2)), (9, Some(7))], &[2]).unwrap_err().contains("missing"));
        assert!(passing(&[(5, Some(2)), (3, Some(2))], &[3]).is_ok(), "the other one may be named as well");
        assert!(passing(&[(5, Some(2)), (3, Some(2))], &[]).unwrap_err().contains("second history"));
    }

    #[test]
    fn a_stray_that_is_known_is_somebody_elses() {
        let mut state = State::first("7".to_owned());
        state.strays.insert("orders/0@0".to_owned());
        let mut walk = Walk::new(Own::of("orders", &state), None, false);
        assert_eq!(walk.next(&record(SOURCE, 1, None)), Ok(RecordClass::Foreign));
    }

    #[test]
    fn others_records_are_passed_over() {
        let mut walk = Walk::new(own(), None, false);
        assert_eq!(walk.next(&record("/farandole/carts", 3, Some(2))), Ok(RecordClass::Foreign));
        let mut foreign = record(SOURCE, 1, None);
        foreign.headers.clear();
        assert_eq!(walk.next(&foreign), Ok(RecordClass::Foreign));
        // Forged under our name, and badly: no relay of ours writes such headers.
        for (damaged, value) in [("farandole", "l=1"), ("ce_id", "7")] {
            let mut forged = record(SOURCE, 1, None);
            forged.headers.iter_mut().filter(|h| h.name == damaged).for_each(|h| h.value = value.to_owned());
            assert_eq!(walk.next(&forged), Ok(RecordClass::Foreign), "{damaged}");
        }
        assert_eq!(walk.records, 0);
    }
}
