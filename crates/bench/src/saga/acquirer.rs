//! What the acquirer has in its ledger: each authorisation, and when it was decided.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use farandole::Timestamp;
use uuid::Uuid;

use super::http::Server;

/// When each order's card was authorised, in microseconds since the epoch.
///
/// # Errors
/// When the ledger can't be read, has one order twice, or has a decline.
pub async fn authorisations(url: &str) -> anyhow::Result<HashMap<Uuid, i64>> {
    let acquirer = Server::new(url);
    let (mut all, mut after) = (HashMap::new(), String::new());
    loop {
        let page = acquirer.get(&format!("/ledger?limit=1000{after}")).await?.json()?;
        for one in page["authorisations"].as_array().context("a ledger without authorisations")? {
            let text = |field: &str| one[field].as_str().with_context(|| format!("an authorisation without {field}: {one}"));
            let id: Uuid = text("merchant_reference")?.parse()?;
            ensure!(text("status")? != "declined", "the acquirer declined {id}");
            let at = Timestamp::parse(text("created_at")?).context("an authorisation's time")?;
            ensure!(all.insert(id, at.micros()).is_none(), "the acquirer authorised {id} twice");
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}
