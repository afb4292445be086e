//! Lets the shop come to rest, reads back what Kafka, PostgreSQL, acquirer, carrier and mail catcher hold, and checks it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use audit::facts::End;
use audit::{Check, Sources, audit_with, tables, topics};
use demo::settled::quiet;

use super::ledger::Ledger;
use super::mails;
use super::outbox::{self, Published, Row, Service};
use super::registry;
use super::shapes::NOTIFICATIONS;
use super::strays::Strays;

/// How long everything may take to end once the load has: deadlines (20 s), and effects whose pauses have grown. Then every mail that was
/// requested is sent or has failed, too.
const SETTLE: Duration = Duration::from_secs(180);
/// Longer while what is open goes on changing: a machine that has much else to do sends mails slowly. But not for ever.
const MOVING: Duration = Duration::from_secs(60);
const MOST: Duration = Duration::from_secs(600);

/// What a journal's topic has after its service's.
const JOURNAL: &str = ".journal";
/// What an operator says who gives a stray record up.
const WHY: &str = "written by nobody of ours";
/// How long one may take to be given up.
const GIVE_UP: Duration = Duration::from_secs(30);

/// What is audited.
#[derive(Clone)]
pub struct Audited<'a> {
    /// Past all proxies.
    pub direct: &'a demo::shop::Shop,
    /// What strangers have written.
    pub strays: &'a Strays,
    /// The registry, if it may have lost what it held.
    pub registry: Option<&'a registry::Server>,
    /// Services whose database isn't the one that they began with: its outbox proves less.
    pub restored: Vec<&'static str>,
}

impl Audited<'_> {
    /// Where everything is. The stage is the shop's own, so that no mail is another's.
    fn sources(&self) -> Sources {
        let mail = Some(self.direct.parts.mail.clone()).filter(|mail| !mail.is_empty());
        Sources { mail, ..self.direct.sources() }
    }
}

/// Audits until everything holds or time is up: then the last audit says what doesn't.
pub async fn settle(shop: &Audited<'_>, ledger: &Ledger) -> anyhow::Result<Vec<Check>> {
    let (mut until, most) = (Instant::now() + SETTLE, Instant::now() + MOST);
    let mut before = Vec::new();
    loop {
        give_up_strays(shop).await?;
        let open = tables::open_matters(&shop.sources()).await?;
        if open != before {
            until = until.max(Instant::now() + MOVING).min(most);
            before.clone_from(&open);
        }
        let late = Instant::now() > until;
        if late || open.is_empty() {
            let checks = once(shop, ledger).await?;
            if late || checks.iter().all(|check| check.violations == 0) {
                return Ok(checks);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn once(shop: &Audited<'_>, ledger: &Ledger) -> anyhow::Result<Vec<Check>> {
    let sources = shop.sources();
    let mut services = Vec::new();
    for name in sources.services() {
        services.extend(rows(shop, name).await?);
    }
    // By topic: the time and the schema of the newest record.
    let mut newest = BTreeMap::<String, (String, i32)>::new();
    let audit = audit_with(&sources, |record| {
        if let (Some(time), Some(schema)) = (record.header("ce_time"), record.schema_id()) {
            let newest = newest.entry(record.topic.clone()).or_default();
            *newest = newest.clone().max((time.to_owned(), schema));
        }
        let service = services.iter_mut().find(|s| record.topic == s.name);
        if let (Some(service), Some(published)) = (service, Published::of(record)) {
            service.published.push(published);
        }
    });
    let audit = audit.await?;
    let mut checks = audit.checks;
    for journal in services.iter_mut().filter(|s| !s.decides) {
        let writer = journal.name.trim_end_matches(JOURNAL).to_owned();
        let (records, _) = topics::applied(&shop.direct.parts.kafka, &journal.name, &writer).await?;
        journal.published = records.iter().filter_map(Published::of).collect();
    }
    for service in &mut services {
        // Partitions come interleaved; within one the order stays.
        service.published.sort_by_key(|record| record.partition);
    }
    checks.extend(outbox::check(&services));
    checks.extend(ledger.check(&audit.facts));
    if sources.databases.contains_key(NOTIFICATIONS) {
        checks.push(mails::check(&audit.facts));
    }
    let ends: Vec<String> = End::ALL.iter().map(|end| format!("{} {}", audit.facts.ended(*end), end.word())).collect();
    eprintln!("faults: orders: {}", ends.join(", "));
    checks.iter().flat_map(|check| &check.notes).for_each(|note| eprintln!("faults: {note}"));
    checks.push(quiet(shop.direct)?);
    checks.push(chains(shop).await?);
    if let Some(registry) = shop.registry.filter(|registry| registry.lost()) {
        let mut check = Check::new("the registry, which had lost everything, has the schema of each topic's newest record");
        for (topic, (_, schema)) in newest {
            let known = registry.knows(schema).await?;
            check.that(known, || format!("{topic} is written with schema {schema}, which the registry doesn't have"));
        }
        checks.push(check);
    }
    Ok(checks)
}

/// Does what an operator does about records that were never ours and are parked: gives them up, with the service's own binary.
async fn give_up_strays(shop: &Audited<'_>) -> anyhow::Result<()> {
    for service in shop.sources().services() {
        let pool = shop.direct.pool(service).await?;
        let strays = "select distinct aggregate from farandole.parked
                      where position('stray'::bytea in coalesce(key, '')) > 0 or position('stray'::bytea in coalesce(value, '')) > 0";
        let strays: Vec<String> = sqlx::query_scalar(strays).fetch_all(&pool).await.context("looking for parked strays")?;
        pool.close().await;
        for aggregate in strays {
            let mut drop = tokio::process::Command::new(shop.direct.bin(service));
            drop.args(["parked", "drop", "--all", "--reason", WHY, "--", &aggregate]).envs(shop.direct.env(service, 0)?);
            let done = tokio::time::timeout(GIVE_UP, drop.kill_on_drop(true).output()).await;
            // One that didn't go is tried again, and is a violation in the end.
            match done.with_context(|| format!("`{service} parked drop` takes too long"))?? {
                done if done.status.success() => {}
                done => eprintln!("faults: {service} parked drop {aggregate:?}: {}", String::from_utf8_lossy(&done.stderr)),
            }
        }
    }
    Ok(())
}

/// What the outbox of `name` holds, for its own topic and for its journal.
async fn rows(shop: &Audited<'_>, name: &str) -> anyhow::Result<[Service; 2]> {
    let pool = shop.direct.pool(name).await?;
    let sql = "select seq, id, aggregateid, topic from farandole.outbox order by seq";
    let rows: Vec<(i64, uuid::Uuid, String, String)> =
        sqlx::query_as(sql).fetch_all(&pool).await.with_context(|| format!("reading the outbox of {name}"))?;
    let whole: bool = sqlx::query_scalar("select to_regclass('farandole.outbox_1') is not null").fetch_one(&pool).await?;
    pool.close().await;
    // A database that was set back knows nothing of what was healed from the topic.
    let whole = whole && !shop.restored.contains(&name);
    let of = |topic: String, decides| {
        let rows =
            rows.iter().filter(|(.., to)| *to == topic).map(|(seq, id, key, _)| Row { seq: *seq, id: *id, key: key.clone() });
        Service { decides, rows: rows.collect(), whole, published: Vec::new(), name: topic }
    };
    anyhow::ensure!(rows.iter().all(|(.., to)| to.trim_end_matches(JOURNAL) == name), "{name} writes to a topic of another");
    Ok([of(name.to_owned(), true), of(format!("{name}{JOURNAL}"), false)])
}

/// As `farandole verify` walks them, the journals too.
async fn chains(shop: &Audited<'_>) -> anyhow::Result<Check> {
    let mut check = Check::new(
        "`farandole verify` finds no gap, fork or ghost, and of foreign and damaged records those that were put there",
    );
    for service in shop.sources().services() {
        for end in ["", JOURNAL] {
            let topic = format!("{service}{end}");
            let written = shop.strays.written(&topic);
            let kafka = shop.direct.parts.kafka.clone();
            let walk = move || farandole_cli::verify::topic(&kafka, &[], &topic, false);
            let report = tokio::task::spawn_blocking(walk).await.context("the walk ended early")??;
            let ghosts: u64 = report.chains.iter().map(|chain| chain.tally.ghosts).sum();
            check.checked += usize::try_from(report.records).unwrap_or(usize::MAX);
            check.that(report.violations == report.damaged && ghosts == 0, || {
                format!("{}: {ghosts} ghosts, {:?}", report.topic, report.examples)
            });
            check.that(written.allows(report.foreign, report.damaged), || {
                let (foreign, damaged) = (report.foreign, report.damaged);
                format!("{}: {foreign} foreign and {damaged} damaged records, written were {written:?}", report.topic)
            });
        }
    }
    Ok(check)
}
