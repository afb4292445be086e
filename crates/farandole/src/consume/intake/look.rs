//! Detects what is missing: topics that don't exist, partitions that nobody reads or a foreign client holds, a group that can't
//! be joined.
//!
//! A reader's own partitions tell of themselves; what it doesn't have says nothing. So the brokers are asked, on a thread beside
//! the consumer's, which must not wait for an answer.
//!
//! **How it would fail without**: a heard topic that isn't there, or a group that refuses this member, looks like a topic on which
//! nothing happens: no lag, no error, and decisions that wait for an input until their deadlines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::statistics::ConsumerGroup;

use crate::consume::intake::context::Context;
use crate::consume::intake::members::{ANSWER, Behind, Members};
use crate::consume::intake::troubles::Of;
use crate::ground::told::Told;

/// Between two looks while something is missing. A look at all topics also has the client join again for one that has come.
const SOON: Duration = Duration::from_secs(3);
/// The same while nothing is.
const LATER: Duration = Duration::from_secs(30);

/// Looks until `over`, of which unparking the thread tells.
pub(super) fn run(consumer: &BaseConsumer<Context>, over: impl Fn() -> bool) {
    let mut next = Instant::now() + SOON;
    let (mut told, mut behind) = (BTreeMap::new(), Behind::default());
    while !over() {
        let left = next.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            std::thread::park_timeout(left);
            continue;
        }
        let all = match look(consumer, &mut told, &mut behind) {
            Ok(all) => all,
            Err(error) => {
                tracing::debug!(error = %error, "fetching metadata failed; retrying");
                false
            }
        };
        next = Instant::now() + if all { LATER } else { SOON };
    }
}

/// Says what is missing of each topic; whether nothing is. `told` is by topic.
fn look(consumer: &BaseConsumer<Context>, told: &mut BTreeMap<String, Told>, behind: &mut Behind) -> KafkaResult<bool> {
    let context = consumer.context();
    // All topics: a question for one by name makes it, where brokers make topics by themselves.
    let metadata = consumer.fetch_metadata(None, ANSWER)?;
    let count = |topic: &String| {
        let found = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none());
        found.map_or(0, |t| t.partitions().len())
    };
    let counts: Vec<(&String, usize)> = context.config.topics.iter().map(|topic| (topic, count(topic))).collect();
    let members = if counts.iter().all(|(_, count)| *count == 0) { None } else { Members::ask(consumer)? };
    let stuck = members.as_ref().map(|members| behind.look(consumer, members)).transpose()?.unwrap_or_default();
    // What they have not gone on with may be about to: the next look tells.
    let mut whole = behind.is_empty();
    for (topic, count) in counts {
        let trouble = match (count, &members) {
            (0, _) => Some("this topic doesn't exist or isn't visible: nothing is read until it is created".to_owned()),
            // The group is being rebalanced, or of a kind that doesn't tell.
            (_, None) => continue,
            (count, Some(members)) => unread(topic, count, members, &context.config.group).or_else(|| stuck.get(topic).cloned()),
        };
        let told = told.entry(topic.clone()).or_default();
        match &trouble {
            Some(why) => {
                whole = false;
                if told.is_due(why) {
                    tracing::warn!(topic, why, "topic not fully consumed");
                }
            }
            None => told.over(),
        }
        context.troubles.say(Of::Topic(topic.clone()), trouble);
    }
    Ok(whole)
}

fn unread(topic: &str, count: usize, members: &Members, group: &str) -> Option<String> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let unread: Vec<String> = (0..count).filter(|p| !members.read(topic, *p)).map(|partition| partition.to_string()).collect();
    match unread.len() {
        0 => None,
        n => Some(format!("{n} of {count} partitions have no reader in group {group}: {}", unread.join(", "))),
    }
}

/// What is wrong with this member's place in its group, by the client's own report.
pub(super) fn standing(group: &str, cgrp: Option<&ConsumerGroup>) -> Option<String> {
    match cgrp {
        None => Some(format!("consumer group {group} isn't joined yet")),
        Some(g) if g.state != "up" => {
            Some(format!("consumer group {group} isn't joined: its coordinator is unavailable ({})", g.state))
        }
        Some(g) if g.join_state != "steady" => Some(format!("consumer group {group} isn't joined ({})", g.join_state)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_without_a_reader_are_named() {
        let read = Members::of([("a".to_owned(), 0), ("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(unread("a", 4, &read, "g").unwrap(), "2 of 4 partitions have no reader in group g: 1, 3");
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
        for (state, join, words) in [("query-coord", "init", "coordinator is unavailable"), ("up", "wait-join", "(wait-join)")] {
            assert!(standing("g", Some(&group(state, join))).is_some_and(|why| why.contains(words)), "{state} {join}");
        }
        assert!(standing("g", None).is_some());
    }
}
