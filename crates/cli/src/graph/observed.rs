//! `farandole graph --observed`: what the headers of every record tell, beside what is declared.
//!
//! **Who publishes what** is in `ce_source` and `ce_type`.
//!
//! **Who consumes what.** A record names its cause: a service that publishes an event which came of topic/partition/offset has consumed the
//! record there. An input may rightly lead to nothing, which no record tells; but a service commits to its consumer group how far it has
//! read, so what is behind that was consumed as well. A program that publishes nothing shows as a group whose members read a topic.
//!
//! **What isn't seen**: a consumer that publishes nothing of what it consumed and is in no group, or in a group that isn't running and
//! nobody declares; one whose group has Kafka's newer protocol tells its offsets, and not what it reads.

mod compare;
mod groups;
mod kinds;
mod read;
mod report;
mod window;

use rdkafka::config::ClientConfig;

use super::choreography::Choreography;

pub use compare::compare;
pub use groups::{Groups, Member};
pub use kinds::{Kind, Kinds};
pub use read::{Seen, WINDOW};
pub use report::{Consumed, Finding, Reaction, Report, Sent, What};

/// Reads the topics of `all`, asks for the consumer groups, and compares. `window`: offsets whose types are held at once.
///
/// # Errors
/// When none of the topics is there, or they can't be read to their ends.
pub fn observe(kafka: &ClientConfig, all: &Choreography, window: i64, progress: bool) -> anyhow::Result<Report> {
    let seen = read::read(kafka, &all.topics().into_keys().collect::<Vec<_>>(), window, progress)?;
    let declared: Vec<&str> = all.services().iter().filter(|s| !s.reacts_to.is_empty()).map(|s| s.group.as_str()).collect();
    // After the records: an offset that was committed by then may be behind one that was read.
    let groups = groups::ask(kafka, &declared, &seen.extents)?;
    Ok(compare(all, &seen, &groups))
}
