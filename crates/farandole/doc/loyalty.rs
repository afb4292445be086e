use axum::{Router, extract::Path, routing::post};
use farandole::{codec::Encoding, prelude::*};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderPlaced { pub customer: String, pub total: i64 } // an event of another service, in JSON
impl OrderPlaced { pub const NAME: &str = "shop.OrderPlaced"; pub const SCHEMA: &str = ""; pub const TOPIC: &str = "shop"; }

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointsChanged { pub customer: String, pub by: i64 } // from Avro schemas, `farandole-build` generates such types
impl PointsChanged { pub const NAME: &str = "loyalty.PointsChanged"; pub const SCHEMA: &str = ""; pub const TOPIC: &str = "loyalty"; }

#[derive(Debug, Serialize, Deserialize)]
pub struct Redeem { pub points: i64 } // a command

farandole::messages! { pub enum Event { PointsChanged } } // what this service publishes
farandole::messages! { pub enum Heard { OrderPlaced } } // what it subscribes to
farandole::tables! { pub struct Tables { accounts: Account in "accounts" { customer: String, points: i64 } } }

#[derive(Debug)]
pub struct Loyalty;

impl Participant for Loyalty {
    const NAME: &'static str = "loyalty";
    type Id = String; // a customer
    type Event = Event;
    type Heard = Heard;
    type Command = Redeem;
    type Deadline = Never;
    type Effect = Never;
    type Tables = Tables;

    fn aggregate(&self, Heard::OrderPlaced(order): &Heard) -> Option<String> {
        Some(order.customer.clone()) // the record's key is the order's id
    }
    fn decide(&self, tables: &Tables, customer: &String, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let points = tables.accounts.get(customer).map_or(0, |account| account.points);
        let by = match &input.body {
            Body::Heard(Heard::OrderPlaced(order)) => order.total / 100,
            Body::Command(redeem) if (1..=points).contains(&redeem.points) => -redeem.points,
            Body::Command(_) => return Err(Problem::conflict("too-few-points", format!("{points} points are left")).into()),
            Body::Deadline(never) | Body::Outcome { effect: never, .. } => match *never {},
        };
        Ok(Decision::event(PointsChanged { customer: customer.clone(), by }))
    }
    fn evolve(&self, tables: &mut Tables, Event::PointsChanged(event): &Event) {
        let points = tables.accounts.get(&event.customer).map_or(0, |account| account.points);
        tables.accounts.put(Account { customer: event.customer.clone(), points: points + event.by });
    }
}

async fn redeem(Path(customer): Path<String>, caller: Caller<Loyalty>, JsonBody(redeem): JsonBody<Redeem>) -> Result<Answer, Problem> {
    caller.submit(customer, redeem).await
}

fn main() -> std::process::ExitCode {
    farandole::main(|_config, _settings: NoSettings| {
        let routes = |api| Router::new().route("/customers/{customer}/redeem", post(redeem)).with_state(api);
        Ok(Service::new(Loyalty, farandole::migrations!["0001_tables.sql"]).encoding(Encoding::Json).routes(routes))
    })
}
