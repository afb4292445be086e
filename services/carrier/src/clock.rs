//! Lets parcels change when their time has come. The times are in the book, so those that passed while nobody ran come first.

use std::time::Duration;

use jiff::Timestamp;
use standin::{Problem, http};

use crate::book::{Answer, Asked, Bells, What};
use crate::http::Carrier;
use crate::tables;

/// The longest sleep: the system's clock may be set.
const NAP: Duration = Duration::from_secs(10);
/// The pause after a failure; one of the book itself ends the process.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the carrier closes.
pub async fn run(carrier: &Carrier, bells: &Bells) {
    while !carrier.closing.is_cancelled() {
        let nap = step(carrier).await.unwrap_or_else(|problem| {
            tracing::warn!(%problem, "parcels that are due couldn't be changed; trying again");
            PAUSE
        });
        tokio::select! {
            () = carrier.closing.cancelled() => {}
            () = bells.clock.notified() => {}
            () = tokio::time::sleep(nap) => {}
        }
    }
}

/// Changes what is due; how long until the next is.
async fn step(carrier: &Carrier) -> Result<Duration, Problem> {
    loop {
        let next = carrier.store.read(|book| tables::next_due(&book.read()?)).await?;
        let now = Timestamp::now().as_millisecond();
        let Some(next) = next else { return Ok(NAP) };
        if next > now {
            return Ok(until(next, now));
        }
        let asked = Asked { what: What::Due, faults: carrier.faults.get(), now: http::now()? };
        if let Answer::Due(0) = carrier.store.execute(asked).await? {
            // A millisecond's rounding.
            return Ok(Duration::from_millis(1));
        }
    }
}

/// From now to a time in milliseconds, or less.
pub fn until(next: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(next - now).unwrap_or(0)).min(NAP)
}
