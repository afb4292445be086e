//! Partitions that were added to the own topic.

use farandole::Record;
use farandole::extent::{Client, View};
use rdkafka::admin::NewPartitions;

use super::*;

/// Guard: the words of what refuses. They name the way back, and it is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_given_partitions_is_made_again_from_a_copy() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    for i in 0..8 {
        shop.sell(&format!("k{i}"), "tea", 1 + i).await;
    }
    shop.all_counted().await;
    till.stop().await;
    let own = format!("{}till", shop.config.topics.prefix);
    let mut kafka = ClientConfig::new();
    kafka.set("bootstrap.servers", &shop.config.kafka.bootstrap);
    let admin: AdminClient<DefaultClientContext> = kafka.create().unwrap();
    let more = NewPartitions::new(&own, 5);
    admin.create_partitions([&more], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let said = shop.start(Missing::Refuse).await.refuses().await;
    assert!(said.contains("recreate it as it was, from a copy of its records"), "{said}");

    let (client, topic) = (kafka.clone(), own.clone());
    let read = move || Client::new(&client, View::Everything).unwrap().records(&topic).unwrap();
    let copy: Vec<Record> = tokio::task::spawn_blocking(read).await.unwrap();
    admin.delete_topics(&[&own], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let new = NewTopic::new(&own, 3, TopicReplication::Fixed(1));
    let made = async || admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).is_ok();
    eventually("the topic to be made again", PATIENCE, made).await;
    // Clients know the topic that is gone for a while.
    let producer: FutureProducer = kafka.create().unwrap();
    for Record { partition, key, value, headers, .. } in copy {
        let add = |all: OwnedHeaders, h: &farandole::record::Header| all.insert(Header { key: &h.name, value: Some(&h.value) });
        let headers = headers.iter().fold(OwnedHeaders::new(), add);
        let mut record = FutureRecord::<[u8], [u8]>::to(&own).partition(partition).headers(headers);
        (record.key, record.payload) = (key.as_deref(), value.as_deref());
        producer.send(record, PATIENCE).await.unwrap();
    }
    let till = shop.start(Missing::Refuse).await.ready().await;
    shop.sell("k0", "cups", 7).await;
    shop.all_counted().await;
    till.stop().await;
    let bootstrap = shop.config.kafka.bootstrap.clone();
    let report = tokio::task::spawn_blocking(move || farandole_cli::verify::topic(&bootstrap, &[], &own, false)).await.unwrap();
    let report = report.unwrap();
    assert_eq!((report.violations, report.records), (0, 18), "{:?}", report.examples);
}
