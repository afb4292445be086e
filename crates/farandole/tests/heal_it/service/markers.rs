//! A heard topic that ends in what is nothing to apply: a service is at its end all the same.

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::*;
use crate::world::{Fate, transact};

/// Where the group is by its own word, and where the topic ends.
async fn told(shop: &Shop) -> (i64, i64) {
    let (kafka, group) = (shop.config.kafka.bootstrap.clone(), format!("{}till", shop.config.topics.prefix));
    let topic = shop.sales.clone();
    let ask = move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka).set("group.id", group);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, 0);
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        let at = match committed.elements()[0].offset() {
            Offset::Offset(at) => at,
            _ => 0,
        };
        (at, consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap().1)
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

async fn is_at_the_end(shop: &Shop, till: &Running, what: &str) {
    let gauge = format!("farandole_intake_lag_records{{topic=\"{}\"}} 0\n", shop.sales);
    let at_end = async || {
        let (at, end) = told(shop).await;
        at == end && reqwest::get(format!("{}/metrics", till.url)).await.unwrap().text().await.unwrap().contains(&gauge)
    };
    eventually(what, PATIENCE, at_end).await;
}

/// O2. The last offset of a heard topic is a transaction's marker, or a repetition that is dropped:
/// the lag stayed at 1, its seconds grew, and the watchdog made a new client each minute. Guard: `lag::end`, and repetitions move the
/// position.
#[tokio::test(flavor = "multi_thread")]
async fn a_heard_topic_that_ends_in_a_marker_has_no_lag() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    let kafka = shop.config.kafka.bootstrap.clone();
    shop.sell("k0", "tea", 1).await;
    let (headers, payload) = shop.sale("k1", "tea", 2).await;
    transact(&kafka, &shop.sales, 0, headers.clone(), payload.clone(), Fate::Commit).await;
    shop.all_counted().await;
    is_at_the_end(&shop, &till, "the end behind a commit").await;
    let again = FutureRecord::to(&shop.sales).partition(0).key("k1").payload(&payload).headers(headers.clone());
    shop.producer.send(again, PATIENCE).await.unwrap();
    is_at_the_end(&shop, &till, "the end behind a repetition").await;
    transact(&kafka, &shop.sales, 0, headers, payload, Fate::Abort).await;
    is_at_the_end(&shop, &till, "the end behind an abort").await;
    // And it hears what comes next.
    shop.sell("k2", "tea", 3).await;
    shop.all_counted().await;
    till.stop().await;
}
