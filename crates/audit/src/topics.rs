//! Reads the shop's topics from beginning to end.

use anyhow::Context as _;
use farandole::Codec;
use farandole::record::Record;
use uuid::Uuid;

pub use explore::live::{Wrong, applied};

farandole::messages! {
    /// Every event of the shop.
    pub enum Event {
        OrderPlaced(schemas::orders::OrderPlaced),
        OrderConfirmed(schemas::orders::OrderConfirmed),
        OrderRejected(schemas::orders::OrderRejected),
        OrderCancellationRequested(schemas::orders::OrderCancellationRequested),
        OrderCancelled(schemas::orders::OrderCancelled),
        OrderProgressed(schemas::orders::OrderProgressed),
        OrderCompleted(schemas::orders::OrderCompleted),
        StockReceived(schemas::inventory::StockReceived),
        StockAdjusted(schemas::inventory::StockAdjusted),
        StockReserved(schemas::inventory::StockReserved),
        StockShort(schemas::inventory::StockShort),
        StockReleased(schemas::inventory::StockReleased),
        StockShipped(schemas::inventory::StockShipped),
        PaymentExpected(schemas::payments::PaymentExpected),
        PaymentRequested(schemas::payments::PaymentRequested),
        PaymentAuthorised(schemas::payments::PaymentAuthorised),
        PaymentDeclined(schemas::payments::PaymentDeclined),
        PaymentAbandoned(schemas::payments::PaymentAbandoned),
        VoidRequested(schemas::payments::VoidRequested),
        PaymentVoided(schemas::payments::PaymentVoided),
        AuthorisationExpired(schemas::payments::AuthorisationExpired),
        CaptureRequested(schemas::payments::CaptureRequested),
        PaymentCaptured(schemas::payments::PaymentCaptured),
        CaptureFailed(schemas::payments::CaptureFailed),
        PaymentWrittenOff(schemas::payments::PaymentWrittenOff),
        RefundExpected(schemas::payments::RefundExpected),
        RefundRequested(schemas::payments::RefundRequested),
        PaymentRefunded(schemas::payments::PaymentRefunded),
        ShipmentPrepared(schemas::shipping::ShipmentPrepared),
        DispatchStarted(schemas::shipping::DispatchStarted),
        ShipmentDispatched(schemas::shipping::ShipmentDispatched),
        TrackingRequested(schemas::shipping::TrackingRequested),
        RecallRequested(schemas::shipping::RecallRequested),
        RecallEnded(schemas::shipping::RecallEnded),
        ShipmentDelivered(schemas::shipping::ShipmentDelivered),
        ShipmentLost(schemas::shipping::ShipmentLost),
        ShipmentFound(schemas::shipping::ShipmentFound),
        ShipmentFailed(schemas::shipping::ShipmentFailed),
        ShipmentCancelled(schemas::shipping::ShipmentCancelled),
        CancellationRefused(schemas::shipping::CancellationRefused),
        NotificationExpected(schemas::notifications::NotificationExpected),
        NotificationRequested(schemas::notifications::NotificationRequested),
        NotificationSent(schemas::notifications::NotificationSent),
        NotificationFailed(schemas::notifications::NotificationFailed),
    }
}

impl Event {
    /// The order that it is about; none if it is about an article.
    pub fn order_id(&self) -> Option<Uuid> {
        Some(match self {
            Self::StockReceived(_) | Self::StockAdjusted(_) => return None,
            Self::OrderPlaced(e) => e.order_id,
            Self::OrderConfirmed(e) => e.order_id,
            Self::OrderRejected(e) => e.order_id,
            Self::OrderCancellationRequested(e) => e.order_id,
            Self::OrderCancelled(e) => e.order_id,
            Self::OrderProgressed(e) => e.order_id,
            Self::OrderCompleted(e) => e.order_id,
            Self::StockReserved(e) => e.order_id,
            Self::StockShort(e) => e.order_id,
            Self::StockReleased(e) => e.order_id,
            Self::StockShipped(e) => e.order_id,
            Self::PaymentExpected(e) => e.order_id,
            Self::PaymentRequested(e) => e.order_id,
            Self::PaymentAuthorised(e) => e.order_id,
            Self::PaymentDeclined(e) => e.order_id,
            Self::PaymentAbandoned(e) => e.order_id,
            Self::VoidRequested(e) => e.order_id,
            Self::PaymentVoided(e) => e.order_id,
            Self::AuthorisationExpired(e) => e.order_id,
            Self::CaptureRequested(e) => e.order_id,
            Self::PaymentCaptured(e) => e.order_id,
            Self::CaptureFailed(e) => e.order_id,
            Self::PaymentWrittenOff(e) => e.order_id,
            Self::RefundExpected(e) => e.order_id,
            Self::RefundRequested(e) => e.order_id,
            Self::PaymentRefunded(e) => e.order_id,
            Self::ShipmentPrepared(e) => e.order_id,
            Self::DispatchStarted(e) => e.order_id,
            Self::ShipmentDispatched(e) => e.order_id,
            Self::TrackingRequested(e) => e.order_id,
            Self::RecallRequested(e) => e.order_id,
            Self::RecallEnded(e) => e.order_id,
            Self::ShipmentDelivered(e) => e.order_id,
            Self::ShipmentLost(e) => e.order_id,
            Self::ShipmentFound(e) => e.order_id,
            Self::ShipmentFailed(e) => e.order_id,
            Self::ShipmentCancelled(e) => e.order_id,
            Self::CancellationRefused(e) => e.order_id,
            Self::NotificationExpected(e) => e.order_id,
            Self::NotificationRequested(e) => e.order_id,
            Self::NotificationSent(e) => e.order_id,
            Self::NotificationFailed(e) => e.order_id,
        })
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
/// # Errors
/// When it can't be read.
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
