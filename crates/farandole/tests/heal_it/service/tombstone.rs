//! A record in the service's own name that is intact but for its value.

use farandole::heal::Choices;

use super::*;

/// It stopped each start, and each heal. Passed over, it stays in the chain: consumers take a record by its headers, and would stop at one
/// that names another before it. Guard: `--pass-over`, and that what the chain takes is continued.
#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_in_our_name_is_passed_over_when_it_is_named() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.sell("k0", "tea", 1).await;
    shop.all_counted().await;
    till.stop().await;
    let own = format!("{}till", shop.config.topics.prefix);
    let last = shop.own().await.pop().unwrap();
    let (id, place) = (Uuid::now_v7().to_string(), last.link.place);
    let link = format!("l={};n={};p={place};c=x/0/7;k={id};i=1/1", place.lineage, place.number + 1);
    let mut headers = OwnedHeaders::new();
    for (key, value) in
        [("ce_id", id.as_str()), ("ce_source", "/farandole/till"), ("ce_type", Counted::NAME), ("farandole", &link)]
    {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    let record = FutureRecord::<str, [u8]>::to(&own).partition(last.partition).key("k0").headers(headers);
    let offset = shop.producer.send(record, PATIENCE).await.unwrap().offset;

    let said = shop.start(Missing::Refuse).await.refuses().await;
    assert!(said.contains("`till heal`"), "{said}");
    let at = format!("{own}/{}@{offset}", last.partition);
    let refused = farandole::engine::chain_of(&shop.heal(Mode::Execute).await.unwrap_err());
    assert!(
        refused.contains("has no value") && refused.contains(&format!("`till heal --pass-over {at} --execute`")),
        "{refused}"
    );
    let choices = Choices { pass_over: [at.parse().unwrap()].into(), ..Choices::default() };
    let done = service(shop.insurer.clone()).heal_with(&shop.config, Mode::Execute, &choices).await.unwrap();
    assert!(done.done && done.passed == [at.clone()], "{done}");

    // A rebuild is told of it as well, whether it is the last of its partition or not.
    let verify = farandole::rebuild::Options { verify: true, ..Default::default() };
    let till_service = || service(shop.insurer.clone());
    let refused = till_service().rebuild(&shop.config, verify).await.unwrap_err();
    let refused = farandole::engine::chain_of(&refused);
    assert!(refused.contains(&format!("repeat with `--pass-over {at}`")), "{refused}");
    let rebuilt = till_service().rebuild_with(&shop.config, verify, &choices, None).await.unwrap();
    assert_eq!(rebuilt.differences(), 0, "{rebuilt}");
    assert_eq!(till_service().rebuild_aggregate(&shop.config, "k0", false, &choices, None).await.unwrap().differences(), 0);

    let till = shop.start(Missing::Refuse).await.ready().await;
    shop.sell("k0", "tea", 2).await;
    shop.all_counted().await;
    till.stop().await;
    let anew = || async { service(shop.insurer.clone()).rebuild_from_nothing_with(&shop.config, true, &choices, None).await };
    shop.lose().await;
    assert!(anew().await.unwrap().done);
    shop.all_counted().await;
    let (kafka, topic) = (shop.config.kafka.bootstrap.clone(), own);
    let report = tokio::task::spawn_blocking(move || farandole_cli::verify::topic(&kafka, &[], &topic, false)).await.unwrap();
    let report = report.unwrap();
    assert_eq!((report.violations, report.records), (0, 5), "{:?}", report.examples);
}
