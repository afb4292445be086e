//! What a world says otherwise than is meant, looked for before it is explored.

use crate::model::short;
use crate::world::World;

impl World {
    /// Topics that a participant subscribes to, and that nobody publishes.
    pub(crate) fn unpublished(&self) -> Vec<String> {
        let publishes = |topic: &&str| self.names.contains(topic);
        let each = self.actors.iter().filter_map(|actor| {
            let topics: Vec<&str> = actor.topics().into_iter().filter(|topic| !publishes(topic)).collect();
            let what = if topics.len() == 1 { "it" } else { "them" };
            let words = || format!("nobody publishes {}, and {} subscribes to {what}", topics.join(", "), actor.name());
            (!topics.is_empty()).then(words)
        });
        each.collect()
    }

    /// What would make the world say something else than is meant.
    pub(crate) fn look(&self) {
        for actor in &self.actors {
            assert!(
                !actor.lacks_answers(),
                "{} has effects: say by `.outside(…)` what the outside world may answer, or that it never does by no answers",
                actor.name()
            );
        }
        for publisher in &self.actors {
            for reader in self.actors.iter().filter(|reader| reader.topics().contains(&publisher.name())) {
                for of in publisher.publishes() {
                    assert!(
                        reader.hears(of.name) || reader.ignores(of.name),
                        "{} publishes {}, which {} neither subscribes to nor ignores: it would hold up its key",
                        publisher.name(),
                        short(of.name),
                        reader.name()
                    );
                }
            }
        }
        for (publisher, reader) in self.actors.iter().flat_map(|p| self.actors.iter().map(move |r| (p, r))) {
            let published = |kind: &str| publisher.publishes().iter().any(|of| of.name == kind);
            for of in reader.handles().iter().filter(|of| published(of.name)) {
                assert!(
                    of.topic == publisher.name(),
                    "{} publishes {}, and {} subscribes to topic {:?} for it: the `TOPIC` of its type must be {:?}",
                    publisher.name(),
                    short(of.name),
                    reader.name(),
                    of.topic,
                    publisher.name()
                );
            }
        }
        let all = self.parts(&self.begin());
        assert!(
            all.iter().all(|print| *print == all[0]),
            "the names that are declared interchangeable aren't: what has happened, or may be asked, differs between them. Ask the same \
             of each, in labels that differ only by the name"
        );
    }
}
