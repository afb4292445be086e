//! What orders publishes, and what it subscribes to.

use schemas::inventory::{StockAdjusted, StockReceived, StockReleased, StockReserved, StockShipped, StockShort};
use schemas::orders::{
    OrderCancellationRequested, OrderCancelled, OrderCompleted, OrderConfirmed, OrderPlaced, OrderProgressed, OrderRejected,
};
use schemas::payments::{
    AuthorisationExpired, CaptureFailed, CaptureRequested, PaymentAbandoned, PaymentAuthorised, PaymentCaptured, PaymentDeclined,
    PaymentExpected, PaymentRefunded, PaymentRequested, PaymentVoided, PaymentWrittenOff, RefundExpected, RefundRequested,
    VoidRequested,
};
use schemas::shipping::{
    CancellationRefused, DispatchStarted, RecallEnded, RecallRequested, ShipmentCancelled, ShipmentDelivered, ShipmentDispatched,
    ShipmentFailed, ShipmentFound, ShipmentLost, ShipmentPrepared, TrackingRequested,
};

farandole::messages! {
    /// What orders publishes.
    pub enum Event {
        OrderPlaced, OrderConfirmed, OrderRejected, OrderCancellationRequested, OrderCancelled, OrderProgressed, OrderCompleted,
    }
    ends { OrderProgressed, OrderCompleted }
}

farandole::messages! {
    /// What orders subscribes to. It follows its topics whole: what is in neither list parks until a build that knows it is deployed.
    pub enum Heard {
        StockShort,
        PaymentAuthorised, PaymentDeclined, AuthorisationExpired, PaymentCaptured, PaymentWrittenOff, PaymentRefunded,
        ShipmentPrepared, ShipmentDispatched, ShipmentDelivered, ShipmentLost, ShipmentFailed, ShipmentCancelled,
        CancellationRefused,
    }
    ignores {
        StockReceived, StockAdjusted, StockReserved, StockReleased, StockShipped,
        PaymentExpected, PaymentRequested, PaymentAbandoned, VoidRequested, PaymentVoided, CaptureRequested, RefundRequested,
        CaptureFailed, RefundExpected, // the write-off and the refund follow
        DispatchStarted, TrackingRequested, RecallRequested, RecallEnded,
        ShipmentFound, // the order has ended without it
    }
}
