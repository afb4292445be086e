//! Pages for readers: the choreography as a whole, and one for each event from the docs of its schema.

mod fields;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::asyncapi::asyncapi;
use super::choreography::{Choreography, Published};
use super::mermaid::mermaid;
use super::schemas::Schemas;
use super::words::{listed, plain, short};
use super::yaml::yaml;

const MADE: &str = "<!-- Written by `farandole graph --pages`. -->\n";

/// Every file: `choreography.md`, `asyncapi.yaml`, and `events/<topic>/<Event>.md`, with its text.
pub fn pages(all: &Choreography, schemas: &Schemas) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([
        ("choreography.md".to_owned(), whole(all, schemas)),
        ("asyncapi.yaml".to_owned(), format!("# Written by `farandole graph --pages`.\n{}", yaml(&asyncapi(all, Some(schemas))))),
    ]);
    for event in all.events() {
        files.insert(file(&event), page(&event, schemas));
    }
    files
}

/// Writes them below `folder`, and removes nothing.
///
/// # Errors
/// When one can't be written.
pub fn write(folder: &Path, files: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        let writing = || format!("writing {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(writing)?;
        }
        std::fs::write(&path, text).with_context(writing)?;
    }
    Ok(())
}

fn file(event: &Published<'_>) -> String {
    format!("events/{}/{}.md", plain(event.topic), plain(short(event.event)))
}

fn whole(all: &Choreography, schemas: &Schemas) -> String {
    let mut text = format!(
        "# Choreography\n\n{MADE}\nWho publishes what, and who consumes it, as each service declares it (`describe`). A box is a service. A solid \
         arrow is a topic that\nsomebody subscribes to, from its publisher to the consumer, with the events that are consumed. Dashed arrows \
         lead to callers and to\nthe outside world. Events that nobody consumes are in the tables only. [asyncapi.yaml](asyncapi.yaml) says the \
         same to tools.\n\n```mermaid\n{}```\n",
        mermaid(all)
    );
    for (topic, events) in all.topics() {
        let mut publishers: Vec<&str> = events.iter().map(|event| event.publisher).collect();
        publishers.dedup();
        let _ = writeln!(text, "\n## Topic {topic}\n\nPublished by {}.\n", listed(&publishers));
        text.push_str("| event | means | consumed by |\n|---|---|---|\n");
        for event in events {
            let doc = schemas.doc(event.event).map_or_else(String::new, cell);
            let whom =
                if event.consumers.is_empty() && event.end { "– (an end)".to_owned() } else { cell(&listed(&event.consumers)) };
            let _ = writeln!(text, "| [{}]({}) | {doc} | {whom} |", cell(short(event.event)), file(&event));
        }
    }
    text.push_str("\n## Services\n\n| service | takes commands | sets deadlines | asks the outside world |\n|---|---|---|---|\n");
    for service in all.services() {
        let names = |names: &[String]| {
            if names.is_empty() {
                "–".to_owned()
            } else {
                names.iter().map(|n| format!("`{}`", cell(n))).collect::<Vec<_>>().join(", ")
            }
        };
        let commands = if service.is_commanded() { "yes" } else { "–" };
        let _ = writeln!(
            text,
            "| {} | {commands} | {} | {} |",
            cell(&service.name),
            names(&service.deadlines),
            names(&service.effects)
        );
    }
    text
}

fn page(event: &Published<'_>, schemas: &Schemas) -> String {
    let name = short(event.event);
    let end = if event.end { " It is declared an end: nobody need consume it." } else { "" };
    let mut text = format!("# {name}\n\n{MADE}\n");
    if let Some(doc) = schemas.doc(event.event) {
        let _ = writeln!(text, "{doc}\n");
    }
    let _ = writeln!(
        text,
        "`{}`, on topic [{}](../../choreography.md#{}). Published by {}, consumed by {}.{end}",
        event.event,
        event.topic,
        anchor(&format!("Topic {}", event.topic)),
        event.publisher,
        listed(&event.consumers)
    );
    if let Some(schema) = schemas.of(event.event) {
        text.push_str(&fields::tables(schema));
    }
    text
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Text in a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
