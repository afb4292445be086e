//! The topics of a running shop.

use std::collections::BTreeMap;

use anyhow::Context as _;
use farandole::chain::{Head, Verdict, judge};
use farandole::extent::{Client, View};
use farandole::record::Record;
use farandole::{Codec, Message as _, Participant};
use farandole_check::Recording;
use inventory::Inventory;
use notifications::Notifications;
use orders::Orders;
use payments::Payments;
use rdkafka::config::ClientConfig;
use shipping::Shipping;

/// The services, by their topics' names.
pub const SERVICES: [&str; 5] = ["orders", "inventory", "payments", "shipping", "notifications"];
/// Those without which no order ends: nobody waits for notifications.
pub const CORE: [&str; 4] = ["orders", "inventory", "payments", "shipping"];

/// What is wrong with a topic.
#[derive(Debug, Default)]
pub struct Wrong {
    /// With its chains and its events.
    pub faults: Vec<String>,
    /// Records that aren't the service's, or can't be told to be.
    pub strays: Vec<String>,
}

/// The records of `topic` that `service` wrote and a consumer would apply, partition by partition in order, and what is wrong with the
/// others.
///
/// # Errors
/// When the topic can't be read.
pub async fn applied(bootstrap: &str, topic: &str, service: &str) -> anyhow::Result<(Vec<Record>, Wrong)> {
    // Held at once: an audit is for a demo's thousands of orders.
    let (kafka, name) = (ClientConfig::new().set("bootstrap.servers", bootstrap).clone(), topic.to_owned());
    let read = move || Client::new(&kafka, View::Committed)?.records(&name);
    let mut records = tokio::task::spawn_blocking(read).await.context("reading ended early")??;
    let mut heads: BTreeMap<i32, Head> = BTreeMap::new();
    let source = format!("/farandole/{service}");
    let mut wrong = Wrong::default();
    records.retain(|record| {
        let place = format!("{topic}/{}@{}", record.partition, record.offset);
        match record.link() {
            Ok(Some((other, _))) if other != source => wrong.strays.push(format!("{place}: {other} wrote it")),
            Ok(Some((_, link))) => match judge(heads.get(&record.partition).copied(), link.place, link.previous) {
                Verdict::Apply => {
                    heads.insert(record.partition, Head { place: link.place, previous: link.previous });
                    return true;
                }
                // The same number again is what a crashed relay leaves behind; consumers drop it, and so does the audit.
                Verdict::Drop => {}
                verdict => {
                    wrong.faults.push(format!("{place}: the chain is broken ({verdict:?})"));
                    return true;
                }
            },
            Ok(None) => wrong.strays.push(format!("{place}: no farandole header")),
            Err(fault) => wrong.strays.push(format!("{place}: {fault}")),
        }
        false
    });
    Ok((records, wrong))
}

/// Adds a record of a service's topic to a recording. The codec must know its schema.
///
/// # Errors
/// When it is no event of that service.
pub fn record(run: &mut Recording, service: &str, record: &Record, codec: &Codec) -> anyhow::Result<()> {
    Ok(match service {
        "orders" => run.event::<Orders>(record, codec),
        "inventory" => run.event::<Inventory>(record, codec),
        "payments" => run.event::<Payments>(record, codec),
        "shipping" => run.event::<Shipping>(record, codec),
        _ => run.event::<Notifications>(record, codec),
    }?)
}

/// What a service's journal says was parked.
///
/// # Errors
/// When it can't be read.
pub async fn parked(run: &mut Recording, bootstrap: &str, prefix: &str, service: &str) -> anyhow::Result<()> {
    let (records, _) = applied(bootstrap, &format!("{prefix}{service}.journal"), service).await?;
    let parked = records.iter().filter(|record| record.kind().is_some_and(|kind| kind.ends_with(".Parked")));
    let causes = parked.filter_map(|record| Some(record.link().ok()??.1.cause));
    run.parked.entry(service.to_owned()).or_default().extend(causes);
    Ok(())
}

/// What ran until a time, in microseconds, as all topics tell it. Later events are left out: one might be read whose cause isn't.
///
/// # Errors
/// When a topic can't be read, or holds what isn't its service's.
pub async fn recording(bootstrap: &str, prefix: &str, codec: &Codec, until: i64) -> anyhow::Result<Recording> {
    for types in [
        <Orders as Participant>::Event::TYPES,
        <Inventory as Participant>::Event::TYPES,
        <Payments as Participant>::Event::TYPES,
        <Shipping as Participant>::Event::TYPES,
        <Notifications as Participant>::Event::TYPES,
    ] {
        codec.add_reader_schema(types)?;
    }
    let mut run = Recording::default();
    for service in SERVICES {
        let (records, _) = applied(bootstrap, &format!("{prefix}{service}"), service).await?;
        codec.prepare(records.iter().filter_map(Record::schema_id)).await?;
        records.iter().try_for_each(|one| record(&mut run, service, one, codec))?;
        parked(&mut run, bootstrap, prefix, service).await?;
    }
    run.events.values_mut().for_each(|events| events.retain(|event| event.at <= until));
    Ok(run)
}
