//! What a dead database had decided and its relay never published: by its topics, which lack it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use anyhow::Context as _;
use audit::topics::Event;
use farandole::Message as _;
use farandole::chain::unescape;
use farandole::extent::{Client, View};
use rdkafka::config::ClientConfig;
use schemas::inventory::StockLine;
use sqlx::postgres::PgPoolOptions;
use stage::Database;
use uuid::Uuid;

/// A row of an outbox that is in no topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrelayed {
    pub id: Uuid,
    pub topic: String,
    pub kind: String,
    pub aggregate: String,
    /// Whose answer it was.
    pub command: Option<Asked>,
    payload: Vec<u8>,
}

impl fmt::Display for Unrelayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, topic, kind, aggregate, .. } = self;
        write!(f, "{topic}: {kind} {id} of {aggregate}")
    }
}

/// Under which scope and idempotency key something was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    pub scope: String,
    pub key: String,
}

impl Asked {
    /// From what rows and records say of their command.
    fn parse(command: &str) -> Option<Self> {
        let mut parts = command.split(',').map(unescape);
        Some(Self { scope: parts.next()?, key: parts.next()? })
    }
}

/// Pieces of an article, or by how many they changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pieces {
    pub received: i64,
    pub reserved: i64,
    pub adjusted: i64,
    pub shipped: i64,
}

impl Pieces {
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.reserved += other.reserved;
        self.adjusted += other.adjusted;
        self.shipped += other.shipped;
    }
}

/// What topics hold of a service: the ids of events, and the commands that led to some.
#[derive(Debug, Default)]
pub struct Relayed {
    ids: HashSet<Uuid>,
    pub commands: HashSet<Asked>,
}

impl Relayed {
    /// Reads the topic of a service and its journal.
    pub async fn read(brokers: &str, service: &str) -> anyhow::Result<Self> {
        let kafka = ClientConfig::new().set("bootstrap.servers", brokers).clone();
        let topics = [service.to_owned(), format!("{service}.journal")];
        let reading = tokio::task::spawn_blocking(move || {
            let (client, mut relayed) = (Client::new(&kafka, View::Everything)?, Self::default());
            for topic in topics {
                client.each(&client.extents(&topic)?, |record| {
                    relayed.ids.extend(record.header("ce_id").and_then(|id| id.parse::<Uuid>().ok()));
                    let link = record.link().ok().flatten();
                    relayed.commands.extend(link.and_then(|(_, link)| Asked::parse(link.command.as_deref()?)));
                    Ok::<_, farandole::extent::Error>(true)
                })?;
            }
            Ok::<_, farandole::extent::Error>(relayed)
        });
        reading.await.context("reading topics ended early")?.with_context(|| format!("reading the topics of {service}"))
    }
}

/// As it is read: id, topic, type, aggregate, command, payload.
type Row = (Uuid, String, String, String, Option<String>, Vec<u8>);

/// The rows of a database's outbox that aren't there, in the order in which they were decided.
pub async fn find(database: &Database, relayed: &Relayed) -> anyhow::Result<Vec<Unrelayed>> {
    let reading = || format!("reading the outbox of {}", database.name);
    let pool = PgPoolOptions::new().max_connections(1).connect(&database.url).await.with_context(reading)?;
    let sql = "select id, topic, type, aggregateid, command, payload from farandole.outbox order by seq";
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(&pool).await.with_context(reading)?;
    pool.close().await;
    let rows = rows.into_iter().filter(|(id, ..)| !relayed.ids.contains(id));
    let row = |(id, topic, kind, aggregate, command, payload): Row| Unrelayed {
        id,
        topic,
        kind,
        aggregate,
        command: command.as_deref().and_then(Asked::parse),
        payload,
    };
    Ok(rows.map(row).collect())
}

/// What these rows had changed of each article.
pub async fn stock(registry: &str, database: &Database, rows: &[&Unrelayed]) -> anyhow::Result<BTreeMap<String, Pieces>> {
    let pool = PgPoolOptions::new().max_connections(1).connect(&database.url).await.context("connecting for schemas")?;
    let codec = farandole::Codec::new(registry, pool.clone());
    codec.add_reader_schema(Event::TYPES)?;
    let mut changed = BTreeMap::<String, Pieces>::new();
    for row in rows {
        let schema = farandole::Codec::schema_id(&row.payload).with_context(|| format!("{row} has no schema"))?;
        codec.prepare([schema]).await?;
        let index = Event::find(&row.kind).with_context(|| format!("{row} is none of the shop's"))?;
        let mut change = |sku: String, pieces: Pieces| changed.entry(sku).or_default().add(&pieces);
        let mut lines = |lines: Vec<StockLine>, of: fn(i64) -> Pieces| {
            lines.into_iter().for_each(|line| change(line.sku, of(line.quantity)));
        };
        let none = Pieces::default();
        match Event::decode(index, &codec, &row.payload)? {
            Event::StockReserved(e) => lines(e.lines, |n| Pieces { reserved: n, ..Pieces::default() }),
            Event::StockReleased(e) => lines(e.lines, |n| Pieces { reserved: -n, ..Pieces::default() }),
            Event::StockShipped(e) => lines(e.lines, |n| Pieces { reserved: -n, shipped: n, ..Pieces::default() }),
            Event::StockReceived(e) => change(e.sku, Pieces { received: e.quantity, ..none }),
            Event::StockAdjusted(e) => change(e.sku, Pieces { adjusted: e.quantity, ..none }),
            _ => {}
        }
    }
    pool.close().await;
    Ok(changed)
}

#[cfg(test)]
impl Unrelayed {
    /// One of an order, or a receipt.
    pub fn sample(topic: &str, aggregate: &str, command: Option<Asked>) -> Self {
        let kind = if topic == "inventory" { "farandole.inventory.StockReceived" } else { "farandole.orders.OrderPlaced" };
        let [topic, kind, aggregate] = [topic, kind, aggregate].map(str::to_owned);
        Self { id: Uuid::nil(), topic, kind, aggregate, command, payload: Vec::new() }
    }
}
