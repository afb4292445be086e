//! What payments publishes, and what it subscribes to.

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
    /// What payments publishes.
    pub enum Event {
        PaymentExpected, PaymentRequested, PaymentAuthorised, PaymentDeclined, PaymentAbandoned, VoidRequested, PaymentVoided,
        AuthorisationExpired, CaptureRequested, PaymentCaptured, CaptureFailed, PaymentWrittenOff, RefundExpected, RefundRequested,
        PaymentRefunded,
    }
    ends {
        PaymentExpected, PaymentRequested, PaymentAbandoned, VoidRequested, PaymentVoided, CaptureRequested, CaptureFailed,
        RefundExpected, RefundRequested,
    }
}

farandole::messages! {
    /// What payments subscribes to. It follows its topics whole: what is in neither list parks until a build that knows it is deployed.
    pub enum Heard {
        OrderPlaced, OrderRejected, OrderCancelled, StockReserved, StockShort, ShipmentDispatched, ShipmentLost,
    }
    ignores {
        OrderConfirmed, OrderProgressed, OrderCancellationRequested, OrderCompleted, StockReceived, StockAdjusted, StockShipped,
        StockReleased, // it is released because the order ended, which orders itself publishes
        ShipmentPrepared, DispatchStarted, TrackingRequested, RecallRequested, RecallEnded, ShipmentDelivered, ShipmentFound, CancellationRefused,
        ShipmentFailed, ShipmentCancelled, // orders ends the order
    }
}
