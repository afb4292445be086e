//! A service's tables from its topic: orders, which makes a row an order, and inventory, whose events change shared rows as well; beside a
//! bare `COPY` of the rows that come out of it into the same tables with the same indexes.

use std::env;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use farandole::config::Config;
use farandole::rebuild::{Options, Rebuild};
use farandole::{Codec, Participant, Service, Tables as _, relay};
use futures_util::TryStreamExt as _;
use inventory::Inventory;
use orders::Orders;
use schemas::inventory::{StockLine, StockReceived, StockReleased, StockReserved};
use schemas::orders::{OrderConfirmed, OrderLine, OrderPlaced};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Executor as _, PgPool};
use stage::Stage;
use uuid::Uuid;

use crate::events::publish_all;
use crate::machine::{forget_peak, own_usage};
use crate::relay::tell;
use crate::report::{Figure, Side};

/// Events a second that are to be reached, and the share of `COPY`'s rows.
const LIMIT: f64 = 150_000.0;
/// Orders between being placed and confirmed, or stock's being reserved and released.
const LAG: u64 = 500;
/// Rows of a table that are copied at most.
const COPIED: u32 = 1_000_000;
/// Articles.
const SKUS: u64 = 4_000;
const AT: i64 = 1_795_276_800_000_000;

const ORDERS: &str = include_str!("../../../services/orders/migrations/0001_tables.sql");
const INVENTORY: &str = include_str!("../../../services/inventory/migrations/0001_tables.sql");

/// Sizes of topics: what an event costs is to be the same in all of them. The last takes a quarter of an hour, most of it to fill the topics.
pub const SIZES: [u32; 2] = [100_000, 1_000_000];
pub const LARGE: u32 = 10_000_000;

/// Events a second until they are served, and rows a second beside `COPY`, of both services, with so many events.
pub async fn measure(stage: &Stage, events: u32, runs: u16) -> anyhow::Result<Vec<Figure>> {
    let orders = Orders { confirm_within: Duration::from_secs(60) };
    let mut all = one(stage, orders, ORDERS, ["rebuild orders", "orders rows"], events, runs, order_event).await?;
    all.extend(one(stage, Inventory, INVENTORY, ["rebuild stock", "stock rows"], events, runs, stock_event).await?);
    Ok(all)
}

/// Events a second where all of them are of one aggregate: one partition holds them, and one row is all that comes of them.
pub async fn measure_one(stage: &Stage, events: u32, runs: u16) -> anyhow::Result<Vec<Figure>> {
    let names = ["rebuild one aggregate", "its rows"];
    let mut all = one(stage, Inventory, INVENTORY, names, events, runs, received_event).await?;
    all.truncate(1); // one row is no measure of rows
    Ok(all)
}

/// The `n`th event, and its key.
type Nth<E> = fn(u64) -> (String, E);

/// As UUIDv7: the time in front, then what tells apart.
fn id(n: u64) -> Uuid {
    let millis = u128::from(AT.unsigned_abs() / 1_000 + n / 4);
    Uuid::from_u128(millis << 80 | 7 << 76 | 2 << 62 | u128::from(n))
}

fn sku(n: u64) -> String {
    let n = n % SKUS;
    format!("{:05}{}", 10_000 + n, ["", "A", "B"][usize::try_from(n % 3).unwrap_or(0)])
}

fn customer(n: u64) -> String {
    format!("{}", 12_346 + n % 4_372)
}

/// An order is placed, and the one before it by [`LAG`] confirmed.
fn order_event(n: u64) -> (String, orders::Event) {
    let order = n / 2;
    if n % 2 == 1 && order >= LAG {
        let order_id = id(order - LAG);
        let customer = customer(n);
        return (order_id.to_string(), OrderConfirmed { order_id, customer, confirmed_at: AT + n as i64 }.into());
    }
    let order_id = id(if n.is_multiple_of(2) { order } else { order + (1 << 40) });
    let line = |k: u64| OrderLine {
        sku: sku(n.wrapping_mul(31) + k * 7),
        quantity: 1 + (n % 12) as i32,
        unit_price: 125 + (k * 100) as i64,
    };
    let lines: Vec<OrderLine> = (0..1 + n % 4).map(line).collect();
    let total = lines.iter().map(|line| i64::from(line.quantity) * line.unit_price).sum();
    let placed = OrderPlaced {
        order_id,
        customer: customer(n),
        currency: "GBP".to_owned(),
        total,
        lines,
        card_token: "tok_17850".to_owned(),
        placed_at: AT + n as i64,
        confirm_by: AT + 60_000_000 + n as i64,
    };
    (order_id.to_string(), placed.into())
}

/// Stock comes in, is reserved for an order, and for one in ten released again.
fn stock_event(n: u64) -> (String, inventory::Event) {
    if n < SKUS {
        let received = StockReceived { receipt_id: id(n), sku: sku(n), quantity: 1 << 40, received_at: AT };
        return (received.sku.clone(), received.into());
    }
    let lines = |n: u64| {
        (0..1 + n % 4).map(|k| StockLine { sku: sku(n.wrapping_mul(31) + k * 7), quantity: 1 + (n % 12) as i64 }).collect()
    };
    if n.is_multiple_of(11) && n > SKUS + 11 * LAG {
        let of = n - 11 * LAG + 1;
        return (id(of).to_string(), StockReleased { order_id: id(of), lines: lines(of), released_at: AT + n as i64 }.into());
    }
    (id(n).to_string(), StockReserved { order_id: id(n), lines: lines(n), reserved_at: AT + n as i64 }.into())
}

/// A piece of the one article comes in.
fn received_event(n: u64) -> (String, inventory::Event) {
    let received = StockReceived { receipt_id: id(n), sku: sku(0), quantity: 1, received_at: AT + n as i64 };
    (received.sku.clone(), received.into())
}

struct Place<P> {
    participant: Arc<P>,
    codec: Codec,
    topic: String,
    relay: relay::Config,
    pool: PgPool,
}

async fn one<P: Participant + Copy>(
    stage: &Stage,
    participant: P,
    tables: &'static str,
    measures: [&'static str; 2],
    events: u32,
    runs: u16,
    nth: Nth<P::Event>,
) -> anyhow::Result<Vec<Figure>> {
    let sandbox = stage.sandbox().await?;
    let database = sandbox.database(P::NAME).await?;
    let mut config = Config::default();
    config.database.url = database.url.clone().into();
    config.kafka.bootstrap = stage.kafka().to_owned();
    config.registry.url = stage.registry().to_owned();
    config.topics.prefix = sandbox.prefix.clone();
    let pool = PgPoolOptions::new().max_connections(4).connect(&database.url).await?;
    pool.execute(tables).await.context("creating the tables")?;
    Service::new(participant, Migrator::with_migrations(vec![])).migrate(&config).await.context("migrating")?;
    let topic = format!("{}{}", sandbox.prefix, P::NAME);
    let codec = Codec::new(stage.registry(), pool.clone());
    let source = format!("/farandole/{}", P::NAME);
    publish_all(stage.kafka(), &codec, &topic, &source, u64::from(events), nth).await?;
    let mut relay = relay::Config::new(P::NAME, stage.kafka());
    relay.topics = vec![topic.clone()];
    let place = Place { participant: Arc::new(participant), codec, topic, relay, pool };
    let mut folded = Figure::new(measures[0], "events/s", "").limit(LIMIT).rows(events);
    let mut written = Figure::new(measures[1], "rows/s", "a bare COPY").rows(events);
    for run in 1..=runs {
        let (ours, rows) = place.rebuild(events).await?;
        let copied = place.copy().await?;
        tell(measures[0], run, runs, &ours, None);
        let mine = Side { value: ours.value * rows as f64 / f64::from(events), ..ours };
        tell(measures[1], run, runs, &mine, Some(&copied));
        folded.runs.push((ours, None));
        written.runs.push((mine, Some(copied)));
    }
    // The next ones need the room: ten million are gigabytes.
    for table in P::Tables::names() {
        place.pool.execute(AssertSqlSafe(format!("drop table public.{table} cascade"))).await?;
    }
    place.pool.close().await;
    Ok(vec![folded, written])
}

impl<P: Participant> Place<P> {
    /// Events a second, and the rows that came of them.
    async fn rebuild(&self, events: u32) -> anyhow::Result<(Side, i64)> {
        let rebuild =
            Rebuild::new(Arc::clone(&self.participant), self.codec.clone(), self.topic.clone(), &self.relay, &self.pool);
        forget_peak()?;
        let (before, began) = (own_usage()?, Instant::now());
        // To the end: they are live then.
        let report = rebuild.run(Options { execute: true, keep: 0, ..Options::default() }).await?;
        let (took, after) = (began.elapsed().as_secs_f64(), own_usage()?);
        ensure!(report.events == u64::from(events) && !report.resumed, "{events} events, but {} were folded", report.events);
        let rows = self.rows("public").await?;
        ensure!(rows > 0, "no rows came of them");
        Ok((Side::new(f64::from(events) / took, before, after), rows))
    }

    /// Rows of all tables in a schema.
    async fn rows(&self, schema: &str) -> anyhow::Result<i64> {
        let mut rows = 0;
        for table in P::Tables::names() {
            let sql = format!("select count(*) from {schema}.{table}");
            rows += sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).fetch_one(&self.pool).await?;
        }
        Ok(rows)
    }

    /// Rows a second of a `COPY` of the same into tables of the same make: of the first [`COPIED`] of each, out of a file.
    async fn copy(&self) -> anyhow::Result<Side> {
        let mut conn = self.pool.acquire().await?;
        conn.execute("drop schema if exists bare cascade; create schema bare").await?;
        let mut all = Vec::new();
        for table in P::Tables::names() {
            let sql = format!("create table bare.{table} (like public.{table} including all)");
            conn.execute(AssertSqlSafe(sql)).await?;
            let sql = format!("copy (select * from public.{table} limit {COPIED}) to stdout (format binary)");
            let path = env::temp_dir().join(format!("farandole-bench-{}-{table}", std::process::id()));
            let mut file = File::create(&path)?;
            let mut pieces = conn.copy_out_raw(&sql).await?;
            while let Some(piece) = pieces.try_next().await? {
                file.write_all(&piece)?;
            }
            all.push((table, File::open(&path)?));
            fs::remove_file(path)?; // it is there until it is closed
        }
        let before = own_usage()?;
        let began = Instant::now();
        for (table, mut file) in all {
            let mut copy = conn.copy_in_raw(&format!("copy bare.{table} from stdin (format binary)")).await?;
            let mut piece = vec![0; 1 << 18];
            loop {
                let length = file.read(&mut piece)?;
                if length == 0 {
                    break;
                }
                copy.send(&piece[..length]).await?;
            }
            copy.finish().await?;
        }
        let (took, after) = (began.elapsed().as_secs_f64(), own_usage()?);
        let rows = self.rows("bare").await?;
        conn.execute("drop schema bare cascade").await?;
        Ok(Side::new(rows as f64 / took, before, after))
    }
}
