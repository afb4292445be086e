//! Which number, predecessor and partition each row gets. Pure.
//!
//! **Invariant:** what is published follows from the step alone: the rows of its batch in seq order, the numbers from its
//! `next`, the links from its `heads`, the partitions from its counts. The memory here is only how far that has got, and
//! [`Numbers::state_at`] is what a step says of it: [`Numbers::of`] that step goes on with the same.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::publish::relay::partitions;
use crate::publish::relay::state::{Head, State};
use crate::wire::partitioner;

struct Topic {
    name: String,
    count: i32,
    /// The last record of each partition.
    heads: Vec<Option<Head>>,
}

pub struct Numbers {
    lineage: i64,
    next: i64,
    published: BTreeMap<i64, i64>,
    /// Few, and mostly the one of the row before: found by looking at each, that one first.
    topics: Vec<Topic>,
    last: usize,
}

/// What a row gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its topic's place in the order in which topics were learnt.
    pub topic: usize,
    /// At least 0 and below the topic's count.
    pub partition: i32,
    pub head: Head,
    pub previous: Option<Head>,
}

impl Given {
    pub fn lane(&self) -> usize {
        self.partition.unsigned_abs() as usize
    }
}

impl Numbers {
    /// Goes on from `state`.
    pub fn of(state: &State) -> Self {
        let State { lineage, next, published, .. } = state.clone();
        let mut numbers = Self { lineage, next, published, topics: Vec::new(), last: 0 };
        for (topic, count) in &state.partitions {
            numbers.learn(topic, *count, state.heads.get(topic));
        }
        numbers
    }

    /// Partitions of each topic, in order.
    pub fn counts(&self) -> impl Iterator<Item = i32> {
        self.topics.iter().map(|topic| topic.count)
    }

    /// Adds a topic and the heads that it has.
    pub fn learn(&mut self, topic: &str, count: i32, heads: Option<&BTreeMap<i32, Head>>) {
        let heads = (0..count).map(|partition| heads.and_then(|heads| heads.get(&partition)).copied());
        self.topics.push(Topic { name: topic.to_owned(), count, heads: heads.collect() });
    }

    pub fn knows(&mut self, topic: &str) -> bool {
        self.find(topic).is_some()
    }

    fn find(&mut self, topic: &str) -> Option<usize> {
        if self.topics.get(self.last).is_none_or(|t| t.name != topic) {
            self.last = self.topics.iter().position(|t| t.name == topic)?;
        }
        Some(self.last)
    }

    /// What the next row gets, if it is of `topic`, `key` and `id`; none when the topic isn't known.
    pub fn peek(&mut self, topic: &str, key: &[u8], id: Uuid) -> Option<Given> {
        let topic = self.find(topic)?;
        let partition = partitioner::partition(key, self.topics[topic].count);
        let head = Head { lineage: self.lineage, number: self.next, id };
        let given = Given { topic, partition, head, previous: None };
        // There is a head for each partition.
        Some(Given { previous: self.topics[topic].heads[given.lane()], ..given })
    }

    /// Row `seq` has got it.
    pub fn give(&mut self, given: &Given, seq: i64) {
        self.topics[given.topic].heads[given.lane()] = Some(given.head);
        self.next += 1;
        *self.published.entry(partitions::start_of(seq)).or_default() += 1;
    }

    /// `state` once everything given so far, up to row `seq`, has been acknowledged.
    pub fn state_at(&self, state: &State, seq: i64) -> State {
        let mut state = state.clone();
        state.next = self.next;
        state.published.clone_from(&self.published);
        for topic in &self.topics {
            let heads = topic.heads.iter().enumerate().filter_map(|(p, head)| Some((i32::try_from(p).ok()?, (*head)?)));
            state.heads.insert(topic.name.clone(), heads.collect());
        }
        if let Some(batch) = &mut state.in_flight {
            batch.after = seq;
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::super::state::{InFlight, Snapshot};
    use super::*;

    /// (topic, key) of each row; a third topic is met on the way.
    fn rows() -> impl Strategy<Value = Vec<(&'static str, u8)>> {
        prop::collection::vec((prop::sample::select(vec!["first", "second", "third"]), any::<u8>()), 1..200)
    }

    /// As the term does: a topic that isn't known yet makes a step of its own, which ends what went before.
    fn publish(state: &mut State, rows: &[(&str, u8)], from: usize, to: usize) -> Vec<(i32, i64, Option<i64>, Uuid)> {
        let mut numbers = Numbers::of(state);
        let mut out = Vec::new();
        for (i, (topic, key)) in rows.iter().enumerate().take(to).skip(from) {
            let seq = i as i64 + 999_950;
            if !numbers.knows(topic) {
                *state = numbers.state_at(state, seq - 1);
                state.partitions.insert((*topic).to_owned(), 5);
                numbers.learn(topic, 5, None);
            }
            let given = numbers.peek(topic, &[*key], Uuid::from_u128(i as u128)).unwrap();
            numbers.give(&given, seq);
            out.push((given.partition, given.head.number, given.previous.map(|p| p.number), given.head.id));
        }
        *state = numbers.state_at(state, to as i64 + 999_949);
        out
    }

    fn state() -> State {
        let mut state = State::first("7".to_owned());
        state.partitions = BTreeMap::from([("second".to_owned(), 3), ("first".to_owned(), 7)]);
        state.in_flight = Some(InFlight { upto: Snapshot("9:9:".to_owned()), after: 0 });
        state
    }

    proptest! {
        /// F1, F19. Guard: a step's `next`, `heads`, `published` and `partitions`. Cut into pages anywhere, each begun from
        /// the step of the one before and some begun twice, a batch gets the same numbers, links and partitions.
        #[test]
        fn pages_change_nothing(rows in rows(), cuts in prop::collection::vec((any::<Index>(), any::<bool>(), any::<Index>()), 0..8)) {
            let mut whole_state = state();
            let whole = publish(&mut whole_state, &rows, 0, rows.len());
            prop_assert_eq!(whole.iter().map(|r| r.1).collect::<Vec<_>>(), (1..=rows.len() as i64).collect::<Vec<_>>());

            let mut ends: Vec<_> = cuts.iter().map(|(end, crash, got)| (end.index(rows.len()), *crash, got)).collect();
            ends.sort_by_key(|(end, ..)| *end);
            let (mut paged_state, mut paged, mut from) = (state(), Vec::new(), 0);
            for (end, crash, got) in ends {
                if crash {
                    // It got so far, and nobody noted it.
                    let mut lost = paged_state.clone();
                    let to = from + got.index(rows.len() - from + 1);
                    prop_assert_eq!(&publish(&mut lost, &rows, from, to)[..], &whole[from..to]);
                }
                paged.extend(publish(&mut paged_state, &rows, from, end));
                // A step goes through JSON.
                paged_state = serde_json::from_str(&serde_json::to_string(&paged_state).unwrap()).unwrap();
                from = end;
            }
            paged.extend(publish(&mut paged_state, &rows, from, rows.len()));
            prop_assert_eq!(&paged, &whole);
            prop_assert_eq!(paged_state, whole_state);
        }
    }
}
