//! Partitions and topics that come after a reader has begun.

use std::time::Duration;

use farandole::Participant as _;
use farandole::agenda::Poke;
use farandole::config::Start;
use farandole::intake::operate::{self, Ask, To};
use farandole::intake::{Intake, forget_topic, positions, rename};
use rdkafka::admin::{AdminOptions, NewPartitions};

use crate::parked::{Topic, read, until};
use crate::positions::{ANN, config, set};
use crate::world::{Chronicle, World};

/// E27. Guards: with how many partitions a reader began is noted before it is subscribed; by hand, forgetting and renaming fit it. Without,
/// what producers write into a new partition or topic before the client hears of it is skipped in silence.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_topics_that_come_later_are_read_from_their_beginning() {
    let (world, topic, later) = (World::new().await, Topic::new(1).await, Topic::planned().await);
    topic.send(&[(0, "old".to_owned())]).await;
    let mut reading = config(&topic, Start::Latest);
    reading.topics.push(later.name.clone());
    let intake = || read(Intake::new(world.engine(&Poke::default()), reading.clone()));
    let known = async || positions(&mut world.pool.acquire().await.unwrap(), Chronicle::NAME).await.unwrap().len();
    let more = async |partitions| {
        let new = NewPartitions::new(&topic.name, partitions);
        topic.admin().create_partitions([&new], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        // Those who send hear of them later than the brokers.
        let there = || topic.admin().inner().fetch_metadata(Some(&topic.name), Duration::from_secs(10)).unwrap();
        until("them to be there", async || there().topics()[0].partitions().len() == partitions).await;
    };

    let (task, stop) = intake();
    until("what there is to be begun at its end", async || known().await == 1).await;
    // Before the client looks again, which is every few seconds.
    later.make(2).await;
    later.send(&[(2, "topic".to_owned()), (3, "its other partition".to_owned())]).await;
    more(2).await;
    topic.send(&[(1, "partition".to_owned())]).await;
    let stories = async || [world.story("k1").await, world.story("k2").await, world.story("k3").await];
    let all = ["partition", "topic", "its other partition"].map(str::to_owned);
    until("what came in them", async || stories().await == all).await;
    assert_eq!(world.story("k0").await, "");
    stop.cancel();
    task.await.unwrap();

    // While nobody reads, too.
    more(5).await;
    topic.send_as([(4, "k4".to_owned(), "k4".to_owned(), "asleep".to_owned())]).await;
    let (task, stop) = intake();
    until("what came meanwhile", async || world.story("k4").await == "asleep").await;
    stop.cancel();
    task.await.unwrap();

    // Begun anew by hand, all that is there is begun where the settings say.
    forget_topic(&mut world.pool.acquire().await.unwrap(), Chronicle::NAME, &topic.name).await.unwrap();
    let before = known().await;
    set(&world, &topic, Some(0), "earliest").await.unwrap();
    topic.send_as([(3, "k5".to_owned(), "k5".to_owned(), "forgotten".to_owned())]).await;
    let (task, stop) = intake();
    until("the others to be begun at their end", async || known().await == before + 5).await;
    topic.send_as([(3, "k5".to_owned(), "k5".to_owned(), "after".to_owned())]).await;
    until("what was set by hand, and what comes", async || {
        (world.story("k0").await, world.story("k5").await) == ("old".to_owned(), "after".to_owned())
    })
    .await;
    stop.cancel();
    task.await.unwrap();
}

/// Guard: the note of how many partitions there were goes with the reader. Without, one that was renamed begins partitions at their end that
/// came before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_began_with_goes_with_its_name() {
    let (world, topic) = (World::new().await, Topic::new(3).await);
    let mut conn = world.pool.acquire().await.unwrap();
    let to = To::Start(Start::Latest);
    let ask = Ask { reader: "ann", topic: &topic.name, partition: Some(0), to, mapping: None, replay: None };
    operate::set(&mut conn, &topic.kafka(), &ask, Some(ANN)).await.unwrap();
    sqlx::raw_sql("insert into farandole.readers (reader) values ('ann')").execute(&mut *conn).await.unwrap();
    let scopes = "select scope, (state->>'partitions')::bigint from farandole.steps where scope like 'begun/%'";
    let noted = |reader: &str| vec![(format!("begun/{reader}/{}", topic.name), 3_i64)];
    for (from, to) in [("ann", "zoe"), ("zoe", "ann")] {
        assert_eq!(sqlx::query_as::<_, (String, i64)>(scopes).fetch_all(&mut *conn).await.unwrap(), noted(from));
        assert!(rename(&mut conn, from, to).await.unwrap());
        assert_eq!(sqlx::query_as::<_, (String, i64)>(scopes).fetch_all(&mut *conn).await.unwrap(), noted(to));
    }
}

/// E36. Guards: the wait between two tries is made where the runtime is, and the reason is told. Without, a reader whose database can't be
/// asked when it begins ends with a panic, and its service with it; or it waits, and `/readyz` knows no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_begins_once_its_database_can_be_asked() {
    let (world, topic) = (World::new().await, Topic::new(1).await);
    let run = async |sql: &'static str| sqlx::raw_sql(sql).execute(&world.pool).await.unwrap();
    topic.send(&[(0, "one".to_owned())]).await;
    run("alter table farandole.steps rename to away").await;
    // Its rows are looked for first; then it notes what it begins with.
    run("create function not_yet() returns trigger language plpgsql as $$ begin raise exception 'not yet'; end $$;
         create trigger not_yet before insert on farandole.away
             for each row when (new.scope like 'begun/%') execute function not_yet()")
    .await;
    let begins = || {
        let intake = Intake::new(world.engine(&Poke::default()), config(&topic, Start::Earliest));
        (intake.troubles(), read(intake))
    };
    let (troubles, (task, stop)) = begins();
    let said = async |words: &str| until(words, async || troubles.list().iter().any(|said| said.contains(words))).await;
    said("farandole.steps").await;
    run("alter table farandole.away rename to steps").await;
    said("not yet").await;
    stop.cancel();
    task.await.unwrap();

    let (troubles, (task, stop)) = begins();
    until("it to be said again", async || troubles.list().iter().any(|said| said.contains("not yet"))).await;
    run("drop trigger not_yet on farandole.steps").await;
    until("it to be read", async || world.story("k0").await == "one").await;
    until("all to be well", async || troubles.list().is_empty()).await;
    stop.cancel();
    task.await.unwrap();
}
