//! Partitions that don't hold any more what their position wants: the client reads nothing of them.
//!
//! **Guarantee.** Nothing is passed over in silence. A partition whose position has expired stops and says so, unless `intake.expired` says
//! that it goes on from the earliest record: then what is passed over is logged and counted, and each source's chain begins anew there, as
//! if an operator had set the position. A topic that was truncated or made anew is another matter, and always stops.
//!
//! **How it would fail without** the look at what was handed over: records that the client had given before they expired are on their way
//! through the worker, and would be passed over although they are there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sqlx::PgConnection;

use crate::consume::intake::context::{Assigned, At, Context};
use crate::consume::intake::position::{Position, scope};
use crate::consume::metrics;
use crate::database::sessions::with_conn;
use crate::database::step;
use crate::ground::error::chain_of;
use crate::wire::per_topic::{Expired, Start};

/// How long a broker may take to say what a partition holds.
const WATERMARKS: Duration = Duration::from_secs(5);

/// A partition as this replica has it.
struct Seen {
    next: i64,
    /// It had no position when it began.
    fresh: bool,
    /// The offset after the last record that was given to its worker.
    handed: i64,
}

/// What is done about a partition.
#[derive(Debug, PartialEq, Eq)]
enum Do {
    Nothing,
    /// Look again later.
    Wait,
    GoOn,
    Stop,
}

impl Seen {
    fn what(&self, (low, high): (i64, i64), expired: Expired) -> Do {
        match expired {
            _ if (low..=high).contains(&self.next) => Do::Nothing,
            Expired::Stop => Do::Stop,
            Expired::Earliest if self.next > high => Do::Stop,
            // They were given before they expired.
            Expired::Earliest if self.handed > self.next => Do::Wait,
            Expired::Earliest => Do::GoOn,
        }
    }
}

/// Says which partitions no longer hold what their position wants, or has them go on from what there is. False when it can't be told of
/// all yet.
pub(super) fn look(consumer: &BaseConsumer<Context>) -> bool {
    let context = consumer.context();
    let seen =
        |(at, a): (&At, &Assigned)| (at.clone(), Seen { next: a.next.load(Ordering::Relaxed), fresh: a.fresh, handed: a.handed });
    let mut told = true;
    // What is in another topic of that name says so already, in better words than that it lies beyond the end of this one.
    let at: Vec<(At, Seen)> = context.lock().iter().filter(|(_, a)| !a.elsewhere).map(seen).collect();
    for (at, seen) in at {
        let Ok(holds) = consumer.fetch_watermarks(&at.0, at.1, WATERMARKS) else {
            told = false;
            continue;
        };
        match seen.what(holds, context.config.expired.of(&at.0)) {
            Do::Nothing => {}
            Do::Wait => told = false,
            Do::GoOn => told &= go_on(context, &at, holds.0),
            Do::Stop => {
                let why = words(context, &at, &seen, holds);
                tracing::error!(topic = at.0, partition = at.1, why, "partition stopped");
                context.troubles.set(&at.0, at.1, Some(why));
            }
        }
    }
    told
}

fn words(context: &Context, (topic, partition): &At, seen: &Seen, (low, high): (i64, i64)) -> String {
    let (next, config) = (seen.next, &context.config);
    let (start, expired) = (config.setting("start"), config.setting("expired"));
    let beginning = format!("but the topic's beginning has expired; it holds {low} to {high}.");
    let what = match config.start.of(topic) {
        _ if next > high => {
            format!("the position is {next}, but the topic holds {low} to {high}: it was truncated or recreated.")
        }
        _ if !(seen.fresh && next == 0) => {
            format!("the position is {next}, but the topic holds {low} to {high}: what was to be read next has expired.")
        }
        Start::Earliest => {
            format!("it has no position yet and {start} is `earliest`, {beginning} set {start} to `latest` or to a time, or")
        }
        _ => {
            format!("it was created after this reader first subscribed to the topic and is read from its beginning, {beginning}")
        }
    };
    let how = config.set_position(context.engine.reader(), topic, *partition, "earliest");
    let always = if next > high { String::new() } else { format!(" ({expired} = `earliest` always does)") };
    format!("{what} to continue from the earliest record{always}: {how}")
}

/// Has the partition go on from `low`, and says what it passes over; false when it couldn't be written.
fn go_on(context: &Context, at: &At, low: i64) -> bool {
    let (topic, partition) = (&at.0, at.1);
    let scope = scope(context.engine.reader(), topic, partition);
    let found = context.ids.of(topic);
    let moved = async |conn: &mut PgConnection| {
        let latest = step::latest::<Position>(conn, &scope).await.map_err(sqlx::Error::decode)?;
        let (step, before) = latest.map_or((None, Position::default()), |(step, before)| (Some(step), before));
        // Set by hand meanwhile; or in another topic of that name, of which the worker says so.
        let elsewhere = before.topic_id.as_ref().zip(found.as_ref()).is_some_and(|(known, found)| known != found);
        if before.next_offset >= low || elsewhere {
            return Ok(0);
        }
        let Position { next_offset, topic_id, generation, replay, .. } = before;
        let mut after = Position { midway: true, topic_id, generation, replay, ..Position::default() };
        after.reach(low);
        step::append(conn, &scope, step, &after).await.map_err(sqlx::Error::decode)?;
        Ok(low - next_offset)
    };
    let moved = async { with_conn!(context.engine.sessions(), conn => moved(conn)) };
    match context.runtime.block_on(moved) {
        Ok(gap) => {
            if gap > 0 {
                tracing::warn!(
                    topic,
                    partition,
                    gap,
                    from = low,
                    "its position has expired: continuing from the earliest record"
                );
                metrics::EXPIRED.add(gap.unsigned_abs(), [topic.clone().into()]);
            }
            // It begins again from what is written.
            if let Some(assigned) = context.lock().get(at) {
                assigned.stop.cancel();
            }
            true
        }
        Err(error) => {
            tracing::warn!(topic, partition, error = chain_of(&error), "passing over what has expired failed; retrying");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guard: what was given is applied before anything is passed over. Without, records that are there are lost.
    #[test]
    fn what_has_expired_is_passed_over_only_where_nothing_is_on_its_way() {
        let seen = |next, handed| Seen { next, fresh: false, handed };
        let holds = (5, 9);
        for expired in [Expired::Stop, Expired::Earliest] {
            assert_eq!((seen(5, 5).what(holds, expired), seen(9, 9).what(holds, expired)), (Do::Nothing, Do::Nothing));
            assert_eq!(seen(10, 10).what(holds, expired), Do::Stop, "truncated, or another topic");
        }
        assert_eq!(seen(2, 2).what(holds, Expired::Stop), Do::Stop);
        assert_eq!(seen(2, 2).what(holds, Expired::Earliest), Do::GoOn);
        assert_eq!(seen(2, 4).what(holds, Expired::Earliest), Do::Wait);
    }
}
