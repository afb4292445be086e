//! Loyalty, told as stories.

use farandole::rows;
use farandole::testing::Story;
use loyalty::{Account, Loyalty, Tables};
use schemas::{loyalty::PointsEarned, orders::OrderPlaced};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);

fn placed(total: i64) -> OrderPlaced {
    OrderPlaced {
        order_id: ID,
        customer: "anna".into(),
        currency: "EUR".into(),
        total,
        lines: vec![],
        card_token: "tok_1".into(),
        placed_at: 0,
        confirm_by: 1,
    }
}

#[test]
fn an_order_earns_a_point_a_whole_unit() {
    let mut story = Story::new(Loyalty, "anna".to_owned(), rows![Tables; accounts: Account["anna".to_owned()]]);
    for (total, points) in [(1_299, 12), (99, 0), (500, 5)] {
        story.hears(placed(total)).then([PointsEarned { customer: "anna".into(), order_id: ID, points, earned_at: 0 }]);
    }
    assert_eq!(story.tables.accounts.get(&"anna".to_owned()).map(|account| account.points), Some(17));
}
