//! A service without its servers.

use std::time::Duration;

use farandole::Config;

/// What can be spawned by who embeds a service.
fn is_send<T: Send>(value: T) -> T {
    value
}

mod greeter {
    //! The least of services.
    use axum::Router;
    use axum::routing::get;

    use farandole::{Decision, Input, Never, Participant, Refusal, Service};

    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    pub struct Placed {}
    impl Placed {
        pub const NAME: &'static str = "test.Placed";
        pub const SCHEMA: &'static str = "";
        pub const TOPIC: &'static str = "orders";
    }
    farandole::messages! { pub enum Heard { Placed } }
    farandole::tables! { pub struct Tables {} }

    #[derive(Debug)]
    pub struct Greeter;

    impl Participant for Greeter {
        const NAME: &'static str = "greeter";
        type Id = String;
        type Event = Never;
        type Heard = Heard;
        type Command = ();
        type Deadline = Never;
        type Effect = Never;
        type Tables = Tables;
        fn decide(&self, _: &Tables, _: &String, _: &Input<Self>) -> Result<Decision<Never>, Refusal> {
            Ok(Decision::nothing())
        }
        fn evolve(&self, _: &mut Tables, event: &Never) {
            match *event {}
        }
    }

    pub fn service() -> Service<Greeter> {
        Service::new(Greeter, sqlx::migrate::Migrator::with_migrations(Vec::new()))
            .routes(|_api| Router::new().route("/greet", get(async || "hello")))
    }
}

/// Nobody listens at the ports given: the service lives, says what it waits for, and stops when told.
#[tokio::test]
async fn a_service_without_its_servers_lives_waits_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let port_file = folder.path().join("port");
    let mut config = Config::default();
    config.database.url = "postgres://127.0.0.1:9/none".into();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.http.port_file = Some(port_file.clone());
    let shutdown = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(is_send(greeter::service().run(config, shutdown.clone())));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let address = loop {
        assert!(std::time::Instant::now() < until && !running.is_finished(), "no address in time");
        match std::fs::read_to_string(&port_file) {
            Ok(address) => break address,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let status = async |path: &str| {
        let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(status("/healthz").await.0, 200);
    assert_eq!(status("/greet").await.0, 503);
    let said = loop {
        let (code, said) = status("/readyz").await;
        assert_eq!(code, 503);
        if said.contains("connecting to the database") || std::time::Instant::now() >= until {
            break said;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(said.contains("connecting to the database"), "{said}");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("stops in time").unwrap().unwrap();
}

#[test]
fn a_service_describes_itself() {
    let mut config = Config::default();
    config.topics.prefix = "test-".to_owned();
    let description = greeter::service().description(&config);
    assert_eq!((description.publishes.as_str(), description.journal.as_str()), ("test-greeter", "test-greeter.journal"));
    assert_eq!(description.hears, ["test-orders"]);
    assert!(description.to_string().contains("subscribes to test-orders"));
    let json = serde_json::to_value(&description).unwrap();
    let told = ["source", "group", "content_type"].map(|name| json[name].as_str().unwrap());
    assert_eq!(told, ["/farandole/greeter", "test-greeter", "application/avro"]);
    assert_eq!(json["ends"], serde_json::json!([]), "it publishes nothing");
}

/// Guards: the kit's chain isn't promised for a topic whose keys or headers somebody else has designed.
#[test]
fn a_description_says_what_each_source_guarantees() {
    use farandole::Mapping;
    use farandole::mapping::Source;

    let described = |mapping: Option<Mapping>| {
        let service = greeter::service();
        let service = match mapping {
            Some(mapping) => service.mapping("orders", mapping),
            None => service,
        };
        service.description(&Config::default())
    };
    let json = |mapping| serde_json::to_value(described(mapping)).unwrap()["guarantees"].clone();
    let kit = |topic: &str| {
        serde_json::json!({ "topic": topic, "producer": "farandole", "order": "commits, per key", "loss_detected": true,
            "duplicates_dropped": "always" })
    };
    let foreign = |topic: &str| {
        serde_json::json!({ "topic": topic, "producer": "foreign", "order": "the partition's", "loss_detected": false,
            "duplicates_dropped": "8d" })
    };
    assert_eq!(json(None), serde_json::json!([kit("orders"), foreign("orders")]));
    assert_eq!(json(Some(Mapping::new().named("eu.orders"))), serde_json::json!([kit("eu.orders"), foreign("eu.orders")]));
    let theirs = || Mapping::new().named("acme.v1").header("ce_type", Source::Header("event".to_owned()));
    assert_eq!(json(Some(theirs())), serde_json::json!([foreign("acme.v1")]));
    let keyed = Mapping::new().key(Source::Value("/order/id".to_owned()));
    assert_eq!(json(Some(keyed)), serde_json::json!([foreign("orders")]));

    let text = described(None).to_string();
    let [kits, others] = [
        "guarantees    orders, from the kit: in the order of commits per key; loss detected; duplicates always dropped\n",
        "              orders, from others: in the partition's order; loss not detected; duplicates dropped for 8d by ce_source and ce_id",
    ];
    assert!(text.contains(kits) && text.contains(others), "{text}");
    let text = described(Some(theirs())).to_string();
    assert!(text.contains("guarantees    acme.v1, from others") && !text.contains("from the kit"), "{text}");
}

/// A setting for a topic that isn't heard would be one that silently isn't there.
#[tokio::test]
async fn settings_of_topics_that_are_not_heard_are_refused() {
    use farandole::config::{PerTopic, Unknown};
    let mut config = Config::default();
    config.database.url = "postgres://127.0.0.1:9/none".into();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.intake.unknown = PerTopic::default().with("orderz", Unknown::Ignore);
    let refused = greeter::service().run(config, tokio_util::sync::CancellationToken::new()).await.unwrap_err().to_string();
    assert!(refused.contains("`intake.unknown` names `orderz`, but greeter subscribes to orders"), "{refused}");
}
