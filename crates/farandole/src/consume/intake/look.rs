//! Looks at what isn't there: topics that nobody has made, partitions that nobody reads, a group that can't be joined.
//!
//! A reader's own partitions tell of themselves; what it doesn't have says nothing. So the brokers are asked, on a thread beside
//! the consumer's, which must not wait for an answer.
//!
//! **How it would fail without**: a heard topic that isn't there, or a group that refuses this member, looks like a topic on which
//! nothing happens: no lag, no error, and decisions that wait for an input until their deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::statistics::ConsumerGroup;

use crate::consume::intake::context::Context;
use crate::consume::intake::troubles::Of;

use crate::ground::told::Told;

/// Between two looks while something is missing. A look at all topics also has the client join again for one that has come.
const SOON: Duration = Duration::from_secs(3);
/// The same while nothing is.
const LATER: Duration = Duration::from_secs(30);
/// How long brokers may take to answer. Bounds how late a stop is, too.
const ANSWER: Duration = Duration::from_secs(3);

/// Looks until `over`, of which unparking the thread tells.
pub(super) fn run(consumer: &BaseConsumer<Context>, over: impl Fn() -> bool) {
    let mut next = Instant::now() + SOON;
    let mut told = BTreeMap::new();
    while !over() {
        let left = next.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            std::thread::park_timeout(left);
            continue;
        }
        let all = match look(consumer, &mut told) {
            Ok(all) => all,
            Err(error) => {
                tracing::debug!(error = %error, "brokers didn't say which topics there are; asking again");
                false
            }
        };
        next = Instant::now() + if all { LATER } else { SOON };
    }
}

/// Says what is missing of each topic; whether nothing is. `told` is by topic.
fn look(consumer: &BaseConsumer<Context>, told: &mut BTreeMap<String, Told>) -> KafkaResult<bool> {
    let context = consumer.context();
    // All topics: a question for one by name makes it, where brokers make topics by themselves.
    let metadata = consumer.fetch_metadata(None, ANSWER)?;
    let count = |topic: &String| {
        let found = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none());
        found.map_or(0, |t| t.partitions().len())
    };
    let counts: Vec<(&String, usize)> = context.config.topics.iter().map(|topic| (topic, count(topic))).collect();
    let read = if counts.iter().all(|(_, count)| *count == 0) { None } else { owned(consumer)? };
    let mut whole = true;
    for (topic, count) in counts {
        let trouble = match (count, &read) {
            (0, _) => Some("this topic isn't there, or may not be seen: nothing of it is heard until it is made".to_owned()),
            // The group is being rebalanced, or of a kind that doesn't tell.
            (_, None) => continue,
            (count, Some(read)) => unread(topic, count, read, &context.config.group),
        };
        let told = told.entry(topic.clone()).or_default();
        match &trouble {
            Some(why) => {
                whole = false;
                if told.is_due(why) {
                    tracing::warn!(topic, why, "not heard as a whole");
                }
            }
            None => told.over(),
        }
        context.troubles.say(Of::Topic(topic.clone()), trouble);
    }
    Ok(whole)
}

/// The partitions that members of the group have; none while it can't be told.
fn owned(consumer: &BaseConsumer<Context>) -> KafkaResult<Option<BTreeSet<(String, i32)>>> {
    let group = &consumer.context().config.group;
    let groups = consumer.fetch_group_list(Some(group), ANSWER)?;
    let Some(group) = groups.groups().iter().find(|g| g.name() == group && g.state() == "Stable") else { return Ok(None) };
    let all = group.members().iter().map(|member| assignment(member.assignment().unwrap_or_default()));
    Ok(all.collect::<Option<Vec<_>>>().map(|all| all.into_iter().flatten().collect()))
}

fn unread(topic: &str, count: usize, read: &BTreeSet<(String, i32)>, group: &str) -> Option<String> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let unread: Vec<String> =
        (0..count).filter(|p| !read.contains(&(topic.to_owned(), *p))).map(|partition| partition.to_string()).collect();
    match unread.len() {
        0 => None,
        n => Some(format!("{n} of {count} partitions are read by no member of group {group}: {}", unread.join(", "))),
    }
}

/// The partitions in a member's assignment, by Kafka's consumer protocol: a version, then topics with their partitions.
fn assignment(bytes: &[u8]) -> Option<BTreeSet<(String, i32)>> {
    let mut all = BTreeSet::new();
    if bytes.is_empty() {
        return Some(all);
    }
    let mut rest = bytes.get(2..)?;
    for _ in 0..int(&mut rest)? {
        let length = i16::from_be_bytes(take(&mut rest)?);
        let (topic, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        let topic = std::str::from_utf8(topic).ok()?;
        for _ in 0..int(&mut rest)? {
            all.insert((topic.to_owned(), int(&mut rest)?));
        }
    }
    Some(all)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (some, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*some)
}

fn int(rest: &mut &[u8]) -> Option<i32> {
    take(rest).map(i32::from_be_bytes)
}

/// What is wrong with this member's place in its group, by the client's own report.
pub(super) fn standing(group: &str, cgrp: Option<&ConsumerGroup>) -> Option<String> {
    match cgrp {
        None => Some(format!("consumer group {group} isn't joined yet")),
        Some(g) if g.state != "up" => Some(format!("consumer group {group} isn't joined: its coordinator is away ({})", g.state)),
        Some(g) if g.join_state != "steady" => Some(format!("consumer group {group} isn't joined ({})", g.join_state)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_damaged_ones_refused() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\0\x02bc\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff";
        let read = assignment(bytes).unwrap();
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [("a".into(), 0), ("a".into(), 5), ("bc".into(), 7)]);
        assert_eq!(assignment(b""), Some(BTreeSet::new()), "a member that waits has none");
        for end in 1..bytes.len() - 4 {
            assert_eq!(assignment(&bytes[..end]), None, "cut at {end}");
        }
        assert_eq!(assignment(b"\0\x01\x7f\xff\xff\xff"), None, "a count without its topics");
    }

    #[test]
    fn partitions_without_a_reader_are_named() {
        let read = BTreeSet::from([("a".to_owned(), 0), ("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(unread("a", 4, &read, "g").unwrap(), "2 of 4 partitions are read by no member of group g: 1, 3");
        assert_eq!(unread("a", 1, &read, "g"), None);
    }

    #[test]
    fn a_member_that_waits_for_its_place_says_so() {
        let group = |state: &str, join: &str| ConsumerGroup {
            state: state.to_owned(),
            join_state: join.to_owned(),
            ..ConsumerGroup::default()
        };
        assert_eq!(standing("g", Some(&group("up", "steady"))), None);
        for (state, join, words) in [("query-coord", "init", "coordinator is away"), ("up", "wait-join", "(wait-join)")] {
            assert!(standing("g", Some(&group(state, join))).is_some_and(|why| why.contains(words)), "{state} {join}");
        }
        assert!(standing("g", None).is_some());
    }
}
