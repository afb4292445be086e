//! What the card acquirer has in its books.

use std::collections::HashMap;

use anyhow::Context as _;
use serde::Deserialize;
use uuid::Uuid;

/// One order's authorisations at the acquirer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Card {
    /// Those that were granted, voided or not.
    pub granted: u32,
    /// Their sum in minor units.
    pub authorised: i64,
    /// The sum of those that were voided.
    pub voided: i64,
}

#[derive(Deserialize)]
struct Page {
    authorisations: Vec<Authorisation>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Authorisation {
    merchant_reference: String,
    status: String,
    amount: i64,
}

/// Reads the whole ledger, by order.
pub async fn read(client: &reqwest::Client, acquirer: &str) -> anyhow::Result<HashMap<Uuid, Card>> {
    let mut cards: HashMap<Uuid, Card> = HashMap::new();
    let mut after = String::new();
    loop {
        let from = if after.is_empty() { String::new() } else { format!("&after={after}") };
        let url = format!("{acquirer}/ledger?limit=1000{from}");
        let page: Page =
            client.get(&url).send().await?.error_for_status()?.json().await.context("reading the acquirer's ledger")?;
        for authorisation in page.authorisations {
            let reference = &authorisation.merchant_reference;
            let id = reference.parse().with_context(|| format!("the acquirer knows {reference}, which is no order"))?;
            let card = cards.entry(id).or_default();
            if authorisation.status != "declined" {
                card.granted += 1;
                card.authorised += authorisation.amount;
            }
            if authorisation.status == "voided" {
                card.voided += authorisation.amount;
            }
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(cards),
        }
    }
}
