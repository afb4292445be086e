//! Where the time of an order goes: from one thing that is known of it to the next.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Context as _;
use uuid::Uuid;

use super::clock::Clock;
use super::spread::Spread;
use super::timeline::{Order, Step, Timeline};

/// What else is known of an order, in microseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub due: i64,
    pub answered: i64,
    /// When the acquirer had decided.
    pub acquirer: Option<i64>,
    /// When the event of its confirmation was seen.
    pub seen: i64,
}

impl Known {
    /// From this process's clock.
    pub fn new(clock: &Clock, due: Instant, answered: Instant, acquirer: Option<i64>, seen: Instant) -> Self {
        Self { due: clock.micros(due), answered: clock.micros(answered), acquirer, seen: clock.micros(seen) }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Hop {
    /// From, to, and what lies between.
    pub words: [&'static str; 3],
    pub times: Spread,
    /// Whether it is one of those that add up to the whole.
    pub is_part: bool,
}

type Between = fn(&Order, &Known) -> Option<(i64, i64)>;

const fn decided_to_record(step: Step) -> Between {
    match step {
        Step::Placed => |order, _| to_record(order, Step::Placed),
        Step::Reserved => |order, _| to_record(order, Step::Reserved),
        Step::Requested => |order, _| to_record(order, Step::Requested),
        Step::Authorised => |order, _| to_record(order, Step::Authorised),
        Step::Confirmed => |order, _| to_record(order, Step::Confirmed),
    }
}

fn to_record(order: &Order, step: Step) -> Option<(i64, i64)> {
    Some((order.at(step).decided, order.at(step).record))
}

/// What an event waits for before it is sent.
const OUT: &str = "rest of the batch, commit, relay: read, number, send";
/// The same where records have the broker's time.
const OUT_BROKER: &str = "rest of the batch, commit, relay: read, number, send; broker writes";
/// What it goes through then.
const IN: &str = "broker writes, fetch, intake's batch until it is decided";
const IN_BROKER: &str = "fetch, intake's batch until it is decided";
/// Its way to this program.
const SEEN: &str = "broker writes, fetch by this program";
const SEEN_BROKER: &str = "fetch by this program";

/// The table: from, to, what lies between; whether it is a part of the whole.
const HOPS: [([&str; 2], &str, bool, Between); 14] = [
    (["due", "placed"], "connection, HTTP, queue of commands, batch until it is decided", true, |order, known| {
        Some((known.due, order.at(Step::Placed).decided))
    }),
    (["placed", "HTTP answer"], "rest of the batch, commit, answer (beside the way)", false, |order, known| {
        Some((order.at(Step::Placed).decided, known.answered))
    }),
    (["placed", "its record"], OUT, true, decided_to_record(Step::Placed)),
    (["record of placed", "reserved"], IN, true, |order, _| {
        Some((order.at(Step::Placed).record, order.at(Step::Reserved).decided))
    }),
    (["reserved", "its record"], OUT, true, decided_to_record(Step::Reserved)),
    (["record of reserved", "payment requested"], IN, true, |order, _| {
        Some((order.at(Step::Reserved).record, order.at(Step::Requested).decided))
    }),
    (["payment requested", "its record"], OUT, true, decided_to_record(Step::Requested)),
    (["record of requested", "acquirer decides"], "acknowledged, agenda, HTTP to the acquirer", true, |order, known| {
        Some((order.at(Step::Requested).record, known.acquirer?))
    }),
    (["acquirer decides", "authorised"], "its commit, HTTP answer, outcomes' batch until it is decided", true, |order, known| {
        Some((known.acquirer?, order.at(Step::Authorised).decided))
    }),
    (["authorised", "its record"], OUT, true, decided_to_record(Step::Authorised)),
    (["record of authorised", "confirmed"], IN, true, |order, _| {
        Some((order.at(Step::Authorised).record, order.at(Step::Confirmed).decided))
    }),
    (["confirmed", "its record"], OUT, true, decided_to_record(Step::Confirmed)),
    (["record of confirmed", "seen"], SEEN, true, |order, known| Some((order.at(Step::Confirmed).record, known.seen))),
    (["due", "seen"], "the whole", false, |_, known| Some((known.due, known.seen))),
];

/// The table of the orders of which all is known.
///
/// # Errors
/// When an order isn't on the topics.
pub fn table(timeline: &Timeline, known: &HashMap<Uuid, Known>) -> anyhow::Result<Vec<Hop>> {
    let mut table: Vec<Hop> = Vec::with_capacity(HOPS.len());
    for ([from, to], between, is_part, _) in HOPS {
        let between = match (between, timeline.is_brokers_time) {
            (OUT, true) => OUT_BROKER,
            (IN, true) => IN_BROKER,
            (SEEN, true) => SEEN_BROKER,
            (between, _) => between,
        };
        table.push(Hop { words: [from, to, between], times: Spread::new()?, is_part });
    }
    for (id, known) in known {
        let order = timeline.orders.get(id).with_context(|| format!("order {id} isn't on the topics"))?;
        for (hop, (_, _, _, between)) in table.iter_mut().zip(HOPS) {
            if let Some((from, to)) = between(order, known) {
                hop.times.add_micros(to - from);
            }
        }
    }
    Ok(table)
}
