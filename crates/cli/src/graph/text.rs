//! A choreography in words.

use std::fmt::Write as _;

use farandole::cli::shown;

use super::choreography::Choreography;
use super::words::{counted, listed, short};

/// Each service with what it publishes, to whom, and what it consumes. A name ends no line, whatever is in it.
pub fn text(all: &Choreography) -> String {
    let mut text = String::new();
    let events = all.events().count();
    let ends = all.events().filter(|event| event.end).count();
    let (services, events) = (counted(all.services().len(), "service"), counted(events, "event"));
    let _ = writeln!(text, "{services}, {events}, {ends} of them {}", if ends == 1 { "an end" } else { "ends" });
    for service in all.services() {
        let _ = writeln!(text, "\n{}", shown(&service.name));
        if !service.events.is_empty() {
            let _ = writeln!(text, "  publishes to {}", shown(&service.publishes));
        }
        for event in all.published(service) {
            let whom = match (event.end, event.consumers.is_empty()) {
                (true, true) => "an end".to_owned(),
                (true, false) => format!("to {}; an end", listed(&event.consumers)),
                (false, _) => format!("to {}", listed(&event.consumers)),
            };
            let _ = writeln!(text, "    {:<24} {}", shown(short(event.event)), shown(&whom));
        }
        for (topic, events) in all.inputs(service) {
            let events: Vec<&str> = events.into_iter().map(short).collect();
            let _ = writeln!(text, "  consumes from {}: {}", shown(topic), shown(&events.join(", ")));
        }
        let rows = [
            ("takes commands", if service.is_commanded() { vec![service.commands.as_str()] } else { Vec::new() }),
            ("sets deadlines", service.deadlines.iter().map(String::as_str).collect()),
            ("asks the outside world", service.effects.iter().map(String::as_str).collect()),
        ];
        for (what, names) in rows.into_iter().filter(|(_, names)| !names.is_empty()) {
            let _ = writeln!(text, "  {what}: {}", shown(&names.join(", ")));
        }
    }
    text
}
