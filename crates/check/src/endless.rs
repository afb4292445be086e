//! What goes on without end: an event that comes again and again out of itself, or an aggregate that only grows.
//!
//! What counts is what led to what. Several callers, several events of one decision, or an input that comes again make many events, none of which
//! leads to the next.

use std::sync::Arc;

use crate::fault::Fault;
use crate::model::{Happening, short};
use crate::state::{Entry, Place, State};
use crate::world::World;

impl World {
    /// Whether the newest events have too many of their own kind among what led to them, or their aggregate has too many events.
    pub(crate) fn is_endless(&self, state: &State, Happening { of, ran }: &Happening) -> Option<Fault> {
        if ran.events.is_empty() {
            return None;
        }
        let log = state.locals[*of].log(&ran.aggregate)?;
        let events = log.entries.len();
        let aggregate = || format!("{} {}", self.actors[*of].name(), log.key);
        for at in events.saturating_sub(ran.events.len())..events {
            let newest = Place { of: *of, key: Arc::clone(&log.key), at };
            if let Some(cycle) = self.round(state, newest) {
                return Some(Fault::Endless { aggregate: aggregate(), events, times: self.rounds, cycle: Some(cycle) });
            }
        }
        (events > self.events).then(|| Fault::Endless { aggregate: aggregate(), events, times: self.rounds, cycle: None })
    }

    /// The way from one event of this kind to the next, if there are too many in a row.
    fn round(&self, state: &State, newest: Place) -> Option<Vec<String>> {
        let entry = |place: &Place| -> Option<&Arc<Entry>> { state.locals[place.of].log(&place.key)?.entries.get(place.at) };
        let (of, kind) = (newest.of, entry(&newest)?.kind);
        let (mut times, mut way, mut next) = (0, Vec::new(), Some(newest));
        while let Some(place) = next {
            let entry = entry(&place)?;
            if place.of == of && entry.kind == kind {
                times += 1;
            }
            if times <= 1 {
                way.push(format!("{}.{}", self.actors[place.of].name(), short(entry.kind)));
            }
            if times >= self.rounds {
                way.reverse();
                return Some(way);
            }
            next = entry.parent.clone();
        }
        None
    }
}
