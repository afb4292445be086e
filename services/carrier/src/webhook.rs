//! A webhook as it goes out: signed as [Standard Webhooks](https://www.standardwebhooks.com) says, or wrong in a way that was asked for.
//! Pure: no clock, no socket.

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::faults::{Fate, Forgery};
use crate::parcel::Status;
use crate::tables::Webhook;

/// Characters of 24 bytes in base64: the shortest secret that the specification allows.
const SHORTEST: usize = 32;
/// Seconds by which a late copy is old: receivers allow five minutes.
const LATE: i64 = 660;
/// Nobody's secret.
const OTHER: &[u8] = b"a secret that no receiver knows";

/// Signs by the receiver's secret.
pub struct Signer {
    receivers: standardwebhooks::Webhook,
    other: standardwebhooks::Webhook,
}

/// What is sent at once, in this order.
#[derive(Debug)]
pub struct Message {
    pub timestamp: i64,
    pub signature: Option<String>,
    pub body: String,
}

#[derive(Serialize)]
struct Report<'a> {
    tracking: Uuid,
    reference: &'a str,
    status: Status,
    at: Timestamp,
}

impl Signer {
    /// From `whsec_` and base64.
    pub fn new(secret: &str) -> anyhow::Result<Self> {
        let key = secret.trim().strip_prefix("whsec_").context("the webhook secret must begin with whsec_")?;
        ensure!(key.len() >= SHORTEST, "the webhook secret must have at least 24 bytes after whsec_, in base64");
        let receivers = standardwebhooks::Webhook::new(key).context("reading the webhook secret after whsec_ as base64")?;
        let other = standardwebhooks::Webhook::from_bytes(OTHER.to_vec()).context("taking another secret")?;
        Ok(Self { receivers, other })
    }

    /// What goes out for a webhook at a time in seconds: the true message last, before it what its fate adds.
    pub fn messages(&self, webhook: &Webhook, fate: Fate, now: i64) -> anyhow::Result<Vec<Message>> {
        let body = |status| {
            let Webhook { tracking, reference, at, .. } = webhook;
            serde_json::to_string(&Report { tracking: *tracking, reference, status, at: *at })
        };
        let (truth, id) = (body(webhook.status)?, webhook.id.as_str());
        let signed = |timestamp, body: &str| self.receivers.sign(id, timestamp, body.as_bytes());
        let mut messages = Vec::new();
        if let Some(forgery) = fate.forge {
            let lie = body(if webhook.status == Status::Delivered { Status::Lost } else { Status::Delivered })?;
            let signature = match forgery {
                Forgery::Unsigned => None,
                Forgery::OtherSecret => Some(self.other.sign(id, now, lie.as_bytes())?),
                Forgery::OtherBody => Some(signed(now, &truth)?),
            };
            messages.push(Message { timestamp: now, signature, body: lie });
        }
        if fate.late {
            let timestamp = now - LATE;
            messages.push(Message { timestamp, signature: Some(signed(timestamp, &truth)?), body: truth.clone() });
        }
        messages.push(Message { timestamp: now, signature: Some(signed(now, &truth)?), body: truth });
        Ok(messages)
    }
}
