//! Declarations, put together: which event goes from whom to whom, and what doesn't fit.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::declared::Declared;
use super::words::{listed, short};

/// What all services declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choreography {
    /// The services, in the order in which they were given.
    pub services: Vec<Declared>,
}

/// One event of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published<'a> {
    /// The type's full name.
    pub event: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// Who publishes it.
    pub publisher: &'a str,
    /// Who consumes it.
    pub consumers: Vec<&'a str>,
    /// Whether it is declared an end: nobody need consume it.
    pub end: bool,
}

impl Choreography {
    /// Of these services.
    pub fn of(services: Vec<Declared>) -> Self {
        Self { services }
    }

    /// Every event, by service.
    pub fn events(&self) -> impl Iterator<Item = Published<'_>> {
        self.services.iter().flat_map(move |service| {
            service.events.iter().map(move |event| Published {
                event,
                topic: &service.publishes,
                publisher: &service.name,
                consumers: self.consumers(&service.publishes, event).map(|consumer| consumer.name.as_str()).collect(),
                end: service.ends.contains(event),
            })
        })
    }

    fn consumers(&self, topic: &str, event: &str) -> impl Iterator<Item = &Declared> {
        self.services.iter().filter(move |s| s.hears.iter().any(|t| t == topic) && s.reacts_to.iter().any(|t| t == event))
    }

    /// The topics, each with the services that publish to it and their events.
    pub fn topics(&self) -> BTreeMap<&str, Vec<Published<'_>>> {
        let mut topics = BTreeMap::<&str, Vec<Published<'_>>>::new();
        for event in self.events() {
            topics.entry(event.topic).or_default().push(event);
        }
        topics
    }

    /// From whom to whom, with the short names of the events on the way.
    pub fn edges(&self) -> Vec<(&str, &str, Vec<&str>)> {
        let mut edges = Vec::<(&str, &str, Vec<&str>)>::new();
        for event in self.events() {
            for consumer in event.consumers {
                match edges.iter_mut().find(|(from, to, _)| (*from, *to) == (event.publisher, consumer)) {
                    Some((_, _, events)) => events.push(short(event.event)),
                    None => edges.push((event.publisher, consumer, vec![short(event.event)])),
                }
            }
        }
        edges
    }

    /// What a service consumes: by topic, full names.
    pub fn inputs<'a>(&'a self, service: &'a Declared) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut inputs = BTreeMap::<&str, Vec<&str>>::new();
        for event in self.events().filter(|event| event.consumers.contains(&service.name.as_str())) {
            let events = inputs.entry(event.topic).or_default();
            // Two programs may publish the same type to one topic.
            if !events.contains(&event.event) {
                events.push(event.event);
            }
        }
        inputs
    }

    /// What doesn't fit, a sentence each, with what to do. `schemas`: the types that have one, where that is asked.
    pub fn problems(&self, schemas: Option<&BTreeSet<&str>>) -> Vec<String> {
        let mut problems = Vec::new();
        for service in &self.services {
            let name = &service.name;
            for event in &service.reacts_to {
                let elsewhere: Vec<&str> = self.events().filter(|p| p.event == event).map(|published| published.topic).collect();
                if elsewhere.is_empty() {
                    problems.push(format!(
                        "{name} consumes {event}, which nobody publishes; give its publisher's description too, or take it out of {name}"
                    ));
                } else if !elsewhere.iter().any(|topic| service.hears.iter().any(|heard| heard == topic)) {
                    let heard: Vec<&str> = service.hears.iter().map(String::as_str).collect();
                    problems.push(format!(
                        "{name} consumes {event} from {}, but it is published to {}; are their prefixes the same?",
                        listed(&heard),
                        listed(&elsewhere)
                    ));
                }
            }
            for topic in service.hears.iter().filter(|topic| !self.services.iter().any(|s| s.publishes == **topic)) {
                problems.push(format!(
                    "{name} subscribes to topic {topic}, to which nobody publishes; give its publisher's description too"
                ));
            }
            for end in service.ends.iter().filter(|end| !service.events.contains(end)) {
                problems.push(format!("{name} declares {end} an end, and doesn't publish it"));
            }
        }
        for Published { event, publisher, consumers, end, .. } in self.events() {
            if consumers.is_empty() && !end {
                problems.push(format!(
                    "{publisher} publishes {event}, which nobody consumes; have a service subscribe to it, or declare it an end: \
                     `ends {{ {} }}` in the `messages!` of {publisher}",
                    short(event)
                ));
            }
            if schemas.is_some_and(|schemas| !schemas.contains(event)) {
                problems.push(format!("{publisher} publishes {event}, of which there is no schema; write its .avsc file"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, events: &[&str], ends: &[&str], hears: &[&str], reacts_to: &[&str]) -> Declared {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Declared {
            name: name.to_owned(),
            publishes: name.to_owned(),
            events: owned(events),
            ends: owned(ends),
            hears: owned(hears),
            reacts_to: owned(reacts_to),
            ..Declared::default()
        }
    }

    /// Guards: each condition of [`Choreography::problems`].
    #[test]
    fn what_does_not_fit_is_named_with_what_to_do() {
        let a = || service("a", &["a.Made", "a.Gone"], &["a.Gone"], &[], &[]);
        let b = || service("b", &[], &[], &["a"], &["a.Made"]);
        let of = |services: Vec<Declared>| Choreography::of(services).problems(None);
        assert_eq!(of(vec![a(), b()]), [""; 0]);
        let cases: [(Vec<Declared>, &str); 6] = [
            (vec![a()], "a publishes a.Made, which nobody consumes"),
            (vec![b()], "b consumes a.Made, which nobody publishes"),
            (vec![b()], "b subscribes to topic a, to which nobody publishes"),
            (vec![Declared { ends: Vec::new(), ..a() }, b()], "a publishes a.Gone, which nobody consumes"),
            (vec![service("a", &["a.Made"], &["a.Gone"], &[], &[]), b()], "a declares a.Gone an end, and doesn't publish it"),
            (vec![a(), service("b", &[], &[], &["x-a"], &["a.Made"])], "from x-a, but it is published to a"),
        ];
        for (services, words) in cases {
            let found = of(services);
            assert!(found.iter().any(|problem| problem.contains(words)), "{words}: {found:?}");
        }
        let schemas = BTreeSet::from(["a.Made"]);
        let found = Choreography::of(vec![a(), b()]).problems(Some(&schemas));
        assert!(found.len() == 1 && found[0].contains("a.Gone, of which there is no schema"), "{found:?}");
    }
}
