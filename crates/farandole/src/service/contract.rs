//! What the shell knows of a participant: its name, its topics, its types; everything but how it decides.
//!
//! The shell's code takes this and not the participant's type, and its futures are boxed where it is called: so it is compiled once, and not
//! once for each service.

use crate::participant::Participant;
use crate::participant::table::Tables as _;
use crate::participant::task::{Deadline as _, Effect as _};
use crate::wire::message::{Message as _, RecordType};

/// A participant as those see it who don't decide.
#[derive(Debug, Clone)]
pub struct Contract {
    pub name: &'static str,
    /// The topics that it hears, as their owners call them.
    pub hears: Vec<&'static str>,
    /// Types of theirs that it leaves alone, if it lists them.
    pub ignores: Option<&'static [RecordType]>,
    /// Types of its facts.
    pub events: &'static [RecordType],
    /// Those of them that nobody need subscribe to.
    pub ends: &'static [RecordType],
    /// Types of the events that it reacts to.
    pub heard: &'static [RecordType],
    pub tables: &'static [&'static str],
    /// The tables' columns.
    pub columns: Vec<(&'static str, &'static [&'static str], usize)>,
    /// The name of its commands' type; `Never` where it has none.
    pub commands: &'static str,
    pub deadlines: Vec<&'static str>,
    pub effects: &'static [&'static str],
}

impl Contract {
    pub fn of<P: Participant>() -> Self {
        Self {
            name: P::NAME,
            hears: P::Heard::topics(),
            ignores: P::Heard::IGNORES,
            events: P::Event::TYPES,
            ends: P::Event::ENDS,
            heard: P::Heard::TYPES,
            tables: P::Tables::names(),
            columns: P::Tables::columns(),
            commands: name_of::<P::Command>(),
            deadlines: P::Deadline::ALL.iter().map(|deadline| deadline.name()).collect(),
            effects: P::Effect::NAMES,
        }
    }
}

/// A type's name without its path; whole if it is generic.
fn name_of<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    if name.contains('<') { name } else { name.rsplit("::").next().unwrap_or(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_called_as_they_are_declared() {
        assert_eq!(name_of::<crate::Never>(), "Never");
        assert_eq!(name_of::<u8>(), "u8");
        assert_eq!(name_of::<Option<crate::Never>>(), std::any::type_name::<Option<crate::Never>>());
    }
}
