//! All parts of one stage: they serve, survive what fault tests do to them, and leave nothing.

use std::io::{BufRead, BufReader, Read, Write};
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

/// One line of SMTP, and the last line of what comes back.
fn say(stream: &mut BufReader<TcpStream>, line: &str) -> String {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    answer(stream)
}

fn answer(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    }
}

#[test]
fn mail_is_caught_or_bounces() {
    let options = Options { brokers: 0, registry: false, mail: true, ..Options::default() };
    if !stage::mail::is_built(&options.dir) {
        assert!(std::env::var_os("NEED_MAIL").is_none(), "there is no mail catcher: scripts/install --mail");
        eprintln!("there is no mail catcher (scripts/install --mail): nothing is tested");
        return;
    }
    let stage = Stage::start(options).unwrap();
    let names: Vec<String> = stage.env().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["STAGE_SMTP", "STAGE_MAIL", "STAGE_KAFKA", "STAGE_POSTGRES", "STAGE_REGISTRY"]);

    let mut smtp = BufReader::new(TcpStream::connect(stage.smtp().trim_start_matches("smtp://")).unwrap());
    smtp.get_ref().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(answer(&mut smtp).starts_with("220"));
    assert!(say(&mut smtp, "EHLO me").starts_with("250"));
    assert!(say(&mut smtp, "MAIL FROM:<shop@shop.example>").starts_with("250"));
    for (address, code) in
        [("bounce@x.example", "550"), ("Bounce-7@x.example", "550"), ("bounc@x.example", "250"), ("17850@x.example", "250")]
    {
        let said = say(&mut smtp, &format!("RCPT TO:<{address}>"));
        assert!(said.starts_with(code), "{address}: {said}");
    }
    assert!(say(&mut smtp, "DATA").starts_with("354"));
    assert!(say(&mut smtp, "Subject: taken\r\n\r\nhere\r\n.").starts_with("250"));

    // What was caught outlasts a restart, and the page is there with what it shows by.
    stage.stop_part("mail").unwrap();
    stage.start_part("mail").unwrap();
    let listed = fetch(&format!("{}/api/v1/messages", stage.mail()));
    assert!(listed.contains(r#""Subject":"taken""#) && !listed.contains("ounce"), "{listed}");
    assert!(fetch(&format!("{}/", stage.mail())).contains("dist/app.js"));
    assert!(fetch(&format!("{}/dist/app.js", stage.mail())).starts_with("HTTP/1.0 200"));
}

fn fetch(url: &str) -> String {
    let (server, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
