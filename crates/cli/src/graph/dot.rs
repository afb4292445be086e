//! A choreography for Graphviz: the picture that `mermaid` draws.

use std::fmt::Write as _;

use super::choreography::Choreography;

/// A directed graph.
pub fn dot(all: &Choreography) -> String {
    let mut text = String::from(
        "digraph choreography {\n  rankdir=LR\n  node [shape=box, fontname=\"Helvetica\"]\n  edge [fontname=\"Helvetica\", fontsize=10]\n",
    );
    for service in all.services() {
        let deadlines =
            if service.deadlines.is_empty() { String::new() } else { format!("\ndeadline: {}", service.deadlines.join(", ")) };
        let _ = writeln!(text, "  {} [label={}]", node(&service.name), quoted(&format!("{}{deadlines}", service.name)));
    }
    for service in all.services().iter().filter(|service| service.is_commanded()) {
        let _ = writeln!(text, "  callers -> {} [label=\"commands\", style=dashed]", node(&service.name));
    }
    for (from, to, events) in all.edges() {
        let _ = writeln!(text, "  {} -> {} [label={}]", node(from), node(to), quoted(&events.join("\n")));
    }
    for service in all.services().iter().filter(|service| !service.effects.is_empty()) {
        let effects = quoted(&service.effects.join("\n"));
        let _ = writeln!(text, "  {} -> \"outside world\" [label={effects}, style=dashed, dir=both]", node(&service.name));
    }
    for (node, drawn) in [
        ("callers", all.services().iter().any(|service| service.is_commanded())),
        ("\"outside world\"", all.services().iter().any(|service| !service.effects.is_empty())),
    ] {
        if drawn {
            let _ = writeln!(text, "  {node} [shape=oval]");
        }
    }
    text.push_str("}\n");
    text
}

/// The node of a service, which is no other's: names of services have no colon.
fn node(name: &str) -> String {
    quoted(&format!("service:{name}"))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
