//! The types of messages that a subscriber can ask for.

use crate::messages::Heard;

/// All of them, as subscriptions and messages name them.
pub const ALL: [&str; 7] = [
    "order.placed",
    "order.confirmed",
    "order.rejected",
    "order.cancellation_requested",
    "order.cancelled",
    "order.progressed",
    "order.completed",
];

/// The type of the message that tells of this event.
pub fn of(heard: &Heard) -> &'static str {
    match heard {
        Heard::OrderPlaced(_) => "order.placed",
        Heard::OrderConfirmed(_) => "order.confirmed",
        Heard::OrderRejected(_) => "order.rejected",
        Heard::OrderCancellationRequested(_) => "order.cancellation_requested",
        Heard::OrderCancelled(_) => "order.cancelled",
        Heard::OrderProgressed(_) => "order.progressed",
        Heard::OrderCompleted(_) => "order.completed",
    }
}
