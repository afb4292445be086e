//! What is declared beside what was seen. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::graph::choreography::Choreography;
use crate::graph::declared::Declared;
use crate::graph::words::listed;

use super::groups::Groups;
use super::kinds::Kind;
use super::read::{Came, Seen};
use super::report::{Consumed, Finding, Reaction, Report, Sent, What};

/// Types that are shown of an undeclared producer.
const SHOWN: usize = 3;

/// Compares.
pub fn compare(all: &Choreography, seen: &Seen, groups: &Groups) -> Report {
    let seen = All::new(all, seen, groups);
    let (published, consumed) = (seen.published(), seen.consumed());
    let mut named = seen.undeclared_producers();
    named.extend(seen.undeclared_events());
    named.extend(seen.undeclared_consumers());
    named.extend(seen.undeclared_groups());
    named.extend(published.iter().filter(|sent| sent.records == 0).map(never_published));
    named.extend(seen.never_consumed(&published, &consumed));
    named.extend(seen.too_many());
    let mut topics: Vec<String> = seen.seen.extents.iter().map(|extent| extent.topic.clone()).collect();
    topics.dedup();
    let kinds = &seen.seen.kinds;
    Report {
        topics,
        records: kinds.all().iter().map(|kind| kind.records).sum::<u64>() + kinds.others,
        reactions: seen.reactions(),
        published,
        consumed,
        named,
    }
}

struct All<'a> {
    all: &'a Choreography,
    seen: &'a Seen,
    groups: &'a Groups,
    /// Services by `ce_source`.
    sources: HashMap<&'a str, &'a Declared>,
    /// Services by topic and `ce_source`.
    publishers: HashMap<(&'a str, &'a str), &'a Declared>,
}

impl<'a> All<'a> {
    fn new(all: &'a Choreography, seen: &'a Seen, groups: &'a Groups) -> Self {
        let (mut sources, mut publishers) = (HashMap::new(), HashMap::new());
        for service in all.services() {
            sources.entry(service.source.as_str()).or_insert(service);
            publishers.entry((service.publishes.as_str(), service.source.as_str())).or_insert(service);
        }
        Self { all, seen, groups, sources, publishers }
    }

    fn kinds(&self) -> &[Kind] {
        self.seen.kinds.all()
    }

    /// The service whose records name this source.
    fn by_source(&self, source: &str) -> Option<&Declared> {
        self.sources.get(source).copied()
    }

    /// What a source is called: its service, if one declares it.
    fn called(&self, source: &str) -> String {
        self.by_source(source).map_or_else(|| named(source, "ce_source"), |service| service.name.clone())
    }

    /// Who publishes the records of this kind by their own declaration, whatever types that lists.
    fn publisher(&self, kind: &Kind) -> Option<&Declared> {
        self.publishers.get(&(kind.topic.as_str(), kind.source.as_str())).copied()
    }

    fn published(&self) -> Vec<Sent> {
        let key = |kind: &'a Kind| (kind.topic.as_str(), kind.source.as_str(), kind.event.as_str());
        let records: HashMap<_, u64> = self.seen.kinds.all().iter().map(|kind| (key(kind), kind.records)).collect();
        let records = &records;
        let sent = |service: &Declared, event: &String| {
            let such = (service.publishes.as_str(), service.source.as_str(), event.as_str());
            Sent {
                publisher: service.name.clone(),
                event: event.clone(),
                topic: service.publishes.clone(),
                records: records.get(&such).copied().unwrap_or_default(),
            }
        };
        self.all.services().iter().flat_map(|service| service.events.iter().map(move |event| sent(service, event))).collect()
    }

    fn consumed(&self) -> Vec<Consumed> {
        let (mut came, mut kinds) = (HashMap::<(&str, &str, &str), u64>::new(), HashMap::<(&str, &str), Vec<&Kind>>::new());
        for ((cause, kind), reaction) in &self.seen.reactions {
            let (cause, kind) = (self.seen.kinds.get(*cause), self.seen.kinds.get(*kind));
            *came.entry((&cause.topic, &cause.event, &kind.source)).or_default() += reaction.records;
        }
        for kind in self.kinds() {
            kinds.entry((&kind.topic, &kind.event)).or_default().push(kind);
        }
        let of = |service: &Declared, topic: &str, event: &str| {
            let offsets = self.groups.committed.get(&service.group);
            let is_behind = |kind: &Kind| {
                kind.first.iter().any(|(partition, first)| {
                    offsets.and_then(|offsets| offsets.get(&(topic.to_owned(), *partition))).is_some_and(|next| first < next)
                })
            };
            Consumed {
                consumer: service.name.clone(),
                event: event.to_owned(),
                topic: topic.to_owned(),
                led_to: came.get(&(topic, event, service.source.as_str())).copied().unwrap_or_default(),
                committed: kinds.get(&(topic, event)).is_some_and(|kinds| kinds.iter().any(|kind| is_behind(kind))),
            }
        };
        let mut all = Vec::new();
        for service in self.all.services() {
            for (topic, events) in self.all.inputs(service) {
                all.extend(events.into_iter().map(|event| of(service, topic, event)));
            }
        }
        all
    }

    fn reactions(&self) -> Vec<Reaction> {
        let (kinds, mut all) = (&self.seen.kinds, BTreeMap::<(String, &str, &str), u64>::new());
        let records = self.seen.reactions.iter().map(|((cause, kind), came)| (kinds.get(*cause).event.as_str(), kind, came));
        let others = self.seen.inputs.iter().map(|((kind, input), came)| (input.as_str(), kind, came));
        for (input, kind, came) in records.chain(others) {
            let kind = kinds.get(*kind);
            *all.entry((self.called(&kind.source), input, &kind.event)).or_default() += came.records;
        }
        let reaction = |((service, input, event), records): ((String, &str, &str), u64)| Reaction {
            service,
            input: named(input, "ce_type"),
            event: named(event, "ce_type"),
            records,
        };
        all.into_iter().map(reaction).collect()
    }

    fn undeclared_producers(&self) -> Vec<Finding> {
        let mut of = BTreeMap::<(&str, &str), Vec<&Kind>>::new();
        for kind in self.kinds().iter().filter(|kind| kind.records > 0 && self.publisher(kind).is_none()) {
            of.entry((&kind.topic, &kind.source)).or_default().push(kind);
        }
        let finding = |((topic, source), kinds): ((&str, &str), Vec<&Kind>)| {
            let who = self.called(source);
            let records: u64 = kinds.iter().map(|kind| kind.records).sum();
            let types: Vec<String> = kinds.iter().take(SHOWN).map(|kind| named(&kind.event, "ce_type")).collect();
            let more = if kinds.len() > SHOWN { format!(" and {} other types", kinds.len() - SHOWN) } else { String::new() };
            let words = format!(
                "{who} publishes to {topic}: {}{more}, {records} record(s), the first at {}; give its description too, or find out who \
                 writes there",
                types.join(", "),
                kinds[0].place()
            );
            Finding { what: What::UndeclaredProducer, who, topic: topic.to_owned(), event: None, words }
        };
        of.into_iter().map(finding).collect()
    }

    fn undeclared_events(&self) -> Vec<Finding> {
        let finding = |kind: &Kind| {
            let service = self.publisher(kind).filter(|service| kind.records > 0 && !service.events.contains(&kind.event))?;
            let (who, event) = (service.name.clone(), named(&kind.event, "ce_type"));
            let words = format!(
                "{who} publishes {event} to {}, {} record(s), the first at {}, and its description doesn't list it; is that of the build \
                 that runs?",
                kind.topic,
                kind.records,
                kind.place()
            );
            Some(Finding { what: What::UndeclaredEvent, who, topic: kind.topic.clone(), event: Some(event), words })
        };
        self.kinds().iter().filter_map(finding).collect()
    }

    /// Who published something that came of a record, and doesn't declare to consume that.
    fn undeclared_consumers(&self) -> Vec<Finding> {
        let (mut found, kinds) = (BTreeMap::<(String, &str, Option<&str>), (u64, String)>::new(), &self.seen.kinds);
        let mut add = |kind: &Kind, topic, event, came: &Came| {
            let first = || format!("{}/{}@{}", kind.topic, came.first.0, came.first.1);
            found.entry((self.called(&kind.source), topic, event)).or_insert_with(|| (0, first())).0 += came.records;
        };
        for ((cause, kind), came) in &self.seen.reactions {
            let (cause, kind) = (kinds.get(*cause), kinds.get(*kind));
            let is_declared = self
                .by_source(&kind.source)
                .is_some_and(|service| service.hears.contains(&cause.topic) && service.reacts_to.contains(&cause.event));
            if !is_declared {
                add(kind, &cause.topic, Some(cause.event.as_str()), came);
            }
        }
        for ((kind, topic), came) in &self.seen.elsewhere {
            let kind = kinds.get(*kind);
            if !self.by_source(&kind.source).is_some_and(|service| service.hears.contains(topic)) {
                add(kind, topic, None, came);
            }
        }
        let finding = |((who, topic, event), (records, first)): ((String, &str, Option<&str>), (u64, String))| {
            let event = event.map(|event| named(event, "ce_type"));
            let what = event.as_ref().map_or_else(|| format!("from {topic}"), |event| format!("{event} from {topic}"));
            let words = format!(
                "{who} consumes {what}: {records} of its records came of that, the first at {first}; no description says so"
            );
            Finding { what: What::UndeclaredConsumer, who, topic: topic.to_owned(), event, words }
        };
        found.into_iter().map(finding).collect()
    }

    /// Groups whose members read a topic now, and that nobody declares for it.
    fn undeclared_groups(&self) -> Vec<Finding> {
        let declared: HashSet<(&str, &str)> =
            self.all.services().iter().flat_map(|s| s.hears.iter().map(|topic| (s.group.as_str(), topic.as_str()))).collect();
        let mut found = BTreeMap::<(&str, &str), Vec<&str>>::new();
        for member in &self.groups.members {
            if !declared.contains(&(member.group.as_str(), member.topic.as_str())) {
                found.entry((&member.group, &member.topic)).or_default().push(&member.who);
            }
        }
        let finding = |((group, topic), members): ((&str, &str), Vec<&str>)| {
            let words =
                format!("consumer group {group} reads {topic} ({}); no description has that group and topic", listed(&members));
            Finding { what: What::UndeclaredConsumer, who: group.to_owned(), topic: topic.to_owned(), event: None, words }
        };
        found.into_iter().map(finding).collect()
    }

    /// Declared consumptions of events that there are, and of which there is no sign.
    fn never_consumed(&self, published: &[Sent], consumed: &[Consumed]) -> Vec<Finding> {
        let there: HashSet<(&str, &str)> =
            published.iter().filter(|sent| sent.records > 0).map(|sent| (sent.topic.as_str(), sent.event.as_str())).collect();
        let is_there = |consumed: &&Consumed| there.contains(&(consumed.topic.as_str(), consumed.event.as_str()));
        let finding = |consumed: &Consumed| {
            let Consumed { consumer, event, topic, .. } = consumed.clone();
            let group = self.all.service(&consumer).map_or("", |s| s.group.as_str());
            let words = format!(
                "{consumer} consumes {event} from {topic}: none of its records came of one, and consumer group {group} has committed no offset \
                 behind one; does it run?"
            );
            Finding { what: What::NeverConsumed, who: consumer, topic, event: Some(event), words }
        };
        consumed.iter().filter(|c| c.led_to == 0 && !c.committed).filter(is_there).map(finding).collect()
    }

    fn too_many(&self) -> Option<Finding> {
        let others = self.seen.kinds.others;
        let words =
            format!("{others} records are of sources and types beyond the first {}, which aren't told apart", self.kinds().len());
        let none = String::new;
        (others > 0).then(|| Finding { what: What::TooMany, who: none(), topic: none(), event: None, words })
    }
}

fn never_published(sent: &Sent) -> Finding {
    let Sent { publisher, event, topic, .. } = sent.clone();
    let words = format!("{publisher} publishes {event} to {topic}: there is no record of it");
    Finding { what: What::NeverPublished, who: publisher, topic, event: Some(event), words }
}

/// A header's value, or that it isn't there.
fn named(value: &str, header: &str) -> String {
    if value.is_empty() { format!("(no {header})") } else { value.to_owned() }
}
