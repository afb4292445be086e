//! Loyalty: a service of your own that listens to the shop. An order earns its customer a point per whole unit of currency.
//!
//! It counts when the order is placed, and takes nothing back: an example stays small.
use axum::{Json, Router, extract::Path, extract::State, routing::get};
use farandole::{Answer, Api, Body, Decision, Input, Keys, NoEffect, Participant, Problem, Refusal, Task, http};
use schemas::{loyalty::PointsEarned, orders::OrderPlaced};
use serde_json::{Value, json};
use uuid::Uuid;

/// The participant.
#[derive(Debug)]
pub struct Loyalty;

farandole::messages! { /// What loyalty publishes.
pub enum Event { PointsEarned(PointsEarned) } }
farandole::messages! { /// What loyalty reacts to.
pub enum Heard { OrderPlaced(OrderPlaced) } }
farandole::tables! { /// What loyalty keeps.
    pub struct Tables {
        accounts: Account in "accounts" { customer: String, points: i64 },
        earnings: Earning in "earnings" { order_id: Uuid, points: i64 },
    }
}

/// Makes its tables.
pub fn migrations() -> farandole::sqlx::migrate::Migrator {
    farandole::migrations!["0001_tables.sql"]
}

impl Participant for Loyalty {
    const NAME: &'static str = "loyalty";
    const HEARS: &'static [&'static str] = &["orders"];
    const SKIPS: &'static [&'static str] =
        &["farandole.orders.OrderConfirmed", "farandole.orders.OrderRejected", "farandole.orders.OrderCancelled"];
    type Event = Event;
    type Heard = Heard;
    type Command = NoEffect; // nobody may ask anything of it
    type Effect = NoEffect;
    type Outcome = NoEffect;
    type Tables = Tables;

    fn aggregate(&self, input: &Input<Self>) -> String {
        placed(input).map(|order| order.customer.clone()).unwrap_or_default()
    }
    fn touches(&self, input: &Input<Self>) -> Keys {
        let orders = || placed(input).into_iter();
        Keys::of::<Account, _>(orders().map(|o| o.customer.clone())).and::<Earning, _>(orders().map(|o| o.order_id))
    }
    fn decide(&self, tables: &Tables, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let Some(order) = placed(input).filter(|o| tables.earnings.get(&o.order_id).is_none()) else {
            return Ok(Decision::nothing());
        };
        let (customer, points, earned_at) = (order.customer.clone(), order.total / 100, input.at.micros());
        Ok(Decision::events([PointsEarned { customer, order_id: order.order_id, points, earned_at }.into()]))
    }
    fn evolve(&self, tables: &mut Tables, Event::PointsEarned(e): &Event) {
        let before = tables.accounts.get(&e.customer).map_or(0, |account| account.points);
        tables.accounts.put(Account { customer: e.customer.clone(), points: before + e.points });
        tables.earnings.put(Earning { order_id: e.order_id, points: e.points });
    }
    fn follow_up(&self, _event: &Event) -> Vec<Task<NoEffect>> {
        Vec::new()
    }
    fn answer(&self, _events: &[Event]) -> Answer {
        Answer::new(200, json!({}))
    }
}

fn placed(input: &Input<Loyalty>) -> Option<&OrderPlaced> {
    match &input.body {
        Body::Heard(Heard::OrderPlaced(order)) => Some(order),
        Body::Command(_) | Body::Deadline { .. } | Body::Outcome { .. } => None,
    }
}

/// `GET /customers/{id}/points`.
pub fn routes() -> Router<Api<Loyalty>> {
    Router::new().route("/customers/{id}/points", get(points))
}

async fn points(State(api): State<Api<Loyalty>>, Path(customer): Path<String>) -> Result<Json<Value>, Problem> {
    let points: Option<i64> = sqlx::query_scalar("select points from accounts where customer = $1")
        .bind(&customer)
        .fetch_optional(&api.pool)
        .await
        .map_err(http::database)?;
    Ok(Json(json!({ "customer": customer, "points": points.unwrap_or(0) })))
}
