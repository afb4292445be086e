//! Detects calls to the Kafka client that never return.
//!
//! A poll takes a moment, whatever brokers do. One that doesn't come back holds a lock of the client's for ever: nothing is read of any
//! topic, the group loses its member, and all that the client reports (lag, standing, the watchdog's figures) comes out of the same
//! call and stays as it was. The client's debug log has done so: a line written while its queue is locked waits for that lock
//! (see `wire::identity`). No thread can be ended from outside, so the intake ends with an error, the process with it, and whoever runs it
//! starts it again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a call may take, in which nobody waits for anything but the client: a thousand times what it is given.
const LONGEST: Duration = Duration::from_secs(60);
/// How often it is looked at. Two looks must agree: a process that was stopped for long finds its call as long.
const LOOK: Duration = Duration::from_secs(5);

/// Since when the thread is in the client, if it is.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Option<Instant>>);

impl Pulse {
    /// The thread goes into the client.
    pub(super) fn enter(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// It is back, or in a callback that may wait for others.
    pub(super) fn leave(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when a call hasn't come back; gives how many seconds it has taken.
    pub(super) async fn lost(&self) -> u64 {
        self.lost_after(LONGEST, LOOK).await
    }

    async fn lost_after(&self, longest: Duration, look: Duration) -> u64 {
        let mut before = None;
        loop {
            tokio::time::sleep(look).await;
            let long = self.since().filter(|since| since.elapsed() > longest);
            match long {
                Some(since) if before == long => return since.elapsed().as_secs(),
                _ => before = long,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_does_not_come_back_is_noticed_and_those_that_do_are_not() {
        let (longest, look) = (Duration::from_millis(50), Duration::from_millis(5));
        let pulse = Pulse::default();
        let calls = async {
            for _ in 0..30 {
                pulse.enter();
                tokio::time::sleep(Duration::from_millis(5)).await;
                pulse.leave();
            }
            // A callback may take its time.
            tokio::time::sleep(Duration::from_millis(200)).await;
            pulse.enter();
            std::future::pending::<()>().await;
        };
        let began = Instant::now();
        tokio::select! {
            _ = pulse.lost_after(longest, look) => {}
            () = calls => unreachable!(),
        }
        assert!(began.elapsed() > Duration::from_millis(350 + 50), "before the call that stayed away: {:?}", began.elapsed());
    }
}
