//! A participant, alone.

use std::hint::black_box;
use std::time::Duration;

use farandole::{Body, Input, Participant as _, Timestamp};
use orders::tables::{Happening, Order, State, Tables};
use orders::{Heard, Orders};
use sqlx::types::Json;

use crate::case::{Case, EVENTS};
use crate::sample::{AT, authorised, order, order_id};

pub const ORDERS: Orders = Orders { confirm_within: Duration::from_secs(60) };

/// The row of an order that was placed.
pub fn placed(number: u64) -> Order {
    let placed = order(number);
    Order {
        order_id: placed.order_id,
        customer: placed.customer,
        currency: placed.currency,
        total: placed.total,
        lines: Json(placed.lines),
        placed_at: AT,
        state: Json(State::Placed { confirm_by: Timestamp::from_micros(AT + 60_000_000) }),
        history: Json(vec![Happening { kind: "OrderPlaced".to_owned(), step: None, at: Timestamp::from_micros(AT) }]),
    }
}

/// As the engine calls it for one input. The rows are there already, and go with it.
pub fn one() -> anyhow::Result<Case> {
    let story = |number: u64| {
        let mut tables = Tables::default();
        tables.orders.given(&order_id(number), Some(placed(number)));
        let body = Body::Heard(Heard::from(authorised(number)));
        (tables, order_id(number), Input::<Orders> { id: order_id(number + 1), at: Timestamp::from_micros(AT), body })
    };
    let decide = |(mut tables, id, input): (Tables, uuid::Uuid, Input<Orders>)| -> anyhow::Result<Tables> {
        let decision = ORDERS.decide(&tables, &id, &input).map_err(|refusal| anyhow::anyhow!("refused: {refusal:?}"))?;
        for event in &decision.events {
            black_box(ORDERS.follow_up(event));
            ORDERS.evolve(&mut tables, event);
        }
        Ok(tables)
    };
    for number in 1..=EVENTS {
        let tables = decide(story(number))?;
        let state = tables.orders.get(&order_id(number)).map(|order| &order.state.0);
        anyhow::ensure!(matches!(state, Some(State::Confirmed(_))), "the order isn't confirmed: {state:?}");
    }
    let stories: Vec<_> = (1..=EVENTS).map(story).collect();
    let work = move || stories.into_iter().try_for_each(|story| decide(black_box(story)).map(|tables| drop(black_box(tables))));
    Ok(Case { events: EVENTS, work: Box::new(work) })
}
