//! Records of several partitions in the order in which they were decided, which is that of their numbers.
//!
//! **What for.** A row may be the sum of several aggregates' events, as an article's stock is, and those lie in several partitions. In
//! this order it takes no value on the way that it never had, so no constraint on it fails that held before.
//!
//! **How it would fail without**: a partition whose orders come before the receipts of another one breaks `reserved <= received`, and what is
//! lost can't be had back.

use std::collections::VecDeque;

/// Records of inputs that are there with all of their events: they are folded together.
#[derive(Debug)]
struct Group<T> {
    first: i64,
    last: i64,
    records: Vec<T>,
}

/// What was read of a partition and waits for what others have before it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    groups: VecDeque<Group<T>>,
    is_over: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { groups: VecDeque::new(), is_over: false }
    }
}

impl<T> Queue<T> {
    /// Takes whole inputs, by number; `number` tells a record's.
    pub fn push(&mut self, records: Vec<T>, number: impl Fn(&T) -> i64) {
        if let (Some(first), Some(last)) = (records.first().map(&number), records.last().map(&number)) {
            self.groups.push_back(Group { first, last, records });
        }
    }

    /// Nothing comes any more.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether more of the partition must be read before it can be said what comes next.
    pub fn is_wanting(&self) -> bool {
        self.groups.is_empty() && !self.is_over
    }
}

/// Takes what comes next of each of these queues, none of which is [wanting](Queue::is_wanting); nothing once all are at their ends.
pub(super) fn next<T>(queues: &mut [&mut Queue<T>]) -> Vec<Vec<T>> {
    let ends = queues.iter().filter(|queue| !queue.is_over).filter_map(|queue| Some(queue.groups.back()?.last));
    let mut upto = ends.min().unwrap_or(i64::MAX);
    let groups = || queues.iter().flat_map(|queue| &queue.groups);
    // An input is whole or waits, and what was decided after it waits as well.
    while let Some(first) = groups().filter(|g| g.first <= upto && upto < g.last).map(|g| g.first).min() {
        upto = first - 1;
    }
    if !groups().any(|group| group.last <= upto) {
        // Inputs that were decided across each other: the earlier one first, as a whole.
        let earliest = groups().min_by_key(|group| group.first);
        upto = earliest.map_or(upto, |group| group.last);
        let first = earliest.map(|group| group.first);
        return queues.iter_mut().map(|queue| take(queue, |group| Some(group.first) == first && group.last <= upto)).collect();
    }
    queues.iter_mut().map(|queue| take(queue, |group| group.last <= upto)).collect()
}

fn take<T>(queue: &mut Queue<T>, is_due: impl Fn(&Group<T>) -> bool) -> Vec<T> {
    let mut taken = Vec::new();
    while queue.groups.front().is_some_and(&is_due) {
        taken.extend(queue.groups.pop_front().into_iter().flat_map(|group| group.records));
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes all that queues of these groups give, read `at_once` groups at a time.
    fn all(partitions: &[Vec<Vec<i64>>], at_once: usize) -> Vec<Vec<i64>> {
        let mut left: Vec<VecDeque<Vec<i64>>> = partitions.iter().map(|groups| groups.iter().cloned().collect()).collect();
        let mut queues: Vec<Queue<i64>> = partitions.iter().map(|_| Queue::default()).collect();
        let mut rounds = Vec::new();
        loop {
            for (queue, left) in queues.iter_mut().zip(&mut left) {
                while queue.is_wanting() {
                    for _ in 0..at_once {
                        match left.pop_front() {
                            Some(group) => queue.push(group, |n| *n),
                            None => queue.end(),
                        }
                    }
                }
            }
            let mut taken = next(&mut queues.iter_mut().collect::<Vec<_>>()).concat();
            if taken.is_empty() {
                return rounds;
            }
            taken.sort_unstable();
            rounds.push(taken);
        }
    }

    #[test]
    fn inputs_are_whole_and_in_order() {
        let one = |n: &[i64]| n.iter().map(|n| vec![*n]).collect::<Vec<_>>();
        assert_eq!(all(&[one(&[5, 6]), one(&[1, 2, 7])], 1), [vec![1], vec![2], vec![5], vec![6], vec![7]]);
        assert_eq!(all(&[vec![vec![1, 3]], one(&[2, 4])], 1), [vec![1, 3], vec![2], vec![4]], "across each other");
        assert_eq!(all(&[vec![vec![1, 4], vec![6]], vec![vec![2, 5]]], 9).concat().len(), 5);
        assert_eq!(all(&[], 1), Vec::<Vec<i64>>::new());
        assert_eq!(all(&[vec![], one(&[1])], 1), [vec![1]]);
    }

    proptest! {
        /// However they lie in partitions and however much is read at once: all of them come, and single ones in order.
        #[test]
        fn whatever_is_read_comes_in_order(places in prop::collection::vec(0usize..4, 0..60), at_once in 1usize..5) {
            let mut partitions = vec![Vec::new(); 4];
            for (number, place) in (1..).zip(&places) {
                partitions[*place].push(vec![number]);
            }
            let found = all(&partitions, at_once).concat();
            prop_assert_eq!(found, (1..=places.len() as i64).collect::<Vec<_>>());
        }
    }
}
