//! Which topic a schema's events are on.

use std::collections::BTreeMap;

use crate::files::File;
use crate::names::is_topic;

/// What was said about topics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics {
    /// By a file, a folder, a record's full name or a namespace.
    pub said: BTreeMap<String, String>,
    /// Of what lies in no folder and isn't said.
    pub otherwise: Option<String>,
}

impl Topics {
    /// The topic of a file's events: what was said of its record, its file, its folder, its namespace or one around them, in this order;
    /// else the folder that holds it.
    pub(crate) fn of(&self, file: &File) -> Result<String, String> {
        let said = names(file).into_iter().find_map(|name| self.said.get(&name));
        let by_folder = || (!file.folder().is_empty()).then(|| file.folder().join("."));
        let topic = said.cloned().or_else(by_folder).or_else(|| self.otherwise.clone());
        let topic = topic.ok_or_else(|| {
            format!(
                "{}: has no topic; put it in a folder with the topic's name, or name one in the build script: .default_topic(\"…\")",
                file.shown
            )
        })?;
        if is_topic(&topic) {
            return Ok(topic);
        }
        Err(format!(
            "{}: {topic:?} can't be a topic of Kafka, which has up to 249 letters, digits, dots, - and _; name another with .topic(…)",
            file.shown
        ))
    }

    /// What was said of nothing that is there: a slip of the pen, whose events would go to another topic.
    pub(crate) fn idle(&self, files: &[File]) -> Vec<String> {
        let known: Vec<String> = files.iter().flat_map(names).collect();
        let idle = self.said.iter().filter(|(name, _)| !known.contains(name));
        idle.map(|(name, topic)| {
            format!(
                ".topic({name:?}, {topic:?}): no file, folder, record or namespace is called so; write it as `orders/OrderPlaced.avsc`, \
                 `orders` or `com.acme.orders`"
            )
        })
        .collect()
    }
}

/// What a file can be meant by, the closest first.
fn names(file: &File) -> Vec<String> {
    let mut names = Vec::new();
    let record = file.schema.record().map(|(record, _)| &record.name);
    names.extend(record.map(crate::schema::Name::full));
    names.push(format!("{}.avsc", file.stem()));
    names.push(file.stem());
    names.extend((1..=file.folder().len()).rev().map(|n| file.folder()[..n].join("/")));
    let spaces: Vec<&str> = record.map(|name| name.namespace.split('.').collect()).unwrap_or_default();
    names.extend((1..=spaces.len()).rev().map(|n| spaces[..n].join(".")));
    names
}
