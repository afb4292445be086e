//! Healing on real parts: the outbox alone, and a whole service.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod outbox;
mod service;
mod till;
#[allow(dead_code, reason = "shared with the relay's tests, which use all of it")]
#[path = "../relay_it/world.rs"]
mod world;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

/// Sends copies of records, each into its partition.
async fn copy(kafka: &str, records: &[farandole::Record]) {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", kafka).create().unwrap();
    for farandole::Record { topic, partition, key, value, headers, .. } in records {
        let add = |all: OwnedHeaders, h: &farandole::record::Header| all.insert(Header { key: &h.name, value: Some(&h.value) });
        let headers = headers.iter().fold(OwnedHeaders::new(), add);
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).partition(*partition).headers(headers);
        (record.key, record.payload) = (key.as_deref(), value.as_deref());
        producer.send(record, Duration::from_secs(60)).await.unwrap();
    }
}
