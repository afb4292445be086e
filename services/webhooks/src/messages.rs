//! What webhooks publishes, and what it subscribes to: an order's whole life, which its own topic tells in order.

use schemas::orders::{
    OrderCancellationRequested, OrderCancelled, OrderCompleted, OrderConfirmed, OrderPlaced, OrderProgressed, OrderRejected,
};
use schemas::webhooks::{
    DeliveryDropped, DeliveryFailed, DeliveryQueued, DeliveryRequested, DeliverySucceeded, SubscriptionRegistered,
    SubscriptionRemoved,
};

farandole::messages! {
    /// What webhooks publishes.
    pub enum Event {
        SubscriptionRegistered, SubscriptionRemoved,
        DeliveryQueued, DeliveryRequested, DeliverySucceeded, DeliveryFailed, DeliveryDropped,
    }
    ends {
        SubscriptionRegistered, SubscriptionRemoved,
        DeliveryQueued, DeliveryRequested, DeliverySucceeded, DeliveryFailed, DeliveryDropped,
    }
}

farandole::messages! {
    /// What webhooks subscribes to.
    pub enum Heard {
        OrderPlaced, OrderConfirmed, OrderRejected, OrderCancellationRequested, OrderCancelled, OrderProgressed, OrderCompleted,
    }
}
