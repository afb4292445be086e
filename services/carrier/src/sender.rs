//! Sends webhooks to their receiver until each is taken, or a day has passed.
//!
//! The book is the queue: only those that are under way are in memory. What came of an attempt is in the book before the next, so a
//! restart continues with the same pauses.
//!
//! **How it fails:** a receiver that is away, slow or wrong has its webhooks later, up to the day. A webhook that was taken just before
//! a crash, or whose answer got lost, is sent again under the same id.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use standin::http;
use standin::server::DRAIN;
use tokio::task::{Id, JoinSet};

use crate::book::{Asked, Bells, What};
use crate::clock::until;
use crate::http::Carrier;
use crate::tables::{self, Webhook};
use crate::webhook::{Message, Signer};

/// Webhooks under way at a time.
const AT_ONCE: usize = 32;
const CONNECT: Duration = Duration::from_secs(2);
/// Silence of the receiver.
const SILENCE: Duration = Duration::from_secs(5);
/// An attempt as a whole.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The pause after a failure of the book, in milliseconds; one that lasts ends the process.
const PAUSE: i64 = 1_000;

pub struct Sender {
    client: Client,
    url: Url,
    signer: Signer,
}

impl Sender {
    pub fn new(url: Url, signer: Signer) -> anyhow::Result<Self> {
        let client = Client::builder().redirect(Policy::none()).no_proxy();
        let client = client.connect_timeout(CONNECT).read_timeout(SILENCE).timeout(ATTEMPT);
        Ok(Self { client: client.build().context("preparing the client for webhooks")?, url, signer })
    }

    /// Runs until the carrier closes, and until what is under way has ended, for as long as a drain.
    pub async fn run(self: Arc<Self>, carrier: Arc<Carrier>, bells: Arc<Bells>) {
        let (mut tasks, mut under_way) = (JoinSet::new(), HashMap::<Id, u64>::new());
        loop {
            let room = AT_ONCE - under_way.len();
            let now = Timestamp::now().as_millisecond();
            let (found, next) = if room > 0 { Self::look(&carrier, now).await } else { (Vec::new(), None) };
            let new = found.into_iter().filter(|webhook| !under_way.values().any(|number| *number == webhook.number));
            for webhook in new.take(room).collect::<Vec<_>>() {
                let number = webhook.number;
                let task = tasks.spawn(Arc::clone(&self).deliver(Arc::clone(&carrier), webhook));
                under_way.insert(task.id(), number);
            }
            let nap = until(next.unwrap_or(i64::MAX), now);
            tokio::select! {
                () = carrier.closing.cancelled() => break,
                Some(ended) = tasks.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    under_way.remove(&id);
                }
                () = bells.sender.notified(), if under_way.len() < AT_ONCE => {}
                () = tokio::time::sleep(nap), if under_way.len() < AT_ONCE => {}
            }
        }
        // What isn't taken by then is sent again after the next start.
        let _ = tokio::time::timeout(DRAIN, tasks.join_all()).await;
    }

    /// What may be sent now: enough to fill every place, those under way included; and when the first of the others may.
    async fn look(carrier: &Carrier, now: i64) -> (Vec<Webhook>, Option<i64>) {
        let found = carrier.store.read(move |book| tables::first(&book.read()?, now, 2 * AT_ONCE)).await;
        found.unwrap_or_else(|problem| {
            tracing::warn!(%problem, "webhooks couldn't be read; trying again");
            (Vec::new(), Some(now + PAUSE))
        })
    }

    async fn deliver(self: Arc<Self>, carrier: Arc<Carrier>, webhook: Webhook) {
        let (id, number) = (webhook.id.clone(), webhook.number);
        if let Err(error) = self.attempt(&carrier, webhook).await {
            tracing::warn!(
                id,
                number,
                error = format!("{error:#}"),
                "what came of a webhook isn't in the book; it is sent again"
            );
            tokio::time::sleep(Duration::from_millis(PAUSE.unsigned_abs())).await;
        }
    }

    /// Sends a webhook once, and notes what came of it.
    async fn attempt(&self, carrier: &Carrier, webhook: Webhook) -> anyhow::Result<()> {
        let mut fate = carrier.faults.get().fate(webhook.number);
        if webhook.attempts > 0 || webhook.repeated {
            (fate.forge, fate.late) = (None, false);
        }
        let mut taken = false;
        // The true one is the last.
        for message in self.signer.messages(&webhook, fate, Timestamp::now().as_second())? {
            taken = self.send(&webhook.id, message).await;
        }
        let asked = Asked { what: What::Sent(webhook, taken), faults: carrier.faults.get(), now: http::now()? };
        carrier.store.execute(asked).await?;
        Ok(())
    }

    /// Whether it was taken. The answer's body stays unread.
    async fn send(&self, id: &str, message: Message) -> bool {
        let mut request = self.client.post(self.url.clone()).header("content-type", "application/json");
        request = request.header("webhook-id", id).header("webhook-timestamp", message.timestamp);
        if let Some(signature) = message.signature {
            request = request.header("webhook-signature", signature);
        }
        match request.body(message.body).send().await {
            Ok(answer) if answer.status().is_success() => true,
            Ok(answer) => {
                tracing::debug!(id, status = answer.status().as_u16(), "a webhook wasn't taken");
                false
            }
            Err(error) => {
                tracing::debug!(id, error = format!("{:#}", anyhow::Error::new(error)), "a webhook wasn't delivered");
                false
            }
        }
    }
}
