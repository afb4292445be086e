//! Topics that lost what they had.

use super::*;
use crate::world;

/// The topic lost all it had: what the outbox still holds is published again; nothing is when rows of it are gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_topic_lost_goes_out_again_if_it_is_there() {
    let (world, topic) = world(2, 20).await;
    let ids: HashSet<Uuid> = world.ids().await.into_iter().collect();
    lose(&world, "orders", 2).await;
    refusal(&world).await;
    back_up(&world).await;
    world.pool.execute("delete from farandole.outbox where seq <= 3").await.unwrap();
    let refused = healed(&world, &NoFold, Mode::Execute).await.unwrap_err();
    assert!(matches!(refused, Error::Trimmed { expected: 20, there: 17 }), "{refused}");
    restore(&world).await;
    let report = healed(&world, &NoFold, Mode::Execute).await.unwrap();
    assert_eq!((report.done, report.unpublished, report.lost), (true, 20, 20), "{report}");
    publish(&world, 20).await;
    let applied = whole(&world, &topic).await;
    assert_eq!(applied.iter().map(|r| r.id).collect::<HashSet<_>>(), ids);
    // E25: and once more. Guard: numbers that no record has are known (`burnt`). Without, they count as lost each time, for ever.
    lose(&world, "orders", 2).await;
    let report = healed(&world, &NoFold, Mode::Execute).await.unwrap();
    assert_eq!((report.done, report.unpublished, report.lost), (true, 20, 20), "{report}");
    publish(&world, 20).await;
    whole(&world, &topic).await;
    lose(&world, "orders", 2).await;
    world.pool.execute("delete from farandole.outbox where seq = 7").await.unwrap();
    let refused = healed(&world, &NoFold, Mode::Execute).await.unwrap_err();
    assert!(matches!(refused, Error::Trimmed { expected: 20, there: 19 }), "{refused}");
}

/// Deletes a topic and makes it anew, empty.
async fn lose(world: &World, name: &str, partitions: i32) {
    let topic = world.topic(name);
    let admin: AdminClient<_> = world.client().create().unwrap();
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    let gone = async || {
        let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
        metadata.topics().iter().all(|t| t.name() != topic)
    };
    eventually("the topic to be gone", Duration::from_secs(30), gone).await;
    world.make_topic(name, partitions).await;
}

/// E26: a topic that is no state, a journal, is lost, and rows of it are gone. Guard: what such a topic lost is given up. Without, nothing
/// brings the service up again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_journal_lost_for_good_is_given_up() {
    let (world, topic) = world(2, 20).await;
    let journal = world.make_topic("orders.journal", 2).await;
    world.fill(&journal, 10).await;
    publish(&world, 10).await;
    lose(&world, "orders.journal", 2).await;
    refusal(&world).await;
    sqlx::query("delete from farandole.outbox where topic = $1 and seq % 2 = 0")
        .bind(&journal)
        .execute(&world.pool)
        .await
        .unwrap();
    let report = healed(&world, &Ids::of(&topic), Mode::Execute).await.unwrap();
    assert_eq!((report.done, report.unpublished, report.gone), (true, 5, 5), "{report}");
    publish(&world, 5).await;
    assert_eq!(whole(&world, &topic).await.len(), 20);
    assert_eq!(whole(&world, &journal).await.len(), 5);
    // What is state isn't given up.
    lose(&world, "orders", 2).await;
    world.pool.execute("delete from farandole.outbox where seq = 1").await.unwrap();
    assert!(matches!(healed(&world, &Ids::of(&topic), Mode::Execute).await, Err(Error::Trimmed { expected: 20, there: 19 })));
}

/// Guard: a running relay hears that its topic is another. Without, it goes on, and what the topic lost is noticed by consumers alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_beneath_a_running_relay_is_noticed() {
    let (world, topic) = world(2, 20).await;
    let ids: HashSet<Uuid> = world.ids().await.into_iter().collect();
    // What a relay looks for by itself each half minute.
    let kafka = [("topic.metadata.refresh.interval.ms".to_owned(), "200".to_owned())].into();
    let Running { task, .. } = world.relay(relay::Config { kafka, ..world.config() }).await;
    lose(&world, "orders", 2).await;
    let error = tokio::time::timeout(Duration::from_secs(30), task).await.expect("it notices").unwrap().unwrap_err();
    assert!(matches!(error, relay::Error::Continuity { .. } | relay::Error::Beginning { .. }), "{error}");
    assert!(healed(&world, &NoFold, Mode::Execute).await.unwrap().done);
    publish(&world, 20).await;
    assert_eq!(whole(&world, &topic).await.into_iter().map(|r| r.id).collect::<HashSet<_>>(), ids);
}

/// Guard: where partitions begin is looked at, by relay and heal. Without, a topic that was made anew while it was published to, and so ends
/// as the database has it, passes for whole: what it lost never reaches anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_lost_its_beginning_gets_it_back() {
    let (world, topic) = world(1, 20).await;
    let ids = world.ids().await;
    let copies = world::records(&world.kafka, &topic).await;
    lose(&world, "orders", 1).await;
    crate::copy(&world.kafka, &copies[12..]).await;
    let said = refusal(&world).await;
    assert!(said.contains(&ids[12].to_string()) && said.contains("`orders heal`"), "{said}");
    back_up(&world).await;
    // What it lost would come behind what is there.
    let refused = healed(&world, &NoFold, Mode::Execute).await.unwrap_err();
    assert!(matches!(refused, Error::Beginning { partition: 0, whole: true, .. }), "{refused}");
    assert!(refused.to_string().contains("delete the topic and create it again, empty"), "{refused}");
    world.pool.execute("delete from farandole.outbox where seq <= 2 or seq = 15").await.unwrap();
    let refused = healed(&world, &NoFold, Mode::Execute).await.unwrap_err();
    assert!(matches!(refused, Error::Beginning { whole: false, .. }), "{refused}");
    // Where that is accepted, and what is gone for good is given up: or its owner could never publish again.
    let choices = Choices { accept_lost: true, ..Choices::default() };
    let accepted = async |mode| heal_with(&world.pool, &world.config(), &NoFold, mode, &choices).await.unwrap();
    let given_up = accepted(Mode::DryRun).await;
    assert_eq!((given_up.gone, given_up.lost), (2, 10), "{given_up}");
    restore(&world).await;
    let report = accepted(Mode::Execute).await;
    assert_eq!((report.done, report.lost, report.gone), (true, 12, 0), "{report}");
    assert!(report.partitions[0].lost_beginning, "{report}");
    // The first record still names one before it, and that is known now.
    publish(&world, 12).await;
    assert!(healed(&world, &NoFold, Mode::DryRun).await.unwrap().is_whole());
    let there: HashSet<Uuid> = world.read(&topic).await.iter().map(|r| r.id).collect();
    assert_eq!(there, ids.iter().copied().collect());
    // As it is told, all of it comes in order.
    lose(&world, "orders", 1).await;
    assert!(healed(&world, &NoFold, Mode::Execute).await.unwrap().done);
    publish(&world, 20).await;
    assert_eq!(whole(&world, &topic).await.iter().map(|r| r.id).collect::<Vec<_>>(), ids);
}
