//! What the outside world has in its books: the card acquirer's and the carrier's.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

/// Mails of a page.
const PAGE: usize = 1_000;

/// One order's authorisations at the acquirer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Card {
    /// Those that were granted, whatever became of them.
    pub granted: u32,
    /// Their sum in minor units.
    pub authorised: i64,
    /// The sum of those that were voided.
    pub voided: i64,
    /// The sum of those that ended by themselves.
    pub expired: i64,
    /// What was taken.
    pub captured: i64,
    /// What of it was given back.
    pub refunded: i64,
}

impl Card {
    /// What is held and neither taken nor let go.
    pub fn open(&self) -> i64 {
        self.authorised - self.voided - self.expired - self.captured
    }
}

/// A parcel at the carrier.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Parcel {
    /// The carrier's number of it.
    pub tracking: String,
    /// `booked`, `delivered`, `lost` or `recalled`.
    pub status: String,
    reference: String,
}

#[derive(Deserialize)]
struct Authorisation {
    merchant_reference: String,
    status: String,
    amount: i64,
    captured: i64,
    refunded: i64,
}

/// The acquirer's whole ledger, by order.
///
/// # Errors
/// When it can't be read, or has what is no order's.
pub async fn cards(client: &reqwest::Client, acquirer: &str) -> anyhow::Result<HashMap<Uuid, Card>> {
    let mut cards: HashMap<Uuid, Card> = HashMap::new();
    for authorisation in ledger::<Authorisation>(client, acquirer, "acquirer", "authorisations").await? {
        let reference = &authorisation.merchant_reference;
        let id = reference.parse().with_context(|| format!("the acquirer knows {reference}, which is no order"))?;
        let card = cards.entry(id).or_default();
        if authorisation.status != "declined" {
            card.granted += 1;
            card.authorised += authorisation.amount;
        }
        match authorisation.status.as_str() {
            "voided" => card.voided += authorisation.amount,
            "expired" => card.expired += authorisation.amount,
            _ => {}
        }
        card.captured += authorisation.captured;
        card.refunded += authorisation.refunded;
    }
    Ok(cards)
}

/// The carrier's parcels, by order.
///
/// # Errors
/// When they can't be read, or one is no order's.
pub async fn parcels(client: &reqwest::Client, carrier: &str) -> anyhow::Result<HashMap<Uuid, Vec<Parcel>>> {
    let mut parcels: HashMap<Uuid, Vec<Parcel>> = HashMap::new();
    for parcel in ledger::<Parcel>(client, carrier, "carrier", "parcels").await? {
        let reference = &parcel.reference;
        let id = reference.parse().with_context(|| format!("the carrier knows {reference}, which is no order"))?;
        parcels.entry(id).or_default().push(parcel);
    }
    Ok(parcels)
}

/// What came to the mail catcher, as far as it was read.
#[derive(Debug, Default)]
pub struct Caught {
    /// How often each `Message-ID` came.
    pub mails: HashMap<String, u32>,
    /// The catcher's own names of them.
    known: HashSet<String>,
}

impl Caught {
    /// Reads what came since the last time; the catcher lists the newest first. Whether it still has all that ever came.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn read(&mut self, client: &reqwest::Client, catcher: &str) -> anyhow::Result<bool> {
        let mut start = 0;
        loop {
            let url = format!("{catcher}/api/v1/messages?limit={PAGE}&start={start}");
            let answer = client.get(url).send().await.context("asking the mail catcher")?.error_for_status()?;
            let page: Value = answer.json().await.context("reading the mail catcher")?;
            let messages = page["messages"].as_array().context("the mail catcher lists no messages")?;
            let before = self.known.len();
            for message in messages {
                let name = |what: &str| message[what].as_str().with_context(|| format!("a mail has no {what}"));
                // One that comes while pages are read moves the others on: some are seen again.
                if self.known.insert(name("ID")?.to_owned()) {
                    *self.mails.entry(format!("<{}>", name("MessageID")?)).or_default() += 1;
                }
            }
            start += PAGE;
            if messages.len() < PAGE || self.known.len() == before {
                return Ok(page["total"].as_u64().is_some_and(|total| total < stage::mail::KEPT));
            }
        }
    }
}

/// How often each `Message-ID` came to the mail catcher. None if it may have let some go: it keeps so many.
///
/// # Errors
/// When it can't be read.
pub async fn mails(client: &reqwest::Client, catcher: &str) -> anyhow::Result<Option<HashMap<String, u32>>> {
    let mut caught = Caught::default();
    let whole = caught.read(client, catcher).await?;
    Ok(whole.then_some(caught.mails))
}

/// All pages of a stand-in's ledger.
async fn ledger<T: DeserializeOwned>(client: &reqwest::Client, url: &str, of: &str, many: &str) -> anyhow::Result<Vec<T>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let from = if after.is_empty() { String::new() } else { format!("&after={after}") };
        let answer = client.get(format!("{url}/ledger?limit=1000{from}")).send().await?.error_for_status()?;
        let mut page: Value = answer.json().await.with_context(|| format!("reading the {of}'s ledger"))?;
        let records: Vec<T> = serde_json::from_value(page[many].take()).with_context(|| format!("reading the {of}'s {many}"))?;
        all.extend(records);
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return Ok(all),
        }
    }
}
