//! All parts of one stage: they serve, survive what fault tests do to them, and leave nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use stage::{Options, Stage};

use crate::{children, eventually, runs};

fn brokers(kafka: &str) -> usize {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", kafka).create().unwrap();
    client.fetch_metadata(Some("nobody.made.this"), Duration::from_secs(1)).map_or(0, |metadata| {
        assert!(metadata.topics().iter().all(|t| t.partitions().is_empty()), "a topic was made by asking for it");
        metadata.brokers().len()
    })
}

fn post(url: &str, body: &str) -> std::io::Result<String> {
    let (server, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let kind = "application/vnd.schemaregistry.v1+json";
    write!(stream, "POST /{path} HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

async fn count(url: &str) -> Result<i64, sqlx::Error> {
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(url).await?;
    sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut connection).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_serve_and_leave_nothing() {
    let stage = tokio::task::spawn_blocking(|| Stage::start(Options::default())).await.unwrap().unwrap();
    let names: Vec<String> = stage.pids().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["kafka-1", "registry", "postgres"]);
    assert_eq!(brokers(stage.kafka()), 1);
    let registered = post(&format!("{}/subjects/s/versions", stage.registry()), r#"{"schema":"\"string\""}"#).unwrap();
    assert!(registered.contains(r#"{"id":"#), "{registered}");

    // PostgreSQL crashes, and comes back with what was committed.
    let orders = stage.database("orders").await.unwrap();
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&orders.url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").execute(&mut connection).await.unwrap();
    let stage = tokio::task::spawn_blocking(move || {
        stage.kill_part("postgres").unwrap();
        assert!(!stage.pids().iter().any(|(name, _)| name == "postgres"));
        stage.start_part("postgres").unwrap();
        stage
    });
    let stage = stage.await.unwrap();
    assert_eq!(count(&orders.url).await.unwrap(), 1);
    assert_eq!(stage.database("orders").await.unwrap().url, orders.url);

    let stage = tokio::task::spawn_blocking(move || {
        // A paused broker lives and says nothing.
        stage.pause("kafka-1").unwrap();
        assert_eq!(brokers(stage.kafka()), 0);
        stage.resume("kafka-1").unwrap();
        eventually("the broker goes on", || brokers(stage.kafka()) == 1);
        stage.stop_part("kafka-1").unwrap();
        stage.start_part("kafka-1").unwrap();
        assert_eq!(brokers(stage.kafka()), 1);
        stage
    });
    let stage = stage.await.unwrap();

    let message = stage.stop_part("kafka-9").unwrap_err().to_string();
    assert_eq!(message, "there is no part `kafka-9`, only kafka-1, registry, postgres");

    let mut pids: Vec<u32> = stage.pids().into_iter().map(|(_, pid)| pid).collect();
    let run = run_of(pids[0]);
    pids.extend(pids.clone().into_iter().flat_map(children));
    assert!(run.is_dir() && pids.len() > 6, "{pids:?}");
    tokio::task::spawn_blocking(|| drop(stage)).await.unwrap();
    eventually("all processes are gone", || !pids.iter().any(|pid| runs(*pid)));
    assert!(!run.exists());
}

/// The run's folder, which is the working folder's parent of each part.
pub fn run_of(pid: u32) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap().parent().unwrap().to_owned()
}
