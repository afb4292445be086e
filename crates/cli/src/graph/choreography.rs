//! Declarations, put together: which event goes from whom to whom, and what doesn't fit.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use serde::Serialize;

use super::declared::Declared;
use super::words::{listed, short};

/// What all services declare. Who consumes what is looked up once, when it is made: there may be thousands of services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choreography {
    services: Vec<Declared>,
    /// Services by name.
    numbers: HashMap<String, usize>,
    /// Every event, by service.
    events: Vec<Event>,
    /// Those of each service.
    published: Vec<Range<usize>>,
    /// Those that each service consumes.
    consumed: Vec<Vec<usize>>,
    /// Those of each type.
    by_type: HashMap<String, Vec<usize>>,
}

/// An event, by numbers of services.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    service: usize,
    /// Its place in the service's `events`.
    at: usize,
    end: bool,
    consumers: Vec<usize>,
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
    /// Of these services, whose names differ.
    pub fn of(services: Vec<Declared>) -> Self {
        let (mut events, mut published) = (Vec::new(), Vec::new());
        let mut by_type = HashMap::<String, Vec<usize>>::new();
        for (service, declared) in services.iter().enumerate() {
            let (first, ends) = (events.len(), set(&declared.ends));
            for (at, event) in declared.events.iter().enumerate() {
                by_type.entry(event.clone()).or_default().push(events.len());
                events.push(Event { service, at, end: ends.contains(event.as_str()), consumers: Vec::new() });
            }
            published.push(first..events.len());
        }
        let mut consumed = Vec::new();
        for (consumer, declared) in services.iter().enumerate() {
            let heard = set(&declared.hears);
            let of_type = set(&declared.reacts_to).into_iter().filter_map(|event| by_type.get(event)).flatten().copied();
            let mut inputs: Vec<usize> =
                of_type.filter(|event| heard.contains(services[events[*event].service].publishes.as_str())).collect();
            inputs.sort_unstable();
            inputs.iter().for_each(|event| events[*event].consumers.push(consumer));
            consumed.push(inputs);
        }
        let numbers = services.iter().enumerate().map(|(number, service)| (service.name.clone(), number)).collect();
        Self { services, numbers, events, published, consumed, by_type }
    }

    /// The services, in the order in which they were given.
    pub fn services(&self) -> &[Declared] {
        &self.services
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Declared> {
        self.numbers.get(name).map(|number| &self.services[*number])
    }

    /// Every event, by service.
    pub fn events(&self) -> impl Iterator<Item = Published<'_>> {
        self.events.iter().map(|event| self.event(event))
    }

    /// The events of one of the services.
    pub fn published(&self, service: &Declared) -> impl Iterator<Item = Published<'_>> {
        let range = self.numbers.get(&service.name).map_or(0..0, |number| self.published[*number].clone());
        self.events[range].iter().map(|event| self.event(event))
    }

    fn event(&self, event: &Event) -> Published<'_> {
        let service = &self.services[event.service];
        Published {
            event: &service.events[event.at],
            topic: &service.publishes,
            publisher: &service.name,
            consumers: event.consumers.iter().map(|consumer| self.services[*consumer].name.as_str()).collect(),
            end: event.end,
        }
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
        let (mut edges, mut known) = (Vec::<(&str, &str, Vec<&str>)>::new(), HashMap::new());
        for event in self.events() {
            for consumer in event.consumers {
                let edge = *known.entry((event.publisher, consumer)).or_insert(edges.len());
                if edge == edges.len() {
                    edges.push((event.publisher, consumer, Vec::new()));
                }
                edges[edge].2.push(short(event.event));
            }
        }
        edges
    }

    /// What one of the services consumes: by topic, full names.
    pub fn inputs(&self, service: &Declared) -> BTreeMap<&str, Vec<&str>> {
        let (mut inputs, mut known) = (BTreeMap::<&str, Vec<&str>>::new(), HashSet::new());
        let consumed = self.numbers.get(&service.name).map(|number| &self.consumed[*number]);
        for event in consumed.into_iter().flatten() {
            let publisher = &self.services[self.events[*event].service];
            let (topic, event) = (publisher.publishes.as_str(), publisher.events[self.events[*event].at].as_str());
            // Two programs may publish the same type to one topic.
            if known.insert((topic, event)) {
                inputs.entry(topic).or_default().push(event);
            }
        }
        inputs
    }

    /// Whose each topic is: of those that publish to it, the one that it is named after (`backorders` is not that of `orders`), or else the
    /// first.
    fn owners(&self) -> HashMap<&str, &str> {
        let mut owners = HashMap::<&str, &str>::new();
        let publishers = || self.services.iter().filter(|service| !service.events.is_empty());
        let (mut named, others): (Vec<_>, Vec<_>) = publishers().partition(|service| service.publishes.ends_with(&service.name));
        named.sort_by_key(|service| std::cmp::Reverse(service.name.len()));
        for service in named.into_iter().chain(others) {
            owners.entry(&service.publishes).or_insert(&service.name);
        }
        owners
    }

    /// What doesn't fit, a sentence each, with what to do. `schemas`: the types that have one, where that is asked.
    pub fn problems(&self, schemas: Option<&BTreeSet<&str>>) -> Vec<String> {
        let topics: HashSet<&str> = self.services.iter().map(|service| service.publishes.as_str()).collect();
        let (owners, mut problems) = (self.owners(), Vec::new());
        for service in &self.services {
            let name = &service.name;
            problems.extend(service.unknown.iter().filter_map(|unknown| unknown.slip(name)));
            if let Some(owner) =
                owners.get(service.publishes.as_str()).filter(|owner| *owner != name && !service.events.is_empty())
            {
                problems.push(format!(
                    "{name} publishes to {}, which is the topic of {owner}; a topic has one service, so give {name} a topic of its own",
                    service.publishes
                ));
            }
            if service.hears.is_empty() && !service.reacts_to.is_empty() {
                problems.push(format!(
                    "{name} consumes {}, and its description has no `hears`; name there the topics that it subscribes to",
                    listed(&service.reacts_to.iter().map(String::as_str).collect::<Vec<_>>())
                ));
            }
            let heard = set(&service.hears);
            for event in &service.reacts_to {
                let Some(publishers) = self.by_type.get(event) else {
                    problems.push(format!(
                        "{name} consumes {event}, which nobody publishes; give its publisher's description too, or take it out of {name}"
                    ));
                    continue;
                };
                let elsewhere = publishers.iter().map(|event| self.services[self.events[*event].service].publishes.as_str());
                if !heard.is_empty() && !elsewhere.clone().any(|topic| heard.contains(topic)) {
                    problems.push(format!(
                        "{name} consumes {event} from {}, but it is published to {}; are their prefixes the same?",
                        listed(&service.hears.iter().map(String::as_str).collect::<Vec<_>>()),
                        listed(&elsewhere.collect::<Vec<_>>())
                    ));
                }
            }
            for topic in service.hears.iter().filter(|topic| !topics.contains(topic.as_str())) {
                problems.push(format!(
                    "{name} subscribes to topic {topic}, to which nobody publishes; give its publisher's description too"
                ));
            }
            let events = set(&service.events);
            for end in service.ends.iter().filter(|end| !events.contains(end.as_str())) {
                problems.push(format!("{name} declares {end} an end, and doesn't publish it"));
            }
        }
        for Published { event, publisher, consumers, end, .. } in self.events() {
            if consumers.is_empty() && !end {
                problems.push(format!(
                    "{publisher} publishes {event}, which nobody consumes; have a service subscribe to it, or declare it an end: in {publisher}'s \
                     description, `\"ends\": [\"{event}\"]`; a service of the kit describes itself so after `ends {{ {} }}` in its \
                     `messages!`",
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

fn set(names: &[String]) -> HashSet<&str> {
    names.iter().map(String::as_str).collect()
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

    #[test]
    fn an_event_goes_to_whom_hears_its_topic_once_for_each_publisher() {
        let all = Choreography::of(vec![
            Declared { publishes: "t".to_owned(), ..service("a", &["x.X", "x.Y"], &["x.Y"], &[], &[]) },
            Declared { publishes: "t".to_owned(), ..service("b", &["x.X"], &[], &["t"], &["x.X", "x.Y", "x.X"]) },
            service("c", &["x.X"], &[], &["t", "c", "t"], &["x.X"]),
            service("d", &[], &[], &[], &["x.X"]),
        ]);
        let whom: Vec<_> = all.events().map(|event| (event.publisher, event.event, event.consumers, event.end)).collect();
        let expected = [
            ("a", "x.X", vec!["b", "c"], false),
            ("a", "x.Y", vec!["b"], true),
            ("b", "x.X", vec!["b", "c"], false),
            ("c", "x.X", vec!["c"], false),
        ];
        assert_eq!(whom, expected);
        assert_eq!(
            all.edges(),
            [
                ("a", "b", vec!["X", "Y"]),
                ("a", "c", vec!["X"]),
                ("b", "b", vec!["X"]),
                ("b", "c", vec!["X"]),
                ("c", "c", vec!["X"]),
            ]
        );
        let inputs = |name| all.inputs(all.service(name).unwrap());
        assert_eq!(inputs("b"), BTreeMap::from([("t", vec!["x.X", "x.Y"])]));
        assert_eq!(inputs("c"), BTreeMap::from([("t", vec!["x.X"]), ("c", vec!["x.X"])]));
        assert_eq!(all.published(all.service("a").unwrap()).map(|event| event.event).collect::<Vec<_>>(), ["x.X", "x.Y"]);
        assert_eq!((inputs("d").len(), all.published(&service("e", &[], &[], &[], &[])).count()), (0, 0));
    }

    /// Guards: each condition of [`Choreography::problems`].
    #[test]
    fn what_does_not_fit_is_named_with_what_to_do() {
        let a = || service("a", &["a.Made", "a.Gone"], &["a.Gone"], &[], &[]);
        let b = || service("b", &[], &[], &["a"], &["a.Made"]);
        let of = |services: Vec<Declared>| Choreography::of(services).problems(None);
        assert_eq!(of(vec![a(), b()]), [""; 0]);
        let second = || Declared { publishes: "a".to_owned(), ..service("c", &["c.Made"], &["c.Made"], &[], &[]) };
        let cases: [(Vec<Declared>, &str); 9] = [
            (vec![a(), b(), second()], "c publishes to a, which is the topic of a; a topic has one service"),
            (vec![second(), a(), b()], "c publishes to a, which is the topic of a; a topic has one service"),
            (vec![a()], "a publishes a.Made, which nobody consumes"),
            (vec![b()], "b consumes a.Made, which nobody publishes"),
            (vec![b()], "b subscribes to topic a, to which nobody publishes"),
            (vec![Declared { ends: Vec::new(), ..a() }, b()], "a publishes a.Gone, which nobody consumes"),
            (vec![service("a", &["a.Made"], &["a.Gone"], &[], &[]), b()], "a declares a.Gone an end, and doesn't publish it"),
            (vec![a(), service("b", &[], &[], &["x-a"], &["a.Made"])], "from x-a, but it is published to a"),
            (
                vec![a(), service("b", &[], &[], &[], &["a.Made"])],
                "b consumes a.Made, and its description has no `hears`; name there",
            ),
        ];
        for (services, words) in cases {
            let found = of(services);
            assert!(found.iter().any(|problem| problem.contains(words)), "{words}: {found:?}");
        }
        let found = of(vec![a(), service("b", &[], &[], &[], &["a.Made", "a.Gone"])]);
        assert!(found.len() == 2 && !found.iter().any(|problem| problem.contains("prefixes")), "{found:?}");
        let reader = || Declared { publishes: "a".to_owned(), ..b() };
        assert_eq!(of(vec![a(), reader()]), [""; 0], "who has no events publishes nothing");
        let schemas = BTreeSet::from(["a.Made"]);
        let found = Choreography::of(vec![a(), b()]).problems(Some(&schemas));
        assert!(found.len() == 1 && found[0].contains("a.Gone, of which there is no schema"), "{found:?}");
    }
}
