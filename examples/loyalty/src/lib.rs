//! Loyalty: a service of your own that listens to the shop. An order earns its customer a point per whole unit of currency.
//!
//! It counts when the order is placed, and takes nothing back: an example stays small. Each order counts once, whatever comes twice or
//! crashes: an input and all that follows from it are one transaction.
use axum::{Json, Router, extract::Path, extract::State, routing::get};
use farandole::{http, prelude::*};
use schemas::{loyalty::PointsEarned, orders::OrderPlaced};
use serde_json::{Value, json};

farandole::messages! { /// What loyalty publishes.
pub enum Event { PointsEarned } }
farandole::messages! { /// What loyalty subscribes to.
pub enum Heard { OrderPlaced } }
farandole::tables! { /// What loyalty keeps.
pub struct Tables { accounts: Account in "accounts" { customer: String, points: i64 } } }

/// The participant.
#[derive(Debug)]
pub struct Loyalty;

impl Participant for Loyalty {
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
    fn decide(&self, _: &Tables, customer: &String, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let Body::Heard(Heard::OrderPlaced(order)) = &input.body else { return Ok(Decision::nothing()) };
        let (customer, order_id, points, earned_at) = (customer.clone(), order.order_id, order.total / 100, input.at.micros());
        Ok(Decision::event(PointsEarned { customer, order_id, points, earned_at }))
    }
    fn evolve(&self, tables: &mut Tables, Event::PointsEarned(e): &Event) {
        let before = tables.accounts.get(&e.customer).map_or(0, |account| account.points);
        tables.accounts.put(Account { customer: e.customer.clone(), points: before + e.points });
    }
}

/// The service.
pub fn service() -> Service<Loyalty> {
    let routes = |api| Router::new().route("/customers/{id}/points", get(points)).with_state(api);
    Service::new(Loyalty, farandole::migrations!["0001_tables.sql"]).routes(routes)
}

async fn points(State(api): State<Api<Loyalty>>, Path(customer): Path<String>) -> Result<Json<Value>, Problem> {
    let query = sqlx::query_scalar::<_, i64>("select points from accounts where customer = $1").bind(&customer);
    let points = query.fetch_optional(&api.pool).await.map_err(http::database)?;
    Ok(Json(json!({ "customer": customer, "points": points.unwrap_or(0) })))
}
