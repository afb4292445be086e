//! Whether topics that somebody else has made keep their records.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ConfigResourceResult, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::wire::topics::error::Error;

/// How long one request to the brokers may take.
const REQUEST: Duration = Duration::from_secs(10);
/// How often, and after which waits, a broker is asked that has just been told of a topic and doesn't know it yet.
const TRIES: u32 = 50;
const WAIT: Duration = Duration::from_millis(100);

/// Refuses topics that are compacted, and warns of those that forget. Who may not ask isn't told.
pub(super) async fn check(admin: &AdminClient<DefaultClientContext>, topics: impl Iterator<Item = &String>) -> Result<(), Error> {
    let asked: Vec<ResourceSpecifier<'_>> = topics.map(|topic| ResourceSpecifier::Topic(topic)).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let mut tries = 0;
    let answers = loop {
        let answers = match admin.describe_configs(&asked, &options).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::debug!(%error, "how topics are configured couldn't be asked");
                return Ok(());
            }
        };
        let unknown = |answer: &ConfigResourceResult| matches!(answer, Err(Code::UnknownTopicOrPartition));
        tries += 1;
        if tries == TRIES || !answers.iter().any(unknown) {
            break answers;
        }
        tokio::time::sleep(WAIT).await;
    };
    for (asked, answer) in std::iter::zip(asked, answers) {
        let ResourceSpecifier::Topic(topic) = asked else { continue };
        match answer {
            Ok(config) => one(topic, &config)?,
            Err(code) => tracing::debug!(topic, %code, "how a topic is configured wasn't told"),
        }
    }
    Ok(())
}

fn one(topic: &str, config: &ConfigResource) -> Result<(), Error> {
    let value = |name: &str| config.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    let policy = value("cleanup.policy");
    if policy.split(',').any(|policy| policy.trim() == "compact") {
        return Err(Error::Compacted { topic: topic.to_owned(), policy: policy.to_owned() });
    }
    for setting in ["retention.ms", "retention.bytes"] {
        let says = value(setting);
        if !matches!(says, "" | "-1") {
            tracing::warn!(
                topic,
                "{setting}={says}: records go after a while, and with them what a heal after a restored backup or a new reader would need; \
                 {setting}=-1 keeps them"
            );
        }
    }
    Ok(())
}
