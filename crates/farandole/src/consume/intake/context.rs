//! What the consumer's callbacks know.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::consume::intake::lag::LastEventTime;
use crate::consume::intake::lane::Lane;
use crate::consume::intake::pulse::Pulse;
use crate::consume::intake::queue::Queue;
use crate::consume::intake::watch::Watch;
use crate::consume::intake::worker::End;
use crate::consume::intake::{Config, Troubles};
use crate::engine::AnyProcessor;
use crate::ground::backoff::Backoff;
use crate::ground::told::Told;
use crate::wire::identity::Ids;
use crate::wire::record::Record;

pub(super) type At = (String, i32);

/// A partition that this member has.
pub(super) struct Assigned {
    pub queue: Queue,
    pub worker: JoinHandle<End>,
    pub stop: CancellationToken,
    pub next: Arc<AtomicI64>,
    pub applied: LastEventTime,
    pub told: i64,
    /// The topic that it is read of.
    pub topic_id: Option<String>,
    /// Tells the worker.
    pub tell: watch::Sender<Option<String>>,
    /// The offset after the last record that the client gave.
    pub handed: i64,
    /// The client has said since then that there are no more.
    pub ended: bool,
    /// A record that found the channel full; its partition is paused.
    pub spill: Option<Record>,
    /// It had no position when it began.
    pub fresh: bool,
    /// Its position is in another topic of that name: its worker stands, and says so.
    pub elsewhere: bool,
}

/// What the consumer's callbacks know.
pub(super) struct Context {
    pub engine: Arc<dyn AnyProcessor>,
    pub config: Arc<Config>,
    pub troubles: Troubles,
    /// What this member calls itself in the group: replicas have the same.
    pub client_id: String,
    pub runtime: Handle,
    pub shutdown: CancellationToken,
    pub assigned: Mutex<HashMap<At, Assigned>>,
    pub lanes: Vec<Lane>,
    pub running: Vec<JoinHandle<()>>,
    pub watch: Mutex<Watch>,
    pub ids: Ids,
    /// The watchdog has found a partition quiet.
    pub quiet: AtomicBool,
    /// At the last report this member had no place in its group.
    pub unjoined: AtomicBool,
    /// The client has complained since the last report.
    pub complained: AtomicBool,
    /// Where the thread is.
    pub pulse: Arc<Pulse>,
}

impl Context {
    /// Looks for `what` until it is found, waiting for brokers and database if need be; `say` is told of each failure. `None` at shutdown.
    pub(super) fn patiently<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Result<T, String>,
        say: impl Fn(String),
    ) -> Option<T> {
        let (mut waits, mut told) = (Backoff::SERVER.waits(), Told::default());
        loop {
            let why = match look() {
                Ok(found) => return Some(found),
                Err(why) => why,
            };
            if told.is_due(&why) {
                tracing::warn!(why, "looking up {what} failed; retrying");
            }
            say(why);
            // Made where the runtime is: this is the client's thread.
            let wait = async { self.shutdown.run_until_cancelled(tokio::time::sleep(waits.next_wait())).await };
            self.runtime.block_on(wait)?;
        }
    }
}
