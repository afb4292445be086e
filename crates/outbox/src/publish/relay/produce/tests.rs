//! A producer whose broker refuses one record; the client library plays the broker.

use rdkafka::message::Header;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::publish::relay::produce::*;

const LIMIT: Duration = Duration::from_secs(10);

/// F18: a record is refused in the middle of a partition. Guard: the gapless producer. Without, those after it are there, and it isn't. What is
/// said of it names it, in characters that move nothing on a terminal.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_a_record_that_was_refused() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 1, 1).unwrap();
    let config = client_config(&cluster.bootstrap_servers(), &BTreeMap::new(), LIMIT);
    let mut producer = Producer::new(&config, LIMIT).unwrap();
    let headers = OwnedHeaders::new;
    producer.send("orders", 0, "k", b"1", headers()).await.unwrap();
    assert!(producer.acknowledged(1, LIMIT).await.unwrap());

    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let id = headers().insert(Header { key: "ce_id", value: Some("e\u{1b}2") });
    producer.send("orders", 0, "k\u{202e}", b"2", id).await.unwrap();
    let error = producer.acknowledged(2, LIMIT).await.unwrap_err();
    assert!(matches!(&error, Error::Produce { topic, .. } if topic == "orders"), "{error}");
    let said = error.to_string();
    assert!(said.contains(r"orders/0, event e\u{1b}2 of key k\u{202e} (5 bytes)") && error.needs_somebody(), "{said}");

    // Nobody does that: a producer that failed is given up. But more may be on its way when it fails.
    let _ = producer.send("orders", 0, "k", b"3", headers()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(producer.acks.records.load(SeqCst), 1, "a record after the one that was refused is in the topic");
    producer.close().await;
}
