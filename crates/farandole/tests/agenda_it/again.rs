//! Foreign records that are sent or read again.

use farandole::Participant as _;
use farandole::agenda::Poke;
use farandole::config::Start;
use farandole::intake::{Intake, forget_topic};
use farandole::parking::operate::{self, Which};

use crate::parked::{Topic, read, until};
use crate::positions::{config, set};
use crate::world::{Chronicle, Happened, World};

/// E28. Guards: what was seen says of which topic it was, and is forgotten where a position is set back or its topic forgotten. Without,
/// records that an operator has read again are passed over in silence. Of other topics and readers, and where a position is set ahead,
/// what was seen stays.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_records_are_heard_again_where_a_position_is_set_back() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let others = "insert into farandole.strangers (reader, source, id, topic) values ('chronicle', 'test', 'a', 'another'),
                  ('else', 'test', 'b', $1), ('chronicle', 'test', 'c', null)";
    sqlx::query(others).bind(&topic.name).execute(&world.pool).await.unwrap();
    let seen = async || world.count("select count(*) from farandole.strangers").await;
    topic.send(&[(0, "one".to_owned()), (0, "two".to_owned()), (1, "odd".to_owned())]).await;
    let intake = || read(Intake::new(world.engine(&Poke::default()), config(&topic, Start::Earliest)));
    let (task, stop) = intake();
    until("all to be read", async || world.story("k0").await == "one, two" && world.story("k1").await == "odd").await;
    assert_eq!(seen().await, 3 + 3);
    set(&world, &topic, Some(1), "latest").await.unwrap();
    assert_eq!(seen().await, 3 + 3, "nothing is read again");
    topic.send(&[(0, "two".to_owned()), (0, "three".to_owned())]).await;
    until("what is sent again to be passed over", async || world.story("k0").await == "one, two, three").await;

    set(&world, &topic, Some(0), "earliest").await.unwrap();
    until("all to be heard again", async || world.story("k0").await == "one, two, three, one, two, three").await;
    assert_eq!((seen().await, world.story("k1").await), (3 + 3, "odd".to_owned()));
    stop.cancel();
    task.await.unwrap();
    forget_topic(&mut world.pool.acquire().await.unwrap(), Chronicle::NAME, &topic.name).await.unwrap();
    assert_eq!(seen().await, 3);
    let (task, stop) = intake();
    until("both partitions to be heard again", async || world.story("k1").await == "odd, odd").await;
    stop.cancel();
    task.await.unwrap();
}

/// E29. Guards: at a drop, what its transaction remembered of the dropped rows is forgotten, and nothing else. Without the first, a good
/// record that waited behind a bad one is swallowed when its producer sends it again; without the second, one that was applied is applied
/// twice because another under its id was dropped. What is passed over is counted.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_is_heard_when_it_is_sent_again() {
    farandole::telemetry::recorder();
    let (world, topic) = (World::new().await, Topic::new(1).await);
    let (task, stop) = topic.read(&world, 500);
    topic.send(&[(0, "n1".to_owned())]).await;
    until("the first to be applied", async || world.story("k0").await == "n1").await;
    let headers = [("ce_type", Happened::NAME), ("ce_source", "test"), ("ce_id", "n1")];
    topic.send_one(0, b"no value of ours", &headers).await;
    topic.send(&[(0, "balk 2".to_owned()), (0, "n3".to_owned())]).await;
    let parked = async || world.count("select count(*) from farandole.parked").await;
    until("the others to be parked", async || parked().await == 3).await;
    // As a try that failed leaves it.
    sqlx::raw_sql("update farandole.parked set attempts = attempts + 1").execute(&world.pool).await.unwrap();
    let mut conn = world.pool.acquire().await.unwrap();
    let dropped = operate::drop_inputs(&mut conn, Chronicle::NAME, None, "k0", Which::All, "a test", "me").await.unwrap();
    assert_eq!(dropped.len(), 3);
    topic.send(&[(0, "n1".to_owned()), (0, "n3".to_owned()), (0, "n3".to_owned()), (0, "n4".to_owned())]).await;
    until("what was good to be heard", async || world.story("k0").await == "n1, n3, n4").await;
    stop.cancel();
    task.await.unwrap();
    let told = farandole::telemetry::render();
    let count = told.lines().find_map(|line| line.strip_prefix("farandole_intake_duplicates_total ")).map(str::parse::<u64>);
    // Of this process's other tests too.
    assert!(matches!(count, Some(Ok(2..))), "{count:?}");
}
