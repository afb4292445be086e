//! Loyalty, told as stories.

use farandole::testing::Story;
use farandole::{Body, rows};
use loyalty::{Account, Earning, Event, Heard, Loyalty, Tables};
use schemas::{loyalty::PointsEarned, orders::OrderPlaced};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);

fn placed(total: i64) -> Body<Loyalty> {
    Body::Heard(Heard::OrderPlaced(OrderPlaced {
        order_id: ID,
        customer: "anna".into(),
        currency: "EUR".into(),
        total,
        lines: vec![],
        card_token: "tok_1".into(),
        placed_at: 0,
        confirm_by: 1,
    }))
}

#[test]
fn an_order_earns_a_point_a_whole_unit_once() {
    let mut story = Story::new(Loyalty, rows![Tables; accounts: Account["anna".to_owned()], earnings: Earning[ID]]);
    let earned = Event::from(PointsEarned { customer: "anna".into(), order_id: ID, points: 12, earned_at: 0 });
    story.when(placed(1_299)).then([earned]);
    story.when(placed(1_299)).then([]);
    assert_eq!(story.tables.accounts.get(&"anna".to_owned()).map(|account| account.points), Some(12));
}
