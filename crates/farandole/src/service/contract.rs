//! What the shell knows of a participant: its name, its topics, its types; everything but how it decides.
//!
//! The shell's code takes this and not the participant's type, and its futures are boxed where it is called: so it is compiled once, and not
//! once for each service.

use crate::participant::Participant;
use crate::participant::table::Tables as _;
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
    /// Types of the events that it reacts to.
    pub heard: &'static [RecordType],
    pub tables: &'static [&'static str],
    /// The types of its commands and effects.
    pub commands: &'static str,
    pub effects: &'static str,
}

impl Contract {
    pub fn of<P: Participant>() -> Self {
        Self {
            name: P::NAME,
            hears: P::Heard::topics(),
            ignores: P::Heard::IGNORES,
            events: P::Event::TYPES,
            heard: P::Heard::TYPES,
            tables: P::Tables::names(),
            commands: std::any::type_name::<P::Command>(),
            effects: std::any::type_name::<P::Effect>(),
        }
    }
}
