//! The audit of a shop whose callers and topics are all ours.

use audit::{Audit, Check};

use crate::choreography::{self, Expected};
use crate::shop::Shop;

/// Audits a shop in which so many orders were placed.
///
/// # Errors
/// When something can't be read.
pub async fn audit(shop: &Shop, placed: u64, expected: Expected) -> anyhow::Result<Audit> {
    let mut audit = audit::audit(&shop.sources()).await?;
    let n = audit.facts.orders.values().filter(|order| order.placed.is_some()).count() as u64;
    let mut all = Check::new("orders placed are orders in the topic");
    all.that(n == placed, || format!("{placed} were placed, the topic has {n}"));
    let strangers = audit.facts.orders.len() as u64 - n;
    all.that(strangers == 0, || format!("{strangers} order(s) were never placed"));
    audit.checks.push(all);
    audit.checks.push(quiet(shop)?);
    audit.checks.push(declared(shop, expected).await?);
    Ok(audit)
}

/// What a watchdog mends is a fault that would otherwise pass for a pause.
///
/// # Errors
/// When a log can't be read.
pub fn quiet(shop: &Shop) -> anyhow::Result<Check> {
    let mut check = Check::new("no watchdog had to act");
    for (service, line) in shop.alarms()? {
        check.that(false, || format!("{service}: {line}"));
    }
    check.checked += shop.sources().services().count();
    Ok(check)
}

async fn declared(shop: &Shop, expected: Expected) -> anyhow::Result<Check> {
    let mut check = Check::new(match expected {
        Expected::All => "topics hold what the services declare, and all of it that isn't rare",
        Expected::Any => "topics hold nothing but what the services declare",
    });
    let compared = choreography::compare(shop, expected).await?;
    check.checked = compared.declared;
    compared.named.into_iter().for_each(|words| check.that(false, || words));
    Ok(check)
}
