//! Partitions that were added to the own topic.

use rdkafka::admin::NewPartitions;

use super::*;
use crate::world;

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

    let bootstrap = shop.config.kafka.bootstrap.clone();
    let records = world::records(&bootstrap, &own).await;
    admin.delete_topics(&[&own], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let new = NewTopic::new(&own, 3, TopicReplication::Fixed(1));
    let made = async || admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).is_ok();
    eventually("the topic to be made again", PATIENCE, made).await;
    crate::copy(&bootstrap, &records).await;
    let till = shop.start(Missing::Refuse).await.ready().await;
    shop.sell("k0", "cups", 7).await;
    shop.all_counted().await;
    till.stop().await;
    let report = tokio::task::spawn_blocking(move || farandole_cli::verify::topic(&bootstrap, &[], &own, false)).await.unwrap();
    let report = report.unwrap();
    assert_eq!((report.violations, report.records), (0, 18), "{:?}", report.examples);
}
