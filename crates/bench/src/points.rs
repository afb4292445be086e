//! What the intake is measured with: an order earns its customer points, and is remembered, so that two tables are written. The plain
//! consumer beside it does the same with SQL.

use farandole::{Body, Decision, Input, Keys, Never, Participant, Refusal};
use schemas::{loyalty::PointsEarned, orders::OrderPlaced};
use uuid::Uuid;

farandole::messages! { /// What points publishes.
pub enum Event { PointsEarned } }
farandole::messages! { /// What points hears.
pub enum Heard { OrderPlaced } }
farandole::tables! { /// What points keeps.
    pub struct Tables {
        accounts: Account in "accounts" { customer: String, points: i64 },
        earnings: Earning in "earnings" { order_id: Uuid, points: i64 },
    }
}

/// The participant.
#[derive(Debug)]
pub struct Points;

impl Participant for Points {
    const NAME: &'static str = "loyalty";
    type Id = String; // a customer
    type Event = Event;
    type Heard = Heard;
    type Command = Never;
    type Deadline = Never;
    type Effect = Never;
    type Tables = Tables;

    fn aggregate(&self, Heard::OrderPlaced(order): &Heard) -> Option<String> {
        Some(order.customer.clone())
    }
    fn touches(&self, customer: &String, input: &Input<Self>) -> Keys {
        Keys::of::<Account>([customer]).and::<Earning>(placed(input).map(|order| order.order_id))
    }
    fn decide(&self, tables: &Tables, customer: &String, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let new = placed(input).filter(|order| tables.earnings.get(&order.order_id).is_none());
        Ok(new.map_or_else(Decision::nothing, |order| {
            let (customer, order_id, points) = (customer.clone(), order.order_id, order.total / 100);
            Decision::event(PointsEarned { customer, order_id, points, earned_at: input.at.micros() })
        }))
    }
    fn evolve(&self, tables: &mut Tables, Event::PointsEarned(e): &Event) {
        let before = tables.accounts.get(&e.customer).map_or(0, |account| account.points);
        tables.accounts.put(Account { customer: e.customer.clone(), points: before + e.points });
        tables.earnings.put(Earning { order_id: e.order_id, points: e.points });
    }
}

fn placed(input: &Input<Points>) -> Option<&OrderPlaced> {
    if let Body::Heard(Heard::OrderPlaced(order)) = &input.body { Some(order) } else { None }
}
