//! The plain way: one transaction a message, as a careful service without a kit would write it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use farandole::{Codec, Message as _};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sqlx::{Connection as _, PgPool};
use uuid::Uuid;

use crate::events::{Event, PARTITIONS, POINTS};
use crate::machine::{forget_peak, own_usage};
use crate::place::Place;
use crate::report::Side;

const TABLES: &str = "
    create table plain_accounts (customer text primary key, points bigint not null);
    create table plain_earnings (order_id uuid primary key, points bigint not null);
    create table plain_outbox (seq bigint generated always as identity primary key, id uuid not null, key text not null, payload bytea not null);
    create table plain_positions (partition int primary key, next_offset bigint not null);";

/// Applies all of the topic's events, with `consumers` that share its partitions.
pub async fn run(place: &Place, consumers: i32) -> anyhow::Result<Side> {
    sqlx::raw_sql(TABLES).execute(&place.pool).await?;
    let mut readers = Vec::new();
    for first in 0..consumers {
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", &place.kafka)
            .set("group.id", "plain")
            .set("enable.auto.commit", "false")
            .create()
            .context("making a consumer")?;
        let (mut list, mut count) = (TopicPartitionList::new(), 0);
        for partition in (0..PARTITIONS).filter(|partition| partition % consumers == first) {
            let (_, high) = consumer.fetch_watermarks(&place.topic, partition, Duration::from_secs(10))?;
            list.add_partition_offset(&place.topic, partition, Offset::Beginning)?;
            count += high;
        }
        consumer.assign(&list)?;
        readers.push((consumer, count));
    }
    forget_peak()?;
    let (began, before) = (Instant::now(), own_usage()?);
    let mut tasks = tokio::task::JoinSet::new();
    for (consumer, count) in readers {
        tasks.spawn(read(place.pool.clone(), place.codec.clone(), consumer, count));
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a reader panicked")??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let after = own_usage()?;
    let (points, published): (i64, i64) =
        sqlx::query_as("select (select sum(points)::bigint from plain_accounts), (select count(*) from plain_outbox)")
            .fetch_one(&place.pool)
            .await?;
    let events = i64::from(place.events);
    ensure!((points, published) == (events * POINTS, events), "{events} events gave {points} points and {published} events");
    Ok(Side::new(f64::from(place.events) / seconds, before, after))
}

async fn read(pool: PgPool, codec: Codec, consumer: StreamConsumer, count: i64) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    for _ in 0..count {
        let message = consumer.recv().await?;
        let payload = message.payload().context("a record without a value")?;
        codec.prepare([Codec::schema_id(payload)?]).await?;
        let Event::OrderPlaced(order) = Event::decode(0, &codec, payload)?;
        let mut tx = conn.begin().await?;
        let points = order.total / 100;
        let first = sqlx::query("insert into plain_earnings values ($1, $2) on conflict do nothing")
            .bind(order.order_id)
            .bind(points)
            .execute(&mut *tx)
            .await?;
        if first.rows_affected() == 1 {
            sqlx::query(
                "insert into plain_accounts values ($1, $2) on conflict (customer) do update set points = plain_accounts.points + excluded.points",
            )
            .bind(&order.customer)
            .bind(points)
            .execute(&mut *tx)
            .await?;
            sqlx::query("insert into plain_outbox (id, key, payload) values ($1, $2, $3)")
                .bind(Uuid::now_v7())
                .bind(&order.customer)
                .bind(payload)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("insert into plain_positions values ($1, $2) on conflict (partition) do update set next_offset = excluded.next_offset")
            .bind(message.partition())
            .bind(message.offset() + 1)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
    Ok(())
}
