//! Lets the shop come to rest, reads back what Kafka, PostgreSQL and the acquirer hold, and checks it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use demo::audit::{Check, audit_with};
use demo::shop::{SERVICES, Shop};
use demo::tables;

use super::ledger::Ledger;
use super::outbox::{self, Published, Row, Service};

/// How long everything may take to end once the load has: deadlines (20 s), and effects whose pauses have grown.
const SETTLE: Duration = Duration::from_secs(180);

/// Audits until everything holds or time is up: then the last audit says what doesn't.
pub async fn settle(shop: &Shop, ledger: &Ledger) -> anyhow::Result<Vec<Check>> {
    let until = Instant::now() + SETTLE;
    loop {
        let late = Instant::now() > until;
        if late || tables::open_matters(shop).await?.is_empty() {
            let checks = once(shop, ledger).await?;
            if late || checks.iter().all(|check| check.violations == 0) {
                return Ok(checks);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn once(shop: &Shop, ledger: &Ledger) -> anyhow::Result<Vec<Check>> {
    let mut services = Vec::new();
    for name in SERVICES {
        services.push(rows(shop, name).await?);
    }
    let account = importer::Account { placed: ledger.placed() as u64, ..importer::Account::default() };
    let audit = audit_with(shop, &account, |record| {
        let service = services.iter_mut().find(|s| record.topic.strip_prefix(&shop.parts.prefix) == Some(s.name));
        if let (Some(service), Some(published)) = (service, Published::of(record)) {
            service.published.push(published);
        }
    });
    let audit = audit.await?;
    let mut checks = audit.checks;
    for service in &mut services {
        // Partitions come interleaved; within one the order stays.
        service.published.sort_by_key(|record| record.partition);
    }
    checks.extend(outbox::check(&services));
    checks.extend(ledger.check(&audit.facts));
    checks.push(chains(shop).await?);
    Ok(checks)
}

async fn rows(shop: &Shop, name: &'static str) -> anyhow::Result<Service> {
    let pool = shop.pool(name).await?;
    let rows: Vec<(i64, uuid::Uuid, String)> = sqlx::query_as("select seq, id, aggregateid from farandole.outbox order by seq")
        .fetch_all(&pool)
        .await
        .with_context(|| format!("reading the outbox of {name}"))?;
    let whole: bool = sqlx::query_scalar("select to_regclass('farandole.outbox_1') is not null").fetch_one(&pool).await?;
    pool.close().await;
    let rows = rows.into_iter().map(|(seq, id, key)| Row { seq, id, key }).collect();
    Ok(Service { name, rows, whole, published: Vec::new() })
}

/// As `farandole verify` walks them, the journals too.
async fn chains(shop: &Shop) -> anyhow::Result<Check> {
    let mut check = Check::new("`farandole verify` finds no gap, fork, ghost or foreign record");
    for service in SERVICES {
        for end in ["", ".journal"] {
            let topic = format!("{}{service}{end}", shop.parts.prefix);
            let kafka = shop.parts.kafka.clone();
            let walk = move || farandole_cli::verify::topic(&kafka, &[], &topic, false);
            let report = tokio::task::spawn_blocking(walk).await.context("the walk ended early")??;
            let ghosts: u64 = report.chains.iter().map(|chain| chain.tally.ghosts).sum();
            check.checked += usize::try_from(report.records).unwrap_or(usize::MAX);
            check.that(report.violations + report.foreign + ghosts == 0, || format!("{}: {:?}", report.topic, report.examples));
        }
    }
    Ok(check)
}
