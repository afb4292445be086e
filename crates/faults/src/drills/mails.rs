//! The mail server behind a proxy, and how often each mail came: what the shop holds for sent is never sent again, whatever is rebuilt,
//! lost and made anew.
//!
//! A mail may come twice before: the server has it, and the connection broke or the service died before that was committed. Then it isn't
//! held for sent yet.

use std::collections::HashMap;

use anyhow::Context as _;
use audit::Check;
use audit::books::Caught;
use tokio::sync::Mutex;

use crate::plan::Harm;
use crate::proxy::Door;
use crate::shop::authority;
use crate::target::Subject as _;

/// What the shop holds for sent.
const SENT: &str =
    "select mail->>'message_id' from notifications, jsonb_array_elements(mails) as mail where mail->>'state' = 'sent'";

/// The way to the mail server, and what came there.
pub struct Mails {
    door: Door,
    smtp: String,
    catcher: String,
    client: reqwest::Client,
    came: Mutex<Came>,
}

#[derive(Default)]
struct Came {
    caught: Caught,
    held: Held,
}

/// How often each mail had come when the shop was first seen to hold it for sent.
#[derive(Debug, Default)]
struct Held(HashMap<String, u32>);

impl Held {
    fn note(&mut self, sent: Vec<String>, caught: &HashMap<String, u32>) {
        for id in sent {
            let times = caught.get(&id).copied().unwrap_or(0);
            self.0.entry(id).or_insert(times);
        }
    }

    fn check(&self, caught: &HashMap<String, u32>) -> Check {
        let mut check = Check::new("no mail that the shop held for sent came again, whatever was rebuilt, lost and made anew");
        for (id, times) in &self.0 {
            let now = caught.get(id).copied().unwrap_or(0);
            check.that(now == *times, || format!("{id} had come {times} time(s), and has come {now}"));
        }
        check
    }
}

impl Mails {
    /// Before the mail server `smtp`, which shows at `catcher` what came.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open(smtp: &str, catcher: &str) -> anyhow::Result<Self> {
        let door = Door::open().await?;
        door.lead_to([authority(smtp).to_owned()]);
        let smtp = smtp.replace(authority(smtp), &door.address());
        Ok(Self { door, smtp, catcher: catcher.to_owned(), client: reqwest::Client::new(), came: Mutex::default() })
    }

    /// Where the shop sends its mails.
    pub fn smtp(&self) -> &str {
        &self.smtp
    }

    /// Does this to the connections to the mail server.
    ///
    /// # Errors
    /// When that can't be done to connections.
    pub fn harm(&self, harm: Harm) -> anyhow::Result<()> {
        self.door.strike(harm)
    }

    /// All passes again.
    ///
    /// # Errors
    /// Never.
    pub fn well(&self) -> anyhow::Result<()> {
        self.door.mend(Harm::Cut)
    }

    /// Notes what the database of notifications holds for sent. What came is read after it, so that none is missing.
    ///
    /// # Errors
    /// When database or catcher can't be read.
    pub async fn note(&self, shop: &demo::shop::Shop) -> anyhow::Result<()> {
        let pool = shop.pool("notifications").await?;
        let sent: Vec<String> = sqlx::query_scalar(SENT).fetch_all(&pool).await.context("reading which mails were sent")?;
        pool.close().await;
        let came = &mut *self.came.lock().await;
        came.caught.read(&self.client, &self.catcher).await?;
        came.held.note(sent, &came.caught.mails);
        Ok(())
    }

    /// Whether what was noted is still so.
    ///
    /// # Errors
    /// When the catcher can't be read.
    pub async fn check(&self) -> anyhow::Result<Check> {
        let came = &mut *self.came.lock().await;
        came.caught.read(&self.client, &self.catcher).await?;
        Ok(came.held.check(&came.caught.mails))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_that_was_held_for_sent_must_not_come_again() {
        let caught = |times: &[(&str, u32)]| times.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect::<HashMap<_, _>>();
        let mut held = Held::default();
        // The first came twice before the shop knew that it had come.
        held.note(vec!["<1@x>".to_owned()], &caught(&[("<1@x>", 2), ("<2@x>", 1)]));
        let now = caught(&[("<1@x>", 2), ("<2@x>", 2)]);
        let check = held.check(&now);
        assert_eq!((check.checked, check.violations), (1, 0));
        held.note(vec!["<1@x>".to_owned(), "<2@x>".to_owned()], &caught(&[("<1@x>", 3), ("<2@x>", 2)]));
        let check = held.check(&caught(&[("<1@x>", 3), ("<2@x>", 2)]));
        assert_eq!(check.examples, ["<1@x> had come 2 time(s), and has come 3"]);
        assert_eq!(held.check(&HashMap::new()).violations, 2, "gone");
    }
}
