//! What notifications publishes, and what it subscribes to: what a customer is told.

use schemas::notifications::{NotificationExpected, NotificationFailed, NotificationRequested, NotificationSent};
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
    /// What notifications publishes.
    pub enum Event { NotificationExpected, NotificationRequested, NotificationSent, NotificationFailed }
    ends { NotificationExpected, NotificationRequested, NotificationSent, NotificationFailed }
}

farandole::messages! {
    /// What notifications subscribes to: what a customer is told.
    pub enum Heard {
        OrderPlaced, OrderConfirmed, OrderRejected, OrderCancelled,
        ShipmentDispatched, ShipmentDelivered,
        PaymentRefunded,
    }
    ignores {
        OrderCancellationRequested, OrderProgressed, OrderCompleted,
        ShipmentPrepared, DispatchStarted, ShipmentLost, ShipmentFound, ShipmentFailed, ShipmentCancelled, CancellationRefused,
        TrackingRequested, RecallRequested, RecallEnded,
        PaymentExpected, PaymentRequested, PaymentAuthorised, PaymentDeclined, PaymentAbandoned, VoidRequested, PaymentVoided,
        CaptureRequested, PaymentCaptured, CaptureFailed, PaymentWrittenOff, RefundExpected, RefundRequested, AuthorisationExpired,
    }
}
