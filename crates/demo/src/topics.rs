//! Reads the shop's topics from beginning to end.

use std::collections::BTreeMap;

use anyhow::Context as _;
use farandole::Codec;
use farandole::chain::{Head, Verdict, judge};
use farandole::extent::{Client, View};
use farandole::record::Record;
use rdkafka::config::ClientConfig;

farandole::messages! {
    /// Every event of the shop.
    pub enum Event {
        OrderPlaced(schemas::orders::OrderPlaced), OrderConfirmed(schemas::orders::OrderConfirmed),
        OrderRejected(schemas::orders::OrderRejected), OrderCancelled(schemas::orders::OrderCancelled),
        StockReceived(schemas::inventory::StockReceived), StockReserved(schemas::inventory::StockReserved),
        StockShort(schemas::inventory::StockShort), StockReleased(schemas::inventory::StockReleased),
        PaymentExpected(schemas::payments::PaymentExpected), PaymentRequested(schemas::payments::PaymentRequested),
        PaymentAuthorised(schemas::payments::PaymentAuthorised), PaymentDeclined(schemas::payments::PaymentDeclined),
        PaymentAbandoned(schemas::payments::PaymentAbandoned), VoidRequested(schemas::payments::VoidRequested),
        PaymentVoided(schemas::payments::PaymentVoided),
    }
}

/// Where an event stands, and when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub topic: &'static str,
    pub partition: i32,
    pub offset: i64,
    /// Microseconds since the epoch.
    pub time: i64,
    pub kind: &'static str,
}

/// What is wrong with a topic.
#[derive(Debug, Default)]
pub struct Wrong {
    /// With its chains and its events.
    pub faults: Vec<String>,
    /// Records that aren't the service's, or can't be told to be.
    pub strays: Vec<String>,
}

/// Gives every event of `topic` to `each`, and says what is wrong with it.
pub async fn read(
    bootstrap: &str,
    prefix: &str,
    service: &'static str,
    codec: &Codec,
    mut each: impl FnMut(&Record, At, Event),
) -> anyhow::Result<Wrong> {
    let (records, mut wrong) = applied(bootstrap, &format!("{prefix}{service}"), service).await?;
    for record in records {
        match event(codec, &record).await {
            Ok(event) => each(&record, at(service, &record, &event), event),
            Err(error) => wrong.faults.push(format!("{}/{}@{}: {error:#}", record.topic, record.partition, record.offset)),
        }
    }
    Ok(wrong)
}

/// The records of `topic` that `service` wrote and a consumer would apply, partition by partition in order, and what is wrong with the
/// others.
///
/// # Errors
/// When the topic can't be read.
pub async fn applied(bootstrap: &str, topic: &str, service: &str) -> anyhow::Result<(Vec<Record>, Wrong)> {
    // Held at once: an audit is for a demo's thousands of orders.
    let (kafka, name) = (ClientConfig::new().set("bootstrap.servers", bootstrap).clone(), topic.to_owned());
    let read = move || Client::new(&kafka, View::Committed)?.records(&name);
    let mut records = tokio::task::spawn_blocking(read).await.context("reading ended early")??;
    let mut heads: BTreeMap<i32, Head> = BTreeMap::new();
    let source = format!("/farandole/{service}");
    let mut wrong = Wrong::default();
    records.retain(|record| {
        let place = format!("{topic}/{}@{}", record.partition, record.offset);
        match record.link() {
            Ok(Some((other, _))) if other != source => wrong.strays.push(format!("{place}: {other} wrote it")),
            Ok(Some((_, link))) => match judge(heads.get(&record.partition).copied(), link.place, link.previous) {
                Verdict::Apply => {
                    heads.insert(record.partition, Head { place: link.place, previous: link.previous });
                    return true;
                }
                // The same number again is what a crashed relay leaves behind; consumers drop it, and so does the audit.
                Verdict::Drop => {}
                verdict => {
                    wrong.faults.push(format!("{place}: the chain is broken ({verdict:?})"));
                    return true;
                }
            },
            Ok(None) => wrong.strays.push(format!("{place}: no farandole header")),
            Err(fault) => wrong.strays.push(format!("{place}: {fault}")),
        }
        false
    });
    Ok((records, wrong))
}

async fn event(codec: &Codec, record: &Record) -> anyhow::Result<Event> {
    use farandole::Message as _;
    codec.prepare(record.schema_id()).await?;
    let kind = record.header("ce_type").context("header ce_type is missing")?;
    let index = Event::find(kind).with_context(|| format!("unknown type {kind}"))?;
    Ok(Event::decode(index, codec, record.value.as_deref().context("no value")?)?)
}

fn at(topic: &'static str, record: &Record, event: &Event) -> At {
    use farandole::Message as _;
    let time = record.header("ce_time").and_then(farandole::Timestamp::parse).map_or(0, farandole::Timestamp::micros);
    let name = event.name();
    At { topic, partition: record.partition, offset: record.offset, time, kind: name.rsplit('.').next().unwrap_or(name) }
}
