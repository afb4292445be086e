//! What the services declare of each other: whole, written down in `docs`, and what their topics hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use demo::choreography::{self, Expected};
use demo::scripted;
use demo::shop::{CORE, SERVICES, bins};
use farandole::testing::committed;
use serde_json::Value;
use uuid::Uuid;

use crate::kit::{self, Own};
use crate::records::send;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn run(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    // `describe` asks no server, but wants a database to be named.
    command.args(args).current_dir(root()).env("FARANDOLE_DATABASE_URL", "postgres://nobody@127.0.0.1/none").output().unwrap()
}

/// What every service says of itself: those of the shop by their own programs, others in a `description.json` of their folder.
fn descriptions(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for service in SERVICES {
        let described = run(bins().unwrap().join(service), &["describe", "--output", "json"]);
        assert!(described.status.success(), "{described:?}");
        let file = folder.join(format!("{service}.json"));
        std::fs::write(&file, described.stdout).unwrap();
        files.push(file);
    }
    let services = std::fs::read_dir(root().join("services")).unwrap();
    let mut others: Vec<PathBuf> = services.map(|service| service.unwrap().path().join("description.json")).collect();
    others.retain(|file| file.exists());
    others.sort();
    files.into_iter().chain(others).map(|file| file.display().to_string()).collect()
}

fn graph(args: &[&str], files: &[String]) -> Output {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    run(bins().unwrap().join("farandole"), &[&["graph"], args, &files].concat())
}

/// The files below `folder`, as paths from there.
fn below(folder: &Path, from: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(from).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(folder, &path, found);
        } else {
            found.insert(path.strip_prefix(folder).unwrap().to_owned());
        }
    }
}

/// Every consumed event is published, every published one consumed or an end, every one has a schema; and the documents are those of now.
#[test]
fn the_documents_are_what_the_services_declare() {
    let folder = tempfile::tempdir().unwrap();
    let files = descriptions(folder.path());
    let checked = graph(&["--check", "--schemas", "schemas"], &files);
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr));
    // Without one of them it is not whole: the check can fail.
    let checked = graph(&["--check", "--schemas", "schemas"], &files[1..]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.code() == Some(1) && said.contains("which nobody publishes"), "{said}");

    let pages = folder.path().join("docs");
    let written = graph(&["--pages", pages.to_str().unwrap(), "--schemas", "schemas"], &files);
    assert!(written.status.success(), "{written:?}");
    let (mut made, mut there) = (BTreeSet::new(), BTreeSet::new());
    below(&pages, &pages, &mut made);
    let docs = root().join("docs");
    for page in &made {
        std::fs::create_dir_all(docs.join(page).parent().unwrap()).unwrap();
        committed(docs.join(page), &std::fs::read_to_string(pages.join(page)).unwrap());
    }
    below(&docs, &docs.join("events"), &mut there);
    let stale: Vec<&PathBuf> = there.difference(&made).collect();
    assert!(stale.is_empty(), "of events that nobody publishes any more; delete them: {stale:?}");
}

/// The official parser takes the committed document, and refuses one that is damaged. Where it can't be installed, nothing is tried.
#[test]
fn the_official_parser_takes_the_document() {
    let parsed = run("scripts/asyncapi", &[]);
    if parsed.status.code() == Some(3) {
        println!("not tried: {}", String::from_utf8_lossy(&parsed.stderr));
        return;
    }
    let said = String::from_utf8_lossy(&parsed.stdout).into_owned();
    assert!(parsed.status.success(), "{said}{}", String::from_utf8_lossy(&parsed.stderr));
    assert!(said.contains("AsyncAPI 3.0.0, "), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let document = std::fs::read_to_string(root().join("docs/asyncapi.yaml")).unwrap();
    for (from, to) in
        [("action: send", "action: shout"), ("#/channels/orders\"", "#/channels/nowhere\""), ("type: record", "type: rekord")]
    {
        let file = folder.path().join("damaged.yaml");
        assert!(document.contains(from), "{from}");
        std::fs::write(&file, document.replacen(from, to, 1)).unwrap();
        let parsed = run("scripts/asyncapi", &[file.to_str().unwrap()]);
        assert_eq!(parsed.status.code(), Some(1), "{to}: {parsed:?}");
    }
}

/// Every way that an order can go but the rare ones: each declared event happens.
async fn every_way(own: &Own) {
    let short = own.place("11111", 100, "tok_a").await;
    own.receive("11111", 1).await;
    let declined = own.place("11111", 1, "tok_decline").await;
    let scripted = scripted::play(&own.shop).await.unwrap();
    assert_eq!((scripted.cancels_taken, scripted.cancels_late), (1, 1));
    for order in [&short, &declined] {
        own.until(order, "rejected").await;
    }
}

/// The demo's check finds nothing in a shop where all happened that is declared, and each kind of what isn't declared, once it is planted.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_shop_does_is_what_it_declares() {
    let own =
        kit::open_with(&[(kit::DISPATCH.0, kit::DISPATCH.1, "2s"), (kit::DISPATCH.0, "FARANDOLE_OWN_DELIVER_WITHIN", "3s")])
            .await;
    let nothing = async |expected| choreography::compare(&own.shop, expected).await.unwrap().named.len();
    assert_eq!((nothing(Expected::All).await, nothing(Expected::Any).await), (33, 0), "nothing has happened");
    every_way(&own).await;
    let mut named = Vec::new();
    kit::eventually("topics to hold what is declared", async || {
        let compared = choreography::compare(&own.shop, Expected::All).await.unwrap();
        println!("{:?}", compared.named);
        (compared.named.is_empty() && compared.declared == 40 + 27).then_some(())
    })
    .await;
    // Its services would stop at a record that forges their chains.
    for service in CORE {
        own.shop.end(service).await;
    }
    let topic = |service: &str| format!("{}{service}", own.shop.parts.prefix);
    let header = |cause: &str| format!("l=9;n=1;p=-;c={cause};k={};i=1/1", Uuid::now_v7());
    let command = header("command/1");
    let confirmed = first(&own, "orders", "farandole.orders.OrderConfirmed").await;
    let of_confirmed = header(&format!("{}/{}/{}", topic("orders"), confirmed.0, confirmed.1));
    for (service, source, kind, link) in [
        ("orders", "/farandole/shadow", "farandole.orders.OrderPlaced", &command),
        ("inventory", "/farandole/inventory", "farandole.inventory.StockLost", &command),
        ("payments", "/farandole/payments", "farandole.payments.PaymentExpected", &of_confirmed),
    ] {
        let headers = [("ce_source", source), ("ce_type", kind), ("farandole", link.as_str())];
        send(&own, service, "planted", &headers, Some(b"x")).await;
        named.push(choreography::compare(&own.shop, Expected::Any).await.unwrap().named);
    }
    assert_eq!(named.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 3], "{named:?}");
    let named = named[2].join("\n");
    for words in [
        "/farandole/shadow publishes to",
        "inventory publishes farandole.inventory.StockLost to",
        "payments consumes farandole.orders.OrderConfirmed from",
    ] {
        assert!(named.contains(words), "{words}: {named}");
    }
}

/// Partition and offset of a record of this type.
async fn first(own: &Own, topic: &str, kind: &str) -> (i32, i64) {
    use farandole::extent::{Client, View};
    let mut kafka = rdkafka::ClientConfig::new();
    kafka.set("bootstrap.servers", &own.shop.parts.kafka);
    let topic = format!("{}{topic}", own.shop.parts.prefix);
    let records = tokio::task::spawn_blocking(move || Client::new(&kafka, View::Committed).unwrap().records(&topic).unwrap());
    let records = records.await.unwrap();
    let found = records.iter().find(|record| record.kind() == Some(kind)).unwrap();
    (found.partition, found.offset)
}

/// What the verb prints of the shop is JSON that a program can go by.
#[test]
fn json_tells_who_consumes_what() {
    let folder = tempfile::tempdir().unwrap();
    let printed = graph(&["--output", "json"], &descriptions(folder.path()));
    let json: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let events = json["events"].as_array().unwrap();
    let of = |name: &str| events.iter().find(|event| event["event"] == name).unwrap();
    let placed = of("farandole.orders.OrderPlaced");
    assert_eq!(placed["consumers"], serde_json::json!(["inventory", "payments", "notifications", "webhooks"]), "{placed}");
    assert_eq!((&placed["publisher"], &placed["end"]), (&"orders".into(), &false.into()));
    assert_eq!(of("farandole.orders.OrderCompleted")["end"], true);
}
