//! What the services committed, against what consumers find in their topics: nothing lost, nothing twice, in order. Pure.

use std::collections::{HashMap, HashSet};

use audit::Check;
use farandole::chain::Link;
use farandole::record::Record;
use uuid::Uuid;

/// A row of an outbox, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub seq: i64,
    pub id: Uuid,
    pub key: String,
}

/// A record that consumers apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub id: Uuid,
    pub key: String,
    pub partition: i32,
    /// What led to it, and the which of how many that this gave.
    pub cause: String,
    pub of: i16,
}

impl Published {
    /// From a record of ours; `None` for anything else, of which the walk over the chains tells.
    pub fn of(record: &Record) -> Option<Self> {
        let link = Link::parse(record.header("farandole")?).ok()?;
        Some(Self {
            id: record.header("ce_id")?.parse().ok()?,
            key: String::from_utf8(record.key.clone()?).ok()?,
            partition: record.partition,
            cause: link.cause,
            of: link.of.0,
        })
    }
}

/// One topic that a service writes, its own or its journal, and what the outbox holds for it.
#[derive(Debug, Default)]
pub struct Service {
    pub name: String,
    /// Its events are decisions: an input leads to one at most. A journal tells of an input again and again.
    pub decides: bool,
    /// Whatever the outbox still holds; published rows stay until their partition of a million is full.
    pub rows: Vec<Row>,
    /// Whether nothing of the outbox has been dropped yet.
    pub whole: bool,
    /// Partition by partition, in order.
    pub published: Vec<Published>,
}

/// Every check over all services.
pub fn check(services: &[Service]) -> Vec<Check> {
    vec![lost(services), twice(services), ordered(services)]
}

fn lost(services: &[Service]) -> Check {
    let mut check = Check::new("every committed event is in its topic, and none that wasn't committed");
    for service in services {
        let published: HashSet<Uuid> = service.published.iter().map(|record| record.id).collect();
        let committed: HashSet<Uuid> = service.rows.iter().map(|row| row.id).collect();
        for row in &service.rows {
            check.that(published.contains(&row.id), || {
                format!("{}: row {} ({}) isn't in the topic", service.name, row.seq, row.key)
            });
        }
        for record in service.published.iter().filter(|_| service.whole) {
            check.that(committed.contains(&record.id), || format!("{}: record {} was never committed", service.name, record.id));
        }
    }
    check
}

fn twice(services: &[Service]) -> Check {
    let mut check = Check::new("no event is in a topic twice, and no record or command was decided twice");
    for service in services {
        let (mut ids, mut causes) = (HashSet::new(), HashSet::new());
        for record in &service.published {
            check.that(ids.insert(record.id), || format!("{}: event {} is there twice", service.name, record.id));
            // Deadlines and outcomes have names, which repeat; a record's place and a command's id don't.
            if service.decides && !record.cause.starts_with("deadline/") && !record.cause.starts_with("outcome/") {
                let first = causes.insert((record.cause.as_str(), record.of));
                check.that(first, || format!("{}: {} led to event {} twice", service.name, record.cause, record.of));
            }
        }
    }
    check
}

fn ordered(services: &[Service]) -> Check {
    let mut check = Check::new("the events of a key are in one partition, in the order in which they were committed");
    for service in services {
        let seqs: HashMap<Uuid, i64> = service.rows.iter().map(|row| (row.id, row.seq)).collect();
        let mut last: HashMap<&str, (i32, i64)> = HashMap::new();
        for record in &service.published {
            let Some(seq) = seqs.get(&record.id) else { continue };
            let before = last.insert(&record.key, (record.partition, *seq));
            check.that(before.is_none_or(|(partition, before)| partition == record.partition && before < *seq), || {
                format!("{}: {} of {} comes after {before:?}", service.name, seq, record.key)
            });
        }
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        let row = |seq: i64, key: &str| Row { seq, id: Uuid::from_u128(seq as u128), key: key.into() };
        let rows = vec![row(1, "a"), row(2, "b"), row(3, "a"), row(4, "a")];
        let published = rows.iter().map(|row| Published {
            id: row.id,
            key: row.key.clone(),
            partition: i32::from(row.key == "b"),
            cause: format!("orders/0/{}", row.seq),
            of: 1,
        });
        Service { name: "orders".into(), decides: true, published: published.collect(), rows, whole: true }
    }

    fn violated(change: impl Fn(&mut Service)) -> [usize; 3] {
        let mut changed = service();
        change(&mut changed);
        let checks = check(&[changed]);
        [checks[0].violations, checks[1].violations, checks[2].violations]
    }

    #[test]
    fn each_violation_is_seen() {
        assert_eq!(violated(|_| {}), [0, 0, 0]);
        assert_eq!(violated(|s| drop(s.published.remove(3))), [1, 0, 0], "a record is gone");
        assert_eq!(violated(|s| drop(s.rows.remove(1))), [1, 0, 0], "a record that nobody committed");
        assert_eq!(violated(|s| s.published.push(s.published[1].clone())), [0, 1 + 1, 1], "a record doubled");
        assert_eq!(violated(|s| s.published.swap(2, 3)), [0, 0, 1], "two of a key changed places");
        assert_eq!(violated(|s| s.published[3].partition = 5), [0, 0, 1], "a key in two partitions");
        assert_eq!(violated(|s| s.published[3].cause = "orders/0/1".into()), [0, 1, 0], "an input decided twice");
        assert_eq!(violated(|s| s.published[3].of = 2), [0, 0, 0], "one input may give two events");
    }

    #[test]
    fn names_of_deadlines_may_repeat() {
        assert_eq!(violated(|s| s.published.iter_mut().for_each(|p| p.cause = "deadline/confirm".into())), [0, 0, 0]);
    }

    #[test]
    fn a_journal_tells_of_an_input_again() {
        let again = |s: &mut Service| (s.decides, s.published[3].cause) = (false, "orders/0/1".into());
        assert_eq!(violated(again), [0, 0, 0]);
        assert_eq!(violated(|s| (s.decides, _) = (false, s.published.remove(3))), [1, 0, 0]);
    }

    #[test]
    fn an_outbox_of_which_a_part_was_dropped_proves_less() {
        assert_eq!(violated(|s| (s.whole, _) = (false, s.rows.remove(0))), [0, 0, 0]);
    }
}
