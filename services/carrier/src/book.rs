//! What the carrier does with its book: books and recalls parcels, lets them arrive or get lost when their time has come, and keeps a
//! webhook for each change until it is taken.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use redb::ReadTransaction;
use serde_json::Value;
use standin::book::{Duplicates, Table};
use standin::{Trade, Writing};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::faults::Faults;
use crate::parcel::{Command, Parcel};
use crate::tables::{self, End, TABLES, Webhook};

/// Parcels that change in one transaction, at most.
const GROUP: usize = 256;
/// The pause after the first attempt that failed, in milliseconds; it doubles with each, up to the longest.
const PAUSE: i64 = 200;
const LONGEST_PAUSE: i64 = 30_000;
/// How long a webhook is tried, in milliseconds: a day.
const PATIENCE: i64 = 86_400_000;

pub type Book = standin::Book<Carriage>;

/// What is to be done, with what decides on it.
pub struct Asked {
    pub what: What,
    pub faults: Faults,
    pub now: Timestamp,
}

pub enum What {
    /// A caller's request, with its key.
    Request(String, Command),
    /// Let parcels change whose time has come.
    Due,
    /// A webhook was sent; whether it was taken.
    Sent(Webhook, bool),
}

pub enum Answer {
    /// As it became; or, when it is told again, as it was.
    Parcel {
        parcel: Parcel,
        again: bool,
    },
    /// So many parcels were due.
    Due(usize),
    Sent,
}

/// The carrier's trade.
pub struct Carriage {
    /// From booking to delivery, or to whatever else a parcel becomes.
    pub transit: SignedDuration,
    /// Somebody is to hear of changes.
    pub reports: bool,
    pub bells: Arc<Bells>,
}

/// Rung when there may be something new on disk: for the clock and the sender.
#[derive(Default)]
pub struct Bells {
    pub clock: Notify,
    pub sender: Notify,
}

impl Carriage {
    fn request(&self, writing: &Writing<'_, Parcel>, asked: &Asked, command: &Command) -> anyhow::Result<Parcel> {
        match command {
            Command::Book(order) => {
                order.check()?;
                let parcel = Parcel::new(writing.new_id()?, order, asked.now);
                self.plan(writing, &parcel, asked.now)?;
                Ok(parcel)
            }
            Command::Recall(tracking) => {
                let mut parcel = writing.find(*tracking)?;
                if parcel.recall(asked.now)? {
                    self.report(writing, &parcel, asked)?;
                }
                Ok(parcel)
            }
        }
    }

    fn due(&self, writing: &Writing<'_, Parcel>, asked: &Asked) -> anyhow::Result<usize> {
        for done in 0..GROUP {
            let Some(tracking) = tables::pop_due(writing.own(), asked.now.as_millisecond())? else { return Ok(done) };
            let mut parcel: Parcel = writing.find(tracking)?;
            // It was recalled.
            let Some(next) = parcel.next() else { continue };
            (parcel.status, parcel.updated_at) = (next, asked.now);
            writing.keep(&parcel)?;
            self.report(writing, &parcel, asked)?;
            self.plan(writing, &parcel, asked.now)?;
        }
        Ok(GROUP)
    }

    /// Notes when a parcel changes next, if it does.
    fn plan(&self, writing: &Writing<'_, Parcel>, parcel: &Parcel, now: Timestamp) -> anyhow::Result<()> {
        let at = tables::after(now, self.transit);
        if parcel.next().is_some() { tables::add_due(writing.own(), parcel, at) } else { Ok(()) }
    }

    fn report(&self, writing: &Writing<'_, Parcel>, parcel: &Parcel, asked: &Asked) -> anyhow::Result<()> {
        if !self.reports {
            return Ok(());
        }
        let (number, created) = (tables::number(writing.own())?, asked.now.as_millisecond());
        let wait = i64::try_from(asked.faults.fate(number).wait)?;
        let webhook = Webhook {
            number,
            id: format!("msg_{}", Uuid::now_v7().simple()),
            tracking: parcel.tracking,
            reference: parcel.reference.clone(),
            status: parcel.status,
            at: asked.now,
            created,
            next: created + wait,
            attempts: 0,
            repeated: false,
        };
        tables::keep(writing.own(), &webhook)
    }

    /// Ends a webhook that was taken, or says when it is tried again.
    fn sent(writing: &Writing<'_, Parcel>, asked: &Asked, webhook: &Webhook, taken: bool) -> anyhow::Result<()> {
        let (write, now) = (writing.own(), asked.now.as_millisecond());
        if webhook.repeated {
            return tables::end(write, webhook, End::Repeated);
        }
        if taken {
            tables::end(write, webhook, End::Delivered)?;
            let Some(pause) = asked.faults.fate(webhook.number).repeat else { return Ok(()) };
            return tables::keep(write, &Webhook { next: now + i64::try_from(pause)?, repeated: true, ..webhook.clone() });
        }
        if now - webhook.created >= PATIENCE {
            tracing::warn!(id = webhook.id, tracking = %webhook.tracking, attempts = webhook.attempts + 1, "a webhook is given up");
            return tables::end(write, webhook, End::GivenUp);
        }
        let pause = PAUSE.saturating_mul(1 << webhook.attempts.min(16)).min(LONGEST_PAUSE);
        tables::keep(write, &Webhook { next: now + pause, attempts: webhook.attempts + 1, ..webhook.clone() })
    }
}

impl Trade for Carriage {
    type Record = Parcel;
    type Asked = Asked;
    type Answer = Answer;
    type Faults = Faults;

    const TABLES: &'static [Table] = TABLES;
    const DUPLICATES: &'static [Duplicates<Parcel>] = &[("duplicates", Parcel::is_live)];

    fn time(asked: &Asked) -> Timestamp {
        asked.now
    }

    fn apply(&self, writing: &Writing<'_, Parcel>, asked: &Asked) -> anyhow::Result<Answer> {
        match &asked.what {
            What::Request(key, command) => {
                let (parcel, again) = writing.once(key, command, asked.now, || self.request(writing, asked, command))?;
                Ok(Answer::Parcel { parcel, again })
            }
            What::Due => self.due(writing, asked).map(Answer::Due),
            What::Sent(webhook, taken) => Self::sent(writing, asked, webhook, *taken).map(|()| Answer::Sent),
        }
    }

    fn committed(&self) {
        self.bells.clock.notify_one();
        self.bells.sender.notify_one();
    }

    fn total(totals: &mut Value, read: &ReadTransaction) -> anyhow::Result<()> {
        totals["webhooks"] = tables::totals(read)?;
        Ok(())
    }
}
