//! Records sent past the services, and read behind them.

use std::time::Duration;

use farandole::extent::{Client, View};
use farandole::record::Record;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::kit::Own;

/// What the partition of `key` holds in `topic` (without its prefix), in order.
pub async fn of_key(own: &Own, topic: &str, key: &str) -> Vec<Record> {
    let kafka = ClientConfig::new().set("bootstrap.servers", &own.shop.parts.kafka).clone();
    let topic = format!("{}{topic}", own.shop.parts.prefix);
    let partition = farandole::partitioner::partition(key.as_bytes(), 6);
    let read = move || Client::new(&kafka, View::Committed).unwrap().records(&topic).unwrap();
    let mut records = tokio::task::spawn_blocking(read).await.unwrap();
    records.retain(|record| record.partition == partition);
    records
}

/// Sends a record without a `farandole` header, as a foreign producer would.
pub async fn foreign(own: &Own, service: &str, key: &str, kind: &str, value: Option<&[u8]>) {
    let id = uuid::Uuid::now_v7().to_string();
    send(own, service, key, &[("ce_type", kind), ("ce_source", "/foreign"), ("ce_id", &id)], value).await;
}

/// Sends a record, to the partition that its key belongs to.
pub async fn send(own: &Own, service: &str, key: &str, headers: &[(&str, &str)], value: Option<&[u8]>) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &own.shop.parts.kafka).set("partitioner", "murmur2_random");
    let producer: FutureProducer = config.create().unwrap();
    let topic = format!("{}{service}", own.shop.parts.prefix);
    let add = |all: OwnedHeaders, (key, value): &(&str, &str)| all.insert(Header { key, value: Some(*value) });
    let headers = headers.iter().fold(OwnedHeaders::new(), add);
    let mut record: FutureRecord<'_, str, [u8]> = FutureRecord::to(&topic).key(key).headers(headers);
    if let Some(value) = value {
        record = record.payload(value);
    }
    producer.send(record, Duration::from_secs(10)).await.unwrap();
}

/// What a service has parked: aggregate and reason, in order.
pub async fn parked(own: &Own, service: &str) -> Vec<(String, String)> {
    let pool = own.shop.pool(service).await.unwrap();
    let rows = sqlx::query_as("select aggregate, reason from farandole.parked order by seq").fetch_all(&pool).await.unwrap();
    pool.close().await;
    rows
}
