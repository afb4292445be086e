//! The intake: records of other services' topics become inputs, each applied exactly once, in the order of its partition. A
//! [`Reader`](crate::Reader) or a service runs it; [`Config`] says how it reads. How it works follows.
//!
//! **Guarantees.** A record's effects and the position behind it are one transaction: after a crash anywhere, the record is
//! either applied or read again. An owner that has lost its partition commits nothing, since the position's step is then
//! taken. A record that comes twice is dropped and one that is missing is noticed, by the chain rule. A record that can't be
//! processed parks with its successors; a foreign producer's record that comes twice under one `ce_source` and `ce_id` is applied
//! once; trouble of the system (database, registry, brokers away) parks nothing: the intake
//! waits, says why, and goes on when it is over.
//!
//! **Assumptions.** Kafka keeps a partition's order, and what it has acknowledged. A source's chain is whole (see
//! [`chain`](crate::wire::chain)).
//!
//! **How.** One consumer on a thread of its own polls for all partitions, so that rebalances are answered in time whatever the
//! database does; a bounded channel leads to one worker a partition; a full one pauses its partition. Workers read and check;
//! a lane runs what waits of several partitions as one transaction. Positions come from the database alone; Kafka's
//! committed offsets are written afterwards, for lag tools.
//!
//! **How it would fail without**: with offsets kept by Kafka, a crash between commit and commit applies twice or never; with
//! an unconditional position, two owners of a partition both apply during a rebalance; without the chain, a producer's
//! duplicate or a lost batch passes unseen; with one channel for all, one slow partition stops the others.

mod assigned;
mod begin;
mod begun;
mod broken;
pub(crate) mod client;
mod config;
mod consumer;
mod context;
mod error;
mod expired;
mod foreign_dedup;
mod goal;
mod healed_inputs;
mod ignored;
mod judge;
mod lag;
mod lane;
mod list;
mod look;
mod members;
mod older;
pub mod operate;
pub(crate) mod position;
mod preview;
mod pulse;
mod queue;
mod readers;
mod resume;
mod setting;
mod troubles;
mod watch;
mod worker;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::database::sessions::with_conn;
use crate::engine::{AnyProcessor, Processor};
use crate::ground::backoff::Backoff;
use crate::ground::error::chain_of;
use crate::ground::told::Told;
use troubles::Of;

pub(crate) use begun::note as note_begun;
pub use config::Config;
pub use error::Error;
#[doc(hidden)]
pub use judge::judge;
pub(crate) use position::all_of;
pub(crate) use position::scope;
pub use position::{Position, positions};
#[cfg(feature = "http")]
pub(crate) use readers::enter;
pub(crate) use readers::forget_reader;
pub use readers::{forget as forget_topic, rename};
pub use troubles::Troubles;

pub use crate::parking::Limits;
pub use crate::wire::per_topic::{Expired, PerTopic, Start, Unknown};

/// Reads topics into an engine or a handler.
#[doc(hidden)]
#[derive(Debug)]
pub struct Intake {
    engine: Arc<dyn AnyProcessor>,
    config: Config,
    troubles: Troubles,
}

impl Intake {
    /// An intake; nothing is read before [`Intake::run`].
    pub fn new(engine: Arc<impl Processor>, config: Config) -> Self {
        let troubles = Troubles::default();
        if !config.topics.is_empty() {
            troubles.say(Of::Group, Some(format!("consumer group {} isn't joined yet", config.group)));
        }
        Self { engine, config, troubles }
    }

    /// What troubles its partitions.
    pub fn troubles(&self) -> Troubles {
        self.troubles.clone()
    }

    /// Reads until `shutdown`; then finishes the batches in flight and leaves the group.
    ///
    /// # Errors
    /// When the client can't be made, or gives up for good. Trouble that ends by itself is waited out, and shows in
    /// [`Intake::troubles`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        if self.config.topics.is_empty() {
            shutdown.cancelled().await;
            return Ok(());
        }
        readers::check(self.engine.reader())?;
        if !self.enter(&shutdown).await {
            return Ok(());
        }
        let runtime = tokio::runtime::Handle::current();
        let stop = shutdown.clone();
        let pulse = Arc::new(pulse::Pulse::default());
        let beats = Arc::clone(&pulse);
        let (done, ended) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("intake".to_owned())
            .spawn(move || {
                let config = Arc::new(self.config);
                let result = loop {
                    match consumer::run(&self.engine, &config, &self.troubles, &runtime, &stop, &beats) {
                        Ok(consumer::Ended::Quiet) => {}
                        Ok(consumer::Ended::Stopped) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                };
                let _ = done.send(result);
            })
            .map_err(|e| Error::Thread(e.to_string()))?;
        let result = tokio::select! {
            ended = ended => ended.unwrap_or_else(|_| Err(Error::Thread("it panicked".to_owned()))),
            // Its thread stays where it is until the process ends.
            seconds = pulse.lost() => return Err(Error::Lost { seconds }),
        };
        // The thread has sent its result as its last act, so this doesn't wait.
        let _ = thread.join();
        result
    }

    /// Waits for the database, and for the rows that are this reader's; false at shutdown.
    async fn enter(&self, shutdown: &CancellationToken) -> bool {
        let (reader, mut waits, mut told) = (self.engine.reader(), Backoff::SERVER.waits(), Told::default());
        while let Err(error) = with_conn!(self.engine.sessions(), conn => readers::enter(conn, reader, &self.config.topics)) {
            let why = chain_of(&error);
            if told.is_due(&why) {
                tracing::warn!(reader, why, "registering the reader failed; retrying");
            }
            self.troubles.say(Of::Client, Some(why));
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(waits.next_wait()) => {}
            }
        }
        self.troubles.say(Of::Client, None);
        true
    }
}
