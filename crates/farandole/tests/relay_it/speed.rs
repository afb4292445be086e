//! Not tests of time but measurements: `cargo test --release -p farandole --test relay_it speed -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use sqlx::{Connection, Row};

use crate::world::{World, consume};

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// CPU time of this process: user and system, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn drain() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 6).await;
    let rows = 500_000;
    for _ in 0..10 {
        world.fill(&topic, rows / 10).await;
    }
    sqlx::raw_sql("checkpoint").execute(&world.pool).await.ok();
    for run in 0..3 {
        let began = Instant::now();
        let mut config = world.config();
        if let Ok(linger) = std::env::var("LINGER") {
            config.kafka.insert("linger.ms".into(), linger);
        }
        let relay = world.relay(config).await;
        relay.is_active().await;
        let (active, cpu) = (Instant::now(), cpu_seconds());
        while relay.status.published() < rows as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = active.elapsed();
        let (rate, cpu) = (rows as f64 / took.as_secs_f64(), cpu_seconds() - cpu);
        println!(
            "run {run}: {rows} rows in {took:?} (+ {:?} to start): {rate:.0} rows/s, {cpu:.2} s CPU, peak {} KiB",
            active - began,
            memory_kib()
        );
        relay.stop().await.unwrap();
        for _ in 0..10 {
            world.fill(&topic, rows / 10).await;
        }
    }
    assert_eq!(consume(&world.read(&topic).await).len() as i64, 3 * rows);
}

/// The limit to measure against: the same rows and headers, with neither snapshots, numbers, chain, nor steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn bare() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 6).await;
    let rows = 500_000;
    for _ in 0..10 {
        world.fill(&topic, rows / 10).await;
    }
    for run in 0..3 {
        let producer: ThreadedProducer<DefaultProducerContext> = world
            .client()
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("batch.size", "1000000")
            .set("batch.num.messages", "20000")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "1048576")
            .create()
            .unwrap();
        let mut conn = sqlx::PgConnection::connect(&world.url).await.unwrap();
        let (began, cpu) = (Instant::now(), cpu_seconds());
        let (mut last, mut n) = (0_i64, 0_i64);
        loop {
            let query = "select seq, topic, aggregateid, payload from farandole.outbox where seq > $1 order by seq limit 20000";
            let mut page = sqlx::query(query).bind(last).fetch(&mut conn);
            let mut got = 0;
            while let Some(row) = page.try_next().await.unwrap() {
                last = row.get(0);
                let (topic, key, payload): (&str, &str, &[u8]) = (row.get(1), row.get(2), row.get(3));
                let link =
                    format!("l=1;n={last};p=1:{};c=orders/3/{last};k=9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d;i=1/1", last - 7);
                let id = format!("01932c07-{:04x}-7bad-9bdd-{last:012x}", last & 0xffff);
                let mut headers = OwnedHeaders::new_with_capacity(9);
                for (key, value) in [
                    ("ce_specversion", "1.0"),
                    ("ce_id", id.as_str()),
                    ("ce_source", "/farandole/orders"),
                    ("ce_type", "farandole.orders.OrderPlaced"),
                    ("ce_subject", key),
                    ("ce_time", "2026-11-21T12:00:00.123456Z"),
                    ("content-type", "application/avro"),
                    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                    ("farandole", link.as_str()),
                ] {
                    headers = headers.insert(Header { key, value: Some(value) });
                }
                let mut record = BaseRecord::to(topic).key(key).payload(payload).headers(headers);
                while let Err((_, back)) = producer.send(record) {
                    record = back;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                got += 1;
            }
            n += got;
            if got < 20_000 {
                break;
            }
        }
        producer.flush(Duration::from_secs(60)).unwrap();
        let took = began.elapsed();
        let (rate, cpu) = (n as f64 / took.as_secs_f64(), cpu_seconds() - cpu);
        println!("bare run {run}: {n} rows in {took:?}: {rate:.0} rows/s, {cpu:.2} s CPU, peak {} KiB", memory_kib());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn latency() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 6).await;
    for poked in [true, false] {
        for rate in [200_u32, 2_000] {
            let relay = world.relay(world.config()).await;
            relay.is_active().await;
            let (mut config, name) = (world.client(), topic.clone());
            let stop = tokio_util::sync::CancellationToken::new();
            let stopped = stop.clone();
            let consumer = std::thread::spawn(move || {
                config
                    .set("group.id", "latency")
                    .set("fetch.wait.max.ms", "100")
                    .set("fetch.min.bytes", "1")
                    .set("auto.offset.reset", "latest");
                let consumer: BaseConsumer = config.create().unwrap();
                let mut list = rdkafka::TopicPartitionList::new();
                for partition in 0..6 {
                    list.add_partition_offset(&name, partition, rdkafka::Offset::End).unwrap();
                }
                consumer.assign(&list).unwrap();
                let mut seen = Vec::new();
                while !stopped.is_cancelled() {
                    let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
                    seen.push((uuid::Uuid::from_slice(message.payload().unwrap()).unwrap(), Instant::now()));
                }
                seen
            });
            tokio::time::sleep(Duration::from_secs(2)).await;
            let mut tasks = Vec::new();
            for writer in 0..8 {
                let (pool, topic, poke) = (world.pool.clone(), topic.clone(), relay.poke.clone());
                tasks.push(tokio::spawn(async move {
                    let mut conn = pool.acquire().await.unwrap();
                    let mut sent = Vec::new();
                    let every = Duration::from_secs(8) / rate;
                    let mut tick = tokio::time::interval(every);
                    for n in 0..(5 * rate / 8) {
                        tick.tick().await;
                        let id = uuid::Uuid::now_v7();
                        World::append_payload(&mut conn, &topic, &format!("k{writer}-{}", n % 50), id, id.as_bytes()).await;
                        sent.push((id, Instant::now()));
                        if poked {
                            poke.poke();
                        }
                    }
                    sent
                }));
            }
            let mut sent = std::collections::HashMap::new();
            for task in tasks {
                sent.extend(task.await.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            stop.cancel();
            let seen = consumer.join().unwrap();
            let mut took: Vec<_> =
                seen.iter().filter_map(|(id, at)| Some(at.saturating_duration_since(*sent.get(id)?))).collect();
            took.sort();
            assert_eq!(took.len(), sent.len());
            println!(
                "{rate}/s, poked {poked}: p50 {:?} p90 {:?} p99 {:?} max {:?}",
                took[took.len() / 2],
                took[took.len() * 9 / 10],
                took[took.len() * 99 / 100],
                took[took.len() - 1]
            );
            relay.stop().await.unwrap();
        }
    }
}
