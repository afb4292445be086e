//! One order.

use schemas::orders::{OrderLine, OrderPlaced};
use uuid::Uuid;

/// 2024-11-24T08:53:20Z.
const AT: i64 = 1_732_438_400_000_000;

pub fn order_placed() -> OrderPlaced {
    OrderPlaced {
        order_id: Uuid::from_u128(0x0193_5d2e_7c00_7000_8000_0000_0000_0001),
        customer: "C-1".into(),
        currency: "EUR".into(),
        total: 12_50,
        lines: vec![
            OrderLine { sku: "TEA".into(), quantity: 2, unit_price: 5_00 },
            OrderLine { sku: "CUP-ü".into(), quantity: 1, unit_price: 2_50 },
        ],
        card_token: "tok_1".into(),
        placed_at: AT,
        confirm_by: AT + 900_000_000,
    }
}
