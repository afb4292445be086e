//! The kit's [`State`], as a part of a world.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use uuid::Uuid;

use farandole_outbox::publish::relay::state::State;

/// A step's state, which can be hashed by what changes in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step(pub State);

impl Eq for Step {}

impl Hash for Step {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let State { lineage, acked, in_flight, next, heads, healing, .. } = &self.0;
        (lineage, &acked.0, in_flight.as_ref().map(|batch| (&batch.upto.0, batch.after)), next, healing).hash(hasher);
        heads.values().flatten().for_each(|(partition, head)| (partition, head.lineage, head.number, head.id).hash(hasher));
    }
}

impl Step {
    /// Before the first round, with a topic of so many partitions.
    pub fn first(topic: &str, partitions: usize) -> Self {
        let count = i32::try_from(partitions).unwrap_or(1);
        Self(State { partitions: BTreeMap::from([(topic.to_owned(), count)]), ..State::first("7".to_owned()) })
    }

    /// The id of an event, by the index of its row.
    pub fn id(row: usize) -> Uuid {
        Uuid::from_u128(row as u128 + 1)
    }
}
