//! Orders as a service would have published them: all headers, whole chains.

use std::time::Duration;

use anyhow::{Context as _, bail};
use farandole::partitioner::partition;
use farandole::{Codec, Message};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use schemas::orders::{OrderLine, OrderPlaced};
use uuid::Uuid;

pub const PARTITIONS: i32 = 6;
/// What each order is worth: points that its customer earns.
pub const POINTS: i64 = 12;

farandole::messages! { /// What is published here.
pub enum Event { OrderPlaced(OrderPlaced) } }

/// An order of three lines.
pub fn order(id: Uuid, customer: String) -> OrderPlaced {
    let line = |sku: &str| OrderLine { sku: sku.to_owned(), quantity: 4, unit_price: 100 };
    OrderPlaced {
        order_id: id,
        customer,
        currency: "GBP".to_owned(),
        total: POINTS * 100,
        lines: vec![line("85123A"), line("71053"), line("84406B")],
        card_token: "tok_17850".to_owned(),
        placed_at: 1_795_276_800_000_000,
        confirm_by: 1_795_276_860_000_000,
    }
}

/// Publishes `count` orders of `customers` customers to `topic`.
pub async fn publish(kafka: &str, codec: &Codec, topic: &str, customers: u32, count: u32) -> anyhow::Result<()> {
    let customers = u64::from(customers);
    let placed = |n: u64| {
        let id = Uuid::now_v7();
        (id.to_string(), Event::from(order(id, format!("c{}", (n + 1) % customers))))
    };
    publish_all(kafka, codec, topic, "/farandole/orders", u64::from(count), placed).await
}

/// Publishes events as their relay would have: `nth` gives the key and the event of a number from 0.
pub async fn publish_all<E: Message>(
    kafka: &str,
    codec: &Codec,
    topic: &str,
    source: &str,
    count: u64,
    nth: impl Fn(u64) -> (String, E),
) -> anyhow::Result<()> {
    codec.register(topic, E::TYPES).await.context("registering the schemas")?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("compression.type", "lz4")
        .create()
        .context("making a producer")?;
    let mut last = [None; PARTITIONS as usize];
    for n in 1..=count {
        let (key, event) = nth(n - 1);
        let at = partition(key.as_bytes(), PARTITIONS);
        let previous = last.get_mut(usize::try_from(at)?).context("a partition out of range")?;
        let before = previous.replace(n).map_or_else(|| "-".to_owned(), |p: u64| format!("1:{p}"));
        let id = Uuid::now_v7().to_string();
        let link = format!("l=1;n={n};p={before};c=command/{id};k={id};i=1/1");
        let payload = event.encode(codec)?;
        let mut headers = OwnedHeaders::new_with_capacity(9);
        for (key, value) in [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_source", source),
            ("ce_type", event.name()),
            ("ce_subject", key.as_str()),
            ("ce_time", "2026-11-21T12:00:00.123456Z"),
            ("content-type", "application/avro"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("farandole", link.as_str()),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record = BaseRecord::to(topic).partition(at).key(&key).payload(&payload).headers(headers);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                bail!("publishing: {error}");
            }
            record = back;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    producer.flush(Duration::from_secs(120)).context("publishing the last records")
}
