//! A choreography as a Mermaid flowchart: a box a service, an arrow from each publisher to each of its consumers, with the events on it.
//!
//! One arrow a pair keeps it readable: a picture with one an event is a tangle from the fourth service on. Events that nobody
//! consumes aren't drawn; text and pages list them.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use super::choreography::Choreography;

/// The flowchart, without the fence.
pub fn mermaid(all: &Choreography) -> String {
    let mut text = String::from("flowchart LR\n");
    let ids = ids(all);
    let id = |name: &str| ids.get(name).map_or("", String::as_str);
    if all.services().iter().any(|service| service.is_commanded()) {
        text.push_str("  callers([callers])\n");
    }
    for service in all.services() {
        let mut label = format!("<b>{}</b>", escaped(&service.name));
        if !service.deadlines.is_empty() {
            let _ = write!(label, "<br/>deadline: {}", escaped(&service.deadlines.join(", ")));
        }
        let _ = writeln!(text, "  {}[\"{label}\"]", id(&service.name));
    }
    if all.services().iter().any(|service| !service.effects.is_empty()) {
        text.push_str("  world([outside world])\n");
    }
    for service in all.services().iter().filter(|service| service.is_commanded()) {
        let _ = writeln!(text, "  callers -. commands .-> {}", id(&service.name));
    }
    for (from, to, events) in all.edges() {
        let _ = writeln!(
            text,
            "  {} -- \"{}\" --> {}",
            id(from),
            events.iter().map(|e| escaped(e)).collect::<Vec<_>>().join("<br/>"),
            id(to)
        );
    }
    for service in all.services().iter().filter(|service| !service.effects.is_empty()) {
        let effects: Vec<String> = service.effects.iter().map(|effect| escaped(effect)).collect();
        let _ = writeln!(text, "  {} <-. \"{}\" .-> world", id(&service.name), effects.join("<br/>"));
    }
    text
}

/// A node for each service: its name, where that is no word of Mermaid's and nobody else's.
fn ids(all: &Choreography) -> HashMap<&str, String> {
    let mut taken = BTreeSet::from(["callers".to_owned(), "world".to_owned()]);
    let (mut ids, mut longest) = (HashMap::new(), HashMap::<String, usize>::new());
    for service in all.services() {
        let word: String = service.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        // Shorter ones of the same word are taken.
        let tail = longest.entry(word.clone()).or_default();
        let mut id = format!("s_{word}{}", "_".repeat(*tail));
        while !taken.insert(id.clone()) {
            id.push('_');
            *tail += 1;
        }
        ids.insert(service.name.as_str(), id);
    }
    ids
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || " _-.,:".contains(c) => escaped.push(c),
            c if c.is_control() => escaped.push(' '),
            // As Mermaid writes it: HTML's number, with a hash for the ampersand.
            c => drop(write!(escaped, "#{};", u32::from(c))),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::declared::Declared;

    #[test]
    fn names_break_neither_nodes_nor_labels() {
        let named = |name: &str| Declared { name: name.to_owned(), commands: "Never".to_owned(), ..Declared::default() };
        let text = mermaid(&Choreography::of(vec![named("a-b"), named("a_b"), named("say \"hi\"]")]));
        assert_eq!(
            text,
            "flowchart LR\n  s_a_b[\"<b>a-b</b>\"]\n  s_a_b_[\"<b>a_b</b>\"]\n  s_say__hi__[\"<b>say #34;hi#34;#93;</b>\"]\n"
        );
    }
}
