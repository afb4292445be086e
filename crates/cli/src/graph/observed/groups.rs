//! What brokers tell of consumer groups: how far they have committed, and which topics their members read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use farandole::assignment::assignment;
use farandole::extent::Extent;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// For one answer of the brokers.
const ANSWER: Duration = Duration::from_secs(10);

/// The groups.
#[derive(Debug, Default)]
pub struct Groups {
    /// By group: the offset after the last that was committed, by topic and partition.
    pub committed: BTreeMap<String, BTreeMap<(String, i32), i64>>,
    /// Who reads the topics now, whatever the group.
    pub members: BTreeSet<Member>,
}

/// A member of a group, with a topic that it reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// What it calls itself, and from where.
    pub who: String,
}

/// Asks for what `declared` groups have committed of `extents`, and for who reads their topics.
pub(super) fn ask(kafka: &ClientConfig, declared: &[&str], extents: &[Extent]) -> anyhow::Result<Groups> {
    let mut groups = Groups::default();
    let mut partitions = TopicPartitionList::new();
    for extent in extents {
        partitions.add_partition(&extent.topic, extent.partition);
    }
    for group in declared {
        // It joins nothing: a group's offsets are told to whoever gives its name.
        let mut kafka = kafka.clone();
        let consumer: BaseConsumer =
            kafka.set("group.id", *group).set("enable.auto.commit", "false").create().context("making a Kafka consumer")?;
        let committed = consumer.committed_offsets(partitions.clone(), ANSWER);
        let committed = committed.with_context(|| format!("asking what consumer group {group} has committed"))?;
        let offsets = committed.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
            _ => None,
        });
        groups.committed.insert((*group).to_owned(), offsets.collect());
    }
    let topics: BTreeSet<&str> = extents.iter().map(|extent| extent.topic.as_str()).collect();
    let consumer: BaseConsumer = kafka.clone().set("group.id", "farandole-graph").create().context("making a Kafka consumer")?;
    let list = consumer.fetch_group_list(None, ANSWER).context("asking which consumer groups there are")?;
    for group in list.groups() {
        for member in group.members() {
            let assigned = assignment(member.assignment().unwrap_or_default()).unwrap_or_default();
            let read: BTreeSet<String> =
                assigned.into_iter().map(|(topic, _)| topic).filter(|t| topics.contains(t.as_str())).collect();
            let who = format!("{} at {}", member.client_id(), member.client_host());
            let group = group.name().to_owned();
            groups.members.extend(read.into_iter().map(|topic| Member { group: group.clone(), topic, who: who.clone() }));
        }
    }
    Ok(groups)
}
