//! Reads the shop's topics from beginning to end.

use anyhow::Context as _;
use farandole::Codec;
use farandole::record::Record;

pub use explore::live::{Wrong, applied};

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
