//! Databases are lost, and made anew from the topics alone: while nothing moves, or in the middle of the load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection};
use stage::Database;
use uuid::Uuid;

use super::callers::Request;
use super::comparison::{Loss, compare};
use super::ground::{Build, Ground};
use super::held::Held;
use super::report::Drill;
use super::rest;
use super::unrelayed::{self, Pieces, Relayed, Unrelayed};
use crate::plan::Harm;
use crate::shop::shapes::NOTIFICATIONS;

/// Makes everything from the topics.
const FROM_NOTHING: [&str; 5] = ["rebuild", "--from-nothing", "--execute", "--reason", "drill"];
/// How long the load may take until something is under way that can be lost.
const UNDER_WAY: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Effects that are open when everything is lost.
const OPEN: i64 = 3;
/// What is outside the shop, and the service that asks it.
const OUTSIDE: [(&str, &str); 2] = [("carrier", "shipping"), ("acquirer", "payments")];
/// Events of each service that aren't relayed when it is lost, at least.
const LOST: i64 = 5;
/// Rows that the report names; all of them are in a file.
const NAMED: usize = 10;

/// How a drill calls these services.
fn all(services: &[&'static str]) -> String {
    services.join(" and ")
}

/// Loses databases while nothing moves. Effects and deadlines are open then: carrier and acquirer refuse, and no mail gets through.
pub async fn drained(ground: &Ground, services: &[&'static str]) -> anyhow::Result<Drill> {
    let mut drill = Drill::begin("lost, drained", &all(services));
    ground.note_mails().await?;
    mails(ground, services, Harm::Cut).await?;
    // In this order: without the acquirer nothing comes to shipping.
    for (standin, service) in OUTSIDE {
        ground.outside.set(standin, json!({ "refuse": true })).await?;
        open_effects(ground, service).await?;
    }
    ground.hold(true);
    rest::wait(ground).await?;
    ground.end(services, false)?;
    let copies = lose(ground, services).await?;
    for (service, copy) in &copies {
        let (before, after) = anew(ground, service, copy, &mut drill).await?;
        let relayed = Relayed::read(&ground.direct.parts.kafka, service).await?;
        let unrelayed = unrelayed::find(copy, &relayed).await?;
        drill.that(unrelayed.is_empty(), || format!("{service} wasn't drained: {} row(s) were never relayed", unrelayed.len()));
        judge(&mut drill, (service, true), &before, &after, (&unrelayed, &relayed), &BTreeMap::new());
    }
    ground.note_mails().await?;
    start(ground, services).await?;
    ground.well().await?;
    ground.hold(false);
    Ok(drill.end())
}

/// Loses databases in the middle of the load, with events that were never relayed: the relays were held before.
pub async fn undrained(ground: &Ground, services: &[&'static str]) -> anyhow::Result<Drill> {
    let mut drill = Drill::begin("lost, undrained", &all(services));
    let since = Instant::now();
    ground.note_mails().await?;
    // So that some are always on their way.
    for (standin, service) in OUTSIDE {
        ground.outside.set(standin, json!({ "latency_ms": 500, "jitter_ms": 500 })).await?;
        open_effects(ground, service).await?;
    }
    mails(ground, services, Harm::Slow).await?;
    let reports = services.contains(&"shipping");
    if reports {
        reported(ground, since).await?;
    }
    let mut held = Vec::new();
    // Those first that hear of others.
    for service in services.iter().rev() {
        held.push(hold_relay(ground, service).await?);
        undelivered(ground, service).await?;
    }
    if reports {
        reported(ground, Instant::now()).await?;
    }
    ground.end(services, true)?;
    drop(held);
    ground.well().await?;
    let copies = lose(ground, services).await?;
    let mut lost = Vec::new();
    for (service, copy) in &copies {
        let (before, after) = anew(ground, service, copy, &mut drill).await?;
        let relayed = Relayed::read(&ground.direct.parts.kafka, service).await?;
        let unrelayed = unrelayed::find(copy, &relayed).await?;
        let events: Vec<&Unrelayed> = unrelayed.iter().filter(|row| row.topic == **service).collect();
        drill.that(!events.is_empty(), || format!("{service}: everything had been relayed: nothing is proved"));
        let stock = unrelayed::stock(&ground.direct.parts.registry, copy, &events).await?;
        drill.line(format!(
            "{service}: {} event(s) and {} journal entries were never relayed",
            events.len(),
            unrelayed.len() - events.len()
        ));
        name(ground, &mut drill, service, &unrelayed)?;
        judge(&mut drill, (service, false), &before, &after, (&unrelayed, &relayed), &stock);
        lost.extend(unrelayed);
    }
    // Before anybody is answered again: who cancels a lost order is told that there is none.
    let requests = forget(ground, &lost);
    ground.note_mails().await?;
    start(ground, services).await?;
    again(ground, &mut drill, requests).await?;
    if reports {
        report_again(ground, &mut drill, since).await?;
    }
    Ok(drill.end())
}

/// Names each row that was never relayed, the first of them in the report.
fn name(ground: &Ground, drill: &mut Drill, service: &str, rows: &[Unrelayed]) -> anyhow::Result<()> {
    drill.lines.extend(rows.iter().take(NAMED).map(|row| format!("  lost {row}")));
    let list = ground.folder.join(format!("{service}-unrelayed-{}.txt", Uuid::now_v7().simple()));
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(&list, lines).with_context(|| format!("writing {}", list.display()))?;
    drill.lines.push(format!("  all of them: {}", list.display()));
    Ok(())
}

/// Does this to the way to the mail server, if it is notifications that is lost, and waits until mails are open.
async fn mails(ground: &Ground, services: &[&'static str], harm: Harm) -> anyhow::Result<()> {
    match &ground.mails {
        Some(mails) if services.contains(&NOTIFICATIONS) => {
            mails.harm(harm)?;
            open_effects(ground, NOTIFICATIONS).await
        }
        _ => Ok(()),
    }
}

/// Waits until some effects of a service are open.
async fn open_effects(ground: &Ground, service: &str) -> anyhow::Result<()> {
    let pool = ground.direct.pool(service).await?;
    let until = Instant::now() + UNDER_WAY;
    let open = loop {
        let sql = "select count(*) from farandole.tasks where kind = 'effect' and not closed";
        let open: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.context("counting open effects")?;
        if open >= OPEN || Instant::now() > until {
            break open;
        }
        tokio::time::sleep(LOOK).await;
    };
    pool.close().await;
    if open < OPEN {
        bail!("the load opens no effects of {service}: {open} within {} s", UNDER_WAY.as_secs());
    }
    Ok(())
}

/// Keeps the relay of a service from its next step, while all else goes on, until what this gives is dropped: a transaction that has that
/// step, and doesn't commit it.
async fn hold_relay(ground: &Ground, service: &str) -> anyhow::Result<PgConnection> {
    let until = Instant::now() + UNDER_WAY;
    let mut conn = PgConnection::connect(&ground.database(service)?.url).await?;
    conn.execute("begin").await?;
    loop {
        let sql = "savepoint relay; insert into farandole.steps (scope, step, state)
                   select scope, max(step) + 1, '{}' from farandole.steps where scope = 'relay' group by scope";
        match conn.execute(sql).await {
            Ok(_) => return Ok(conn),
            // It was quicker.
            Err(error) => anyhow::ensure!(Instant::now() < until, "the relay of {service} can't be held: {error}"),
        }
        conn.execute("rollback to relay").await?;
    }
}

/// Waits until the service has decided some things that it can't relay: since it is held, for what came before may be on its way.
async fn undelivered(ground: &Ground, service: &str) -> anyhow::Result<()> {
    let pool = ground.direct.pool(service).await?;
    let until = Instant::now() + UNDER_WAY;
    let waiting = async {
        let last: i64 = sqlx::query_scalar("select coalesce(max(seq), 0) from farandole.outbox").fetch_one(&pool).await?;
        loop {
            let sql = "select count(*) from farandole.outbox where seq > $1 and topic = $2";
            let rows: i64 = sqlx::query_scalar(sql).bind(last).bind(service).fetch_one(&pool).await?;
            if rows >= LOST {
                return anyhow::Ok(());
            }
            anyhow::ensure!(Instant::now() < until, "{service} decides {rows} thing(s) within {} s", UNDER_WAY.as_secs());
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited = waiting.await;
    pool.close().await;
    waited
}

/// Waits until shipping has taken a report since then.
async fn reported(ground: &Ground, since: Instant) -> anyhow::Result<()> {
    let until = Instant::now() + UNDER_WAY;
    while ground.reports.since(since).is_empty() {
        anyhow::ensure!(Instant::now() < until, "the carrier reports nothing within {} s", UNDER_WAY.as_secs());
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Copies the services' databases aside and puts empty ones in their place, all of them before any is made anew.
async fn lose(ground: &Ground, services: &[&'static str]) -> anyhow::Result<Vec<(&'static str, Database)>> {
    let mut copies = Vec::new();
    for service in services {
        copies.push((*service, ground.server.lose(ground.database(service)?).await?));
    }
    Ok(copies)
}

/// Makes a database anew; what it held, and what it holds.
async fn anew(ground: &Ground, service: &str, copy: &Database, drill: &mut Drill) -> anyhow::Result<(Held, Held)> {
    let began = Instant::now();
    let ended = ground.operator(service, Build::First)?.run(&FROM_NOTHING).await?;
    drill.that(ended.is_success() && ended.report["done"] == true, || {
        format!("`{service} rebuild --from-nothing` {}", ended.how())
    });
    let records = ended.report["records"].as_i64().unwrap_or_default();
    drill.line(format!("{service}: made anew from {records} offset(s) in {:.1} s", began.elapsed().as_secs_f64()));
    Ok((Held::read(service, copy).await?, Held::read(service, ground.database(service)?).await?))
}

fn judge(
    drill: &mut Drill,
    (service, drained): (&str, bool),
    before: &Held,
    after: &Held,
    (unrelayed, relayed): (&[Unrelayed], &Relayed),
    stock: &BTreeMap<String, Pieces>,
) {
    let commands = &relayed.commands;
    let verdict = compare(&Loss { service, before, after, unrelayed, commands, stock, drained });
    verdict.lines.into_iter().for_each(|line| drill.line(format!("{service}: {line}")));
    verdict.violations.into_iter().for_each(|violation| drill.that(false, || violation));
    let state = super::held::tables(service).iter().all(|(table, _)| !before.rows(table).is_empty());
    drill.that(state, || format!("{service} had no rows: nothing is proved"));
}

async fn start(ground: &Ground, services: &[&'static str]) -> anyhow::Result<()> {
    for service in services {
        ground.start_service(service, Build::First)?;
    }
    for service in services {
        ground.ready(service, Build::First).await?;
    }
    for service in services {
        // Under its own name it has to be the service's again, whoever was connected to the copy.
        PgConnection::connect(&ground.database(service)?.url).await?.close().await?;
    }
    Ok(())
}

/// A request that is to be made again, under this key.
type Again<'a> = (&'a str, Request);

/// What callers were told of what is lost: receipts and orders, and what undoes them.
fn forget<'a>(ground: &Ground, lost: &'a [Unrelayed]) -> (Vec<Again<'a>>, Vec<Again<'a>>) {
    let mut keys: Vec<&str> = lost.iter().filter_map(|row| Some(row.command.as_ref()?.key.as_str())).collect();
    keys.sort_unstable();
    keys.dedup();
    // One that nobody was told of is being asked again already.
    let requests = keys.into_iter().filter_map(|key| Some((key, ground.callers.lose(key)?)));
    requests.partition(|(_, request)| !request.path.ends_with("/cancel"))
}

/// Callers who were told of what is lost ask again, under the same keys: receipts and orders first, then what undoes them.
async fn again(ground: &Ground, drill: &mut Drill, (first, then): (Vec<Again<'_>>, Vec<Again<'_>>)) -> anyhow::Result<()> {
    let told = first.len() + then.len();
    for (key, request) in first.into_iter().chain(then) {
        let service = if request.path == "/receipts" { "inventory" } else { "orders" };
        let status = ground.ask(service, &request.path, key, request.body.to_vec()).await?;
        let cancels = request.path.ends_with("/cancel");
        let taken = status.is_success() || cancels && [StatusCode::CONFLICT, StatusCode::NOT_FOUND].contains(&status);
        drill.that(taken, || format!("{key}, asked again: {status}"));
    }
    drill.line(format!("{told} request(s) that had been acknowledged were lost and asked again"));
    Ok(())
}

/// The carrier is asked for what it has reported since: it was told that each was taken, and some of that is lost. What was booked is
/// known, since nothing is asked for before its event is relayed; so all of them are taken.
async fn report_again(ground: &Ground, drill: &mut Drill, since: Instant) -> anyhow::Result<()> {
    let reports = ground.reports.since(since);
    let told = reports.len();
    for report in reports {
        let status = ground.report(report).await?;
        drill.that(status.is_success(), || format!("a report, sent again: {status}"));
    }
    drill.that(told > 0, || "the carrier had reported nothing: nothing is proved".to_owned());
    drill.line(format!("{told} report(s) of the carrier's that had been taken since were sent again"));
    Ok(())
}
