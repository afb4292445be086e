//! Which members of a reader's consumer group hold its partitions: its own replicas, or a foreign client.
//!
//! Whoever joins the group gets a share of the partitions. A member that isn't a replica (a tool started with the group's name, another
//! service that was given it) reads them and applies nothing, and to brokers, lag and the other replicas all is well. A member that
//! calls itself otherwise than this one may be a replica that is configured otherwise, so it isn't judged by its name: it is a stranger
//! if what it has doesn't go on in this database.
//!
//! **How it would fail without**: orders wait at a partition that is read, with no lag, until their deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use sqlx::PgConnection;

use crate::consume::intake::context::{At, Context};
use crate::consume::intake::position::positions;
use crate::database::sessions::{Sessions, with_conn};
use crate::ground::error::chain_of;
use crate::ground::text::{brief, shown};
use crate::wire::assignment::assignment;

/// How long brokers may take to answer. Bounds how late a stop is, too.
pub(super) const ANSWER: Duration = Duration::from_secs(3);

/// What the members of `group` that work on this database call themselves; without its part if the database doesn't say which it is. Two
/// databases whose readers share a group (a staging copy on the same brokers) would have half of the records each.
pub(super) async fn client_id(group: &str, sessions: &Sessions) -> String {
    let which = async |conn: &mut PgConnection| {
        let sql = "select to_hex(system_identifier) || '-' || d.oid from pg_control_system(), pg_database d where datname = current_database()";
        sqlx::query_scalar::<_, String>(sql).fetch_one(conn).await
    };
    match with_conn!(sessions, conn => which(conn)) {
        Ok(database) => format!("{group}@{database}"),
        Err(error) => {
            tracing::debug!(
                error = chain_of(&error),
                "which database this is isn't told; readers on another one in this group won't show"
            );
            group.to_owned()
        }
    }
}

/// The members of a group, with their partitions.
#[derive(Default)]
pub(super) struct Members {
    read: BTreeSet<At>,
    /// The partitions of members that call themselves otherwise, with what they say of themselves.
    others: BTreeMap<At, String>,
}

impl Members {
    /// Those that brokers tell of; none while the group is being rebalanced, or where it is of a kind that doesn't tell.
    pub(super) fn ask(consumer: &BaseConsumer<Context>) -> KafkaResult<Option<Self>> {
        let config = &consumer.context().config;
        let groups = consumer.fetch_group_list(Some(&config.group), ANSWER)?;
        let found = groups.groups().iter().find(|g| g.name() == config.group && g.state() == "Stable");
        let Some(group) = found else { return Ok(None) };
        let mine = &consumer.context().client_id;
        let mut members = Self::default();
        for member in group.members() {
            let Some(has) = assignment(member.assignment().unwrap_or_default()) else { return Ok(None) };
            if member.client_id() != mine {
                let who = format!("{} at {}", shown(&brief(member.client_id())), shown(member.client_host()));
                members.others.extend(has.iter().cloned().map(|at| (at, who.clone())));
            }
            members.read.extend(has);
        }
        Ok(Some(members))
    }

    /// Whether one of them has this partition.
    pub(super) fn read(&self, topic: &str, partition: i32) -> bool {
        self.read.contains(&(topic.to_owned(), partition))
    }

    #[cfg(test)]
    pub(super) fn of<const N: usize>(read: [At; N]) -> Self {
        Self { read: BTreeSet::from(read), others: BTreeMap::new() }
    }
}

/// Partitions of members that call themselves otherwise, and how far each had been read at the last look, if there was more.
#[derive(Default)]
pub(super) struct Behind(BTreeMap<At, i64>);

impl Behind {
    /// Whether there was none at the last look.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to say of the topics of which such a member has partitions and doesn't go on, since the last look, with what they hold.
    pub(super) fn look(&mut self, consumer: &BaseConsumer<Context>, members: &Members) -> KafkaResult<BTreeMap<String, String>> {
        let context = consumer.context();
        let others: Vec<_> = members.others.iter().filter(|((topic, _), _)| context.config.topics.contains(topic)).collect();
        if others.is_empty() {
            self.0.clear();
            return Ok(BTreeMap::new());
        }
        let reader = context.engine.reader();
        let read = async { with_conn!(context.engine.sessions(), conn => positions(conn, reader)) };
        let read: BTreeMap<String, i64> = match context.runtime.block_on(read) {
            Ok(read) => read.into_iter().map(|(at, position)| (at, position.next_offset)).collect(),
            // The check of the database tells.
            Err(error) => {
                tracing::debug!(error = chain_of(&error), "reading positions failed; retrying");
                return Ok(BTreeMap::new());
            }
        };
        let (mut behind, mut stuck) = (BTreeMap::new(), BTreeMap::<&str, Vec<(i32, &str)>>::new());
        for (at @ (topic, partition), who) in others {
            let next = read.get(&format!("{topic}/{partition}")).copied().unwrap_or_default();
            if next < consumer.fetch_watermarks(topic, *partition, ANSWER)?.1 {
                behind.insert(at.clone(), next);
                if self.0.get(at) == Some(&next) {
                    stuck.entry(topic).or_default().push((*partition, who));
                }
            }
        }
        self.0 = behind;
        Ok(stuck.into_iter().map(|(topic, stuck)| (topic.to_owned(), words(&stuck, &context.config.group, reader))).collect())
    }
}

fn words(stuck: &[(i32, &str)], group: &str, reader: &str) -> String {
    let partitions: Vec<String> = stuck.iter().map(|(partition, _)| partition.to_string()).collect();
    let who: BTreeSet<&str> = stuck.iter().map(|(_, who)| *who).collect();
    format!(
        "a member of consumer group {group} that is not a replica of {reader} holds partitions without applying their records: \
         {}. Stop it, or give it its own group: {}",
        partitions.join(", "),
        who.into_iter().collect::<Vec<_>>().join(", ")
    )
}
