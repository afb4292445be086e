//! Topics that lost what they had.

use super::*;

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
