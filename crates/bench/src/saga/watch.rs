//! What a consumer of orders' topic sees, and when: the moment at which an event has arrived.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};
use uuid::Uuid;

use crate::topics;

/// A header's text.
pub fn header<'m>(message: &'m BorrowedMessage<'_>, name: &str) -> Option<&'m str> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    std::str::from_utf8(found.value?).ok()
}

/// The key, which is the order's id.
pub fn order_of(message: &BorrowedMessage<'_>) -> Option<Uuid> {
    std::str::from_utf8(message.key()?).ok()?.parse().ok()
}

/// What settles an order.
const SETTLES: [&str; 3] = [CONFIRMED, "OrderRejected", "OrderCancelled"];
const CONFIRMED: &str = "OrderConfirmed";

/// Counts of what has been seen.
#[derive(Debug, Default)]
pub struct Counts {
    /// Confirmed, rejected or cancelled.
    pub settled: AtomicU64,
    /// Orders, and when each was seen to be confirmed.
    confirmed: Mutex<Vec<(Uuid, Instant)>>,
    stop: AtomicBool,
}

/// A consumer that reads while this lives.
pub struct Watch {
    pub counts: Arc<Counts>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Watch {
    /// Reads `topic` from its beginning.
    ///
    /// # Errors
    /// When no consumer can be made.
    pub fn start(kafka: &str, topic: &str) -> anyhow::Result<Self> {
        let consumer = topics::reader(kafka, topic)?;
        let counts = Arc::new(Counts::default());
        let seen = Arc::clone(&counts);
        let thread = std::thread::spawn(move || {
            // One that is confirmed may be cancelled later.
            let mut settled = HashSet::new();
            while !seen.stop.load(Relaxed) {
                let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
                let now = Instant::now();
                let message = message.context("reading orders' topic")?;
                let kind = header(&message, "ce_type").and_then(|kind| kind.rsplit('.').next()).unwrap_or_default();
                if !SETTLES.contains(&kind) {
                    continue;
                }
                let id = order_of(&message).context("an order's key is its id")?;
                if settled.insert(id) {
                    if kind == CONFIRMED {
                        seen.confirmed.lock().unwrap_or_else(PoisonError::into_inner).push((id, now));
                    }
                    seen.settled.fetch_add(1, Relaxed);
                }
            }
            Ok(())
        });
        Ok(Self { counts, thread: Some(thread) })
    }

    /// What was confirmed since the last call, with the time at which it was seen.
    pub fn take(&self) -> Vec<(Uuid, Instant)> {
        std::mem::take(&mut *self.counts.confirmed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends, and says what went wrong meanwhile.
    ///
    /// # Errors
    /// When something did.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.counts.stop.store(true, Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => anyhow::bail!("the consumer panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.counts.stop.store(true, Relaxed);
    }
}
