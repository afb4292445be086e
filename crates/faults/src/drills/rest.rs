//! Waits until nothing moves: all that was decided is published, all that was published is read, and the journals say where.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use farandole::extent::{Client, View};
use farandole::parking::journal;
use rdkafka::config::ClientConfig;
use serde_json::Value;
use sqlx::PgPool;

use super::ground::Ground;

/// How long that may take: what is under way ends, and then a checkpoint is due.
const REST: Duration = Duration::from_secs(120);
/// Between two looks; what moves, moves within it.
const LOOK: Duration = Duration::from_millis(500);
/// The journal's entry that says where a service reads.
const CHECKPOINT: &str = "farandole.journal.Checkpoint";
/// Rows that the relay hasn't had acknowledged.
pub const UNSENT: &str =
    "select count(*) from farandole.outbox where not pg_visible_in_snapshot(xid, (select (state->>'a')::pg_snapshot
                          from farandole.steps where scope = 'relay' order by step desc limit 1))";

/// Where a service reads, and how far its outbox is: as long as that stays, it is at rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    positions: BTreeMap<String, i64>,
    last: i64,
}

/// Waits until all services are at rest.
pub async fn wait(ground: &Ground) -> anyhow::Result<()> {
    let until = Instant::now() + REST;
    let mut before = BTreeMap::new();
    loop {
        let mut now = BTreeMap::new();
        let mut moving = None;
        for service in ground.names.iter().copied() {
            match look(ground, service).await? {
                Ok(place) => drop(now.insert(service, place)),
                Err(what) => moving = Some(format!("{service}: {what}")),
            }
        }
        if moving.is_none() && now == before {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("the shop isn't at rest within {} s: {}", REST.as_secs(), moving.unwrap_or_else(|| "rows come".to_owned()));
        }
        before = now;
        tokio::time::sleep(LOOK).await;
    }
}

/// Where a service stands, or what is under way.
async fn look(ground: &Ground, service: &str) -> anyhow::Result<Result<Place, String>> {
    let pool = ground.direct.pool(service).await?;
    let looked = look_at(ground, service, &pool).await;
    pool.close().await;
    looked.with_context(|| format!("looking whether {service} is at rest"))
}

async fn look_at(ground: &Ground, service: &str, pool: &PgPool) -> anyhow::Result<Result<Place, String>> {
    let unsent: i64 = sqlx::query_scalar(UNSENT).fetch_one(pool).await?;
    if unsent > 0 {
        return Ok(Err(format!("{unsent} event(s) to publish")));
    }
    let mut conn = pool.acquire().await?;
    let positions = farandole::intake::positions(&mut conn, service).await?;
    let positions: BTreeMap<String, i64> = positions.into_iter().map(|(at, position)| (at, position.next_offset)).collect();
    drop(conn);
    for (at, end) in ends(ground, service).await? {
        let read = positions.get(&at).copied().unwrap_or(0);
        if read < end {
            return Ok(Err(format!("{at} is read to {read} of {end}")));
        }
    }
    let told = told(ground, pool).await?;
    if let Some((at, _)) = positions.iter().find(|(at, next)| told.get(*at) != Some(next)) {
        return Ok(Err(format!("no checkpoint tells where {at} is read")));
    }
    let last = sqlx::query_scalar("select coalesce(max(seq), 0) from farandole.outbox").fetch_one(pool).await?;
    Ok(Ok(Place { positions, last }))
}

/// The ends of what a service hears.
async fn ends(ground: &Ground, service: &str) -> anyhow::Result<Vec<(String, i64)>> {
    let heard: &[&str] = match service {
        "orders" => &["inventory", "payments", "shipping"],
        "inventory" => &["orders", "shipping"],
        "shipping" => &["orders"],
        "notifications" => &["orders", "payments", "shipping"],
        _ => &["orders", "inventory", "shipping"],
    };
    let kafka = ClientConfig::new().set("bootstrap.servers", &ground.direct.parts.kafka).clone();
    let asked = tokio::task::spawn_blocking(move || {
        let client = Client::new(&kafka, View::Everything)?;
        let mut ends = Vec::new();
        for topic in heard {
            ends.extend(client.extents(topic)?.into_iter().filter(|extent| extent.high > 0));
        }
        Ok::<_, farandole::extent::Error>(ends)
    });
    let ends = asked.await.context("asking for the topics' ends ended early")??;
    Ok(ends.into_iter().map(|extent| (format!("{}/{}", extent.topic, extent.partition), extent.high)).collect())
}

/// What checkpoints in the outbox say, the last of each partition.
async fn told(ground: &Ground, pool: &PgPool) -> anyhow::Result<BTreeMap<String, i64>> {
    let codec = farandole::Codec::new(&ground.direct.parts.registry, pool.clone());
    codec.add_reader_schema(journal::TYPES)?;
    let sql = "select payload from farandole.outbox where type = $1 order by seq";
    let payloads: Vec<Vec<u8>> = sqlx::query_scalar(sql).bind(CHECKPOINT).fetch_all(pool).await?;
    let schemas = payloads.iter().filter_map(|payload| farandole::Codec::schema_id(payload).ok());
    codec.prepare(schemas.collect::<std::collections::BTreeSet<_>>()).await?;
    let mut told = BTreeMap::new();
    for payload in payloads {
        let checkpoint: Value = codec.decode(CHECKPOINT, &payload)?;
        for (at, position) in checkpoint["positions"].as_object().into_iter().flatten() {
            let position: Value = serde_json::from_str(position.as_str().unwrap_or_default())?;
            told.insert(at.clone(), position["next_offset"].as_i64().unwrap_or(0));
        }
    }
    Ok(told)
}
