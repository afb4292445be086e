//! The messages word by word: strangers read them.

use schemas::orders::{
    OrderCancellationRequested, OrderCancelled, OrderCompleted, OrderConfirmed, OrderPlaced, OrderProgressed, OrderRejected,
};

use super::*;

const ORDER: Uuid = Uuid::from_u128(7);
/// 2026-01-31T12:00:00Z.
const NOW: i64 = 1_769_860_800_000_000;

fn body(heard: impl Into<Heard>) -> String {
    Message::of(ORDER, &heard.into()).unwrap().body
}

fn progressed(step: OrderStep, progressed_at: i64) -> Heard {
    OrderProgressed { order_id: ORDER, step, tracking: Some("PX-1".into()), until: Some(NOW), progressed_at }.into()
}

/// Guard: who changes a word here breaks programs of strangers.
#[test]
fn messages_are_what_the_document_says() {
    let (order_id, now) = ("00000000-0000-0000-0000-000000000007", "2026-01-31T12:00:00.000000Z");
    let lines = vec![OrderLine { sku: "tea".into(), quantity: 2, unit_price: 250 }];
    let (customer, currency, card_token) = ("anna".to_owned(), "EUR".into(), "tok_secret".into());
    let placed = OrderPlaced {
        order_id: ORDER,
        customer: customer.clone(),
        currency,
        total: 500,
        lines,
        card_token,
        placed_at: NOW,
        confirm_by: NOW,
    };
    let confirmed = OrderConfirmed { order_id: ORDER, customer, confirmed_at: NOW };
    let (reason, detail, skus) = (RejectionReason::OutOfStock, "internal words".into(), vec!["tea".into()]);
    let rejected = OrderRejected { order_id: ORDER, reason, detail, skus, rejected_at: NOW };
    let reason = CancellationReason::CustomerRequest;
    let asked = OrderCancellationRequested { order_id: ORDER, reason, requested_at: NOW };
    let cancelled = OrderCancelled { order_id: ORDER, reason, cancelled_at: NOW };
    let completed = OrderCompleted { order_id: ORDER, how: Completion::Delivered, completed_at: NOW };
    let table = [
        (
            body(placed),
            "placed",
            format!(
                r#""customer":"anna","currency":"EUR","total":500,"lines":[{{"sku":"tea","quantity":2,"unit_price":250}}],"confirm_by":"{now}""#
            ),
        ),
        (body(confirmed), "confirmed", r#""customer":"anna""#.to_owned()),
        (body(rejected), "rejected", r#""reason":"out_of_stock","skus":["tea"]"#.to_owned()),
        (body(asked), "cancellation_requested", r#""reason":"customer_request""#.to_owned()),
        (body(cancelled), "cancelled", r#""reason":"customer_request""#.to_owned()),
        (
            body(progressed(OrderStep::Dispatched, NOW)),
            "progressed",
            format!(r#""step":"dispatched","tracking":"PX-1","until":"{now}""#),
        ),
        (body(completed), "completed", r#""how":"delivered""#.to_owned()),
    ];
    let guide = include_str!("../../../../docs/webhooks.md");
    for (body, kind, data) in table {
        assert_eq!(body, format!(r#"{{"type":"order.{kind}","timestamp":"{now}","data":{{"order_id":"{order_id}",{data}}}}}"#));
        assert!(!body.contains("tok_") && !body.contains("internal"), "{body}");
        assert!(guide.contains(&body), "docs/webhooks.md doesn't show {body}");
    }
    assert_eq!(kinds::ALL.len(), 7, "each has its words above");
}

#[test]
fn an_event_has_one_id_and_another_event_another() {
    let id = |heard: &Heard| Message::of(ORDER, heard).unwrap().id;
    let one = progressed(OrderStep::Prepared, NOW);
    assert_eq!(id(&one), id(&one));
    let others = [progressed(OrderStep::Dispatched, NOW), progressed(OrderStep::Prepared, NOW + 1)];
    assert!(others.iter().all(|other| id(other) != id(&one)));
    assert_ne!(Message::of(Uuid::from_u128(8), &one).unwrap().id, id(&one));
    // A signature has dots between its parts.
    assert!(id(&one).strip_prefix("msg_").is_some_and(|rest| rest.len() == 32 && !rest.contains('.')), "{}", id(&one));
}
