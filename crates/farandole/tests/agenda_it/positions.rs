//! Where a reader starts, and positions set by hand.

use std::time::Duration;

use farandole::agenda::Poke;
use farandole::config::{PerTopic, Start};
use farandole::intake::operate::{self, Ask, Change, Setting};
use farandole::intake::{Intake, positions};
use farandole::parking::acts::Operator;
use farandole::parking::journal::{self, Journal};
use farandole::{Codec, Message as _, Participant as _, Timestamp};
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};

use crate::parked::{Topic, read, until};
use crate::world::{Chronicle, Event, Happened, World};

pub fn config(topic: &Topic, start: Start) -> farandole::intake::Config {
    let mut config = topic.config(500);
    config.start = PerTopic::all(start);
    config
}

/// What a position is set by.
pub const ANN: Operator<'static> = Operator { name: "ann", reason: Some("a test"), journal: None };

pub async fn set(world: &World, topic: &Topic, partition: Option<i32>, to: &str) -> Result<Vec<Change>, operate::Error> {
    Ok(setting(world, topic, partition, to, Some(ANN)).await?.partitions)
}

/// Sets it if somebody is named; else says what that would change.
pub async fn setting(
    world: &World,
    topic: &Topic,
    partition: Option<i32>,
    to: &str,
    by: Option<Operator<'_>>,
) -> Result<Setting, operate::Error> {
    let mut conn = world.pool.acquire().await.unwrap();
    let ask =
        Ask { reader: Chronicle::NAME, topic: &topic.name, partition, to: to.parse().unwrap(), mapping: None, replay: None };
    operate::set(&mut conn, &topic.kafka(), &ask, by).await
}

/// Guards: `start`, and that what it came to is written at once. Without the second, what comes between a first start and the next
/// is never read.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_starts_where_it_is_told_and_stays_there() {
    let topic = Topic::new(2).await;
    topic.send(&[(0, "old".to_owned())]).await;
    tokio::time::sleep(Duration::from_millis(20)).await; // Kafka's times are milliseconds
    let world = World::new().await;
    let noon = Timestamp::from_micros(world.now().await);
    tokio::time::sleep(Duration::from_millis(20)).await;
    topic.send(&[(0, "new".to_owned())]).await;
    let starts = [
        (Start::Earliest, "old, new", "old, new, after 0"),
        (Start::At(noon), "new, after 0", "new, after 0, after 1"),
        (Start::Latest, "", "after 2"),
    ];
    for (n, (start, first, then)) in starts.into_iter().enumerate() {
        let world = World::new().await;
        let mut reading = config(&topic, start);
        reading.group = format!("{}-{n}", reading.group);
        let intake = || read(Intake::new(world.engine(&Poke::default()), reading.clone()));
        let begun = async || {
            let mut conn = world.pool.acquire().await.unwrap();
            start == Start::Earliest || positions(&mut conn, Chronicle::NAME).await.unwrap().len() == 2
        };
        let (task, stop) = intake();
        until(&format!("both partitions to begin with {start}"), async || begun().await && world.story("k0").await == first)
            .await;
        stop.cancel();
        task.await.unwrap();
        // While nobody reads.
        topic.send(&[(0, format!("after {n}"))]).await;
        let (task, stop) = intake();
        until(then, async || world.story("k0").await == then).await;
        stop.cancel();
        task.await.unwrap();
    }
}

/// Sends what happened to `k0` as a record of `/s`'s chain, at a place in it.
pub async fn link(topic: &Topic, what: &str, place: &str) {
    link_of(topic, "/s", what, place).await;
}

async fn link_of(topic: &Topic, source: &str, what: &str, place: &str) {
    let link = format!("{place};c=test;k={};i=1/1", uuid::Uuid::nil());
    let headers = [("ce_type", Happened::NAME), ("ce_source", source), ("farandole", link.as_str())];
    let happened = Happened { key: "k0".to_owned(), what: what.to_owned() };
    let value = Event::from(happened).encode(&Codec::offline(Event::TYPES)).unwrap();
    topic.send_one(0, &value, &headers).await;
}

/// A topic that was copied from the middle of another: what it holds first names a record before it. Guard: what an operator names is taken
/// as midway, offset 0 too. Without, the command that is named changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_begins_in_the_middle_of_a_chain_can_be_begun() {
    for to in ["0", "earliest"] {
        let (world, topic) = (World::new().await, Topic::new(1).await);
        link(&topic, "c9", "l=1;n=9;p=1:7").await;
        link(&topic, "c10", "l=1;n=10;p=1:9").await;
        let intake = Intake::new(world.engine(&Poke::default()), config(&topic, Start::Earliest));
        let troubles = intake.troubles();
        let (task, stop) = read(intake);
        let advice = format!("--topic {} --partition 0 --to 0`", topic.name);
        let said = async || troubles.list().iter().any(|t| t.contains("beginning is missing") && t.contains(&advice));
        until("it to be said", said).await;
        set(&world, &topic, Some(0), to).await.unwrap();
        until("all of it to be read", async || world.story("k0").await == "c9, c10").await;
        stop.cancel();
        task.await.unwrap();
    }
}

/// Guard: of two records with one predecessor one is forged, and which one a person has to say: both commands are named, and do what they
/// say.
#[tokio::test(flavor = "multi_thread")]
async fn at_a_fork_either_record_can_be_chosen() {
    for (offset, story) in [(3, "c1, c2, c4"), (2, "c1, c2, other, c4")] {
        let (world, topic) = (World::new().await, Topic::new(1).await);
        link(&topic, "c1", "l=1;n=1;p=-").await;
        link(&topic, "c2", "l=1;n=2;p=1:1").await;
        link(&topic, "other", "l=1;n=3;p=1:1").await;
        let intake = Intake::new(world.engine(&Poke::default()), config(&topic, Start::Earliest));
        let troubles = intake.troubles();
        let (task, stop) = read(intake);
        let advice = format!("positions set --reader chronicle --topic {} --partition 0 --to {offset}`", topic.name);
        let said = async || troubles.list().iter().any(|t| t.contains("second history") && t.contains(&advice));
        until("both ways to be said", said).await;
        set(&world, &topic, Some(0), &offset.to_string()).await.unwrap();
        link(&topic, "c4", if offset == 3 { "l=1;n=4;p=1:2" } else { "l=1;n=4;p=1:3" }).await;
        until("the partition to go on", async || world.story("k0").await == story).await;
        until("all to be well", async || troubles.list().is_empty()).await;
        stop.cancel();
        task.await.unwrap();
    }
}

/// Guard: a worker looks at its position although nothing comes. Without, a position that is set on a partition that has nothing to
/// read takes effect with its next record, which the operator may have meant to be passed over or read before.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_set_where_nothing_comes_is_taken_up() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    topic.send(&[(0, "one".to_owned()), (0, "two".to_owned())]).await;
    let (task, stop) = read(Intake::new(world.engine(&Poke::default()), config(&topic, Start::Earliest)));
    until("both to be read", async || world.story("k0").await == "one, two").await;
    let next = async || {
        let all = positions(&mut world.pool.acquire().await.unwrap(), Chronicle::NAME).await.unwrap();
        all.into_iter().find(|(at, _)| at.ends_with("/0")).map(|(_, position)| position.next_offset)
    };
    until("the position to be written", async || next().await == Some(2)).await;
    assert_eq!(set(&world, &topic, Some(0), "1").await.unwrap()[0].to, 1);
    until("it to be read from there", async || next().await == Some(2)).await;
    assert_eq!(world.story("k0").await, "one, two, two", "what is read again is heard again");
    stop.cancel();
    task.await.unwrap();
}

/// A topic with retention. Guards: what has expired is said; the command that is named does what it says, while the reader runs.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_beginning_is_said_and_the_advice_can_be_followed() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let records: Vec<(usize, String)> = (0..4).map(|n| (0, format!("n{n}"))).collect();
    topic.send(&records).await;
    let mut expired = TopicPartitionList::new();
    expired.add_partition_offset(&topic.name, 0, Offset::Offset(2)).unwrap();
    topic.admin().delete_records(&expired, &AdminOptions::new()).await.unwrap();

    let intake = Intake::new(world.engine(&Poke::default()), config(&topic, Start::Earliest));
    let troubles = intake.troubles();
    let (task, stop) = read(intake);
    let advice = format!("farandole positions set --reader chronicle --topic {} --partition 0 --to earliest", topic.name);
    let said = |t: &String| t.contains("beginning has expired") && t.contains("is `earliest`") && t.contains(&advice);
    until("it to be said", async || troubles.list().iter().any(said)).await;
    let moved = set(&world, &topic, Some(0), "earliest").await.unwrap();
    assert_eq!((moved.len(), moved[0].from, moved[0].to), (1, None, 2));
    until("what is left to be read", async || world.story("k0").await == "n2, n3").await;
    until("all to be well", async || troubles.list().is_empty()).await;

    // Back and forth, while it reads.
    set(&world, &topic, Some(0), "3").await.unwrap();
    topic.send(&[(0, "n4".to_owned())]).await;
    until("one to be read again", async || world.story("k0").await == "n2, n3, n3, n4").await;
    // A record of a chain whose predecessor is missing: the partition stands until somebody says that it may go on behind that.
    link(&topic, "c1", "l=1;n=1;p=-").await;
    link(&topic, "c9", "l=1;n=9;p=1:7").await;
    let advice = format!("--topic {} --partition 0 --to 6", topic.name);
    until("the break to be said", async || troubles.list().iter().any(|t| t.contains("is missing") && t.contains(&advice))).await;
    set(&world, &topic, Some(0), "6").await.unwrap();
    until("what is behind the break", async || world.story("k0").await == "n2, n3, n3, n4, c1, c9").await;

    for (to, words) in [("1", "holds offsets 2 to 7"), ("8", "holds offsets 2 to 7")] {
        let refused = set(&world, &topic, Some(0), to).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    assert!(set(&world, &topic, Some(2), "latest").await.unwrap_err().to_string().contains("no number 2"));
    assert_eq!(set(&world, &topic, None, "latest").await.unwrap().len(), 2);
    stop.cancel();
    task.await.unwrap();
}

/// A stranger's record stops a partition, and behind it a relay repeats what it had published. Guards: `Stretch`, and that what a heal noted
/// stays. Without the first the heads of all sources are forgotten, and the repetition takes effect twice; without the second, what the
/// intake has yet to pass over does.
#[tokio::test(flavor = "multi_thread")]
async fn who_passes_over_a_strangers_record_passes_over_nothing_else() {
    for (to, story) in [(3, "c1, c2, c3"), (2, "c1, c2, x9, c3")] {
        let (world, topic) = (World::new().await, Topic::new(1).await);
        link(&topic, "c1", "l=1;n=1;p=-").await;
        link(&topic, "c2", "l=1;n=2;p=1:1").await;
        link_of(&topic, "/x", "x9", "l=1;n=9;p=1:7").await;
        let intake = Intake::new(world.engine(&Poke::default()), config(&topic, Start::Earliest));
        let troubles = intake.troubles();
        let (task, stop) = read(intake);
        until("it to be said", async || troubles.list().iter().any(|t| t.contains("beginning is missing"))).await;
        sqlx::query("insert into farandole.applied (reader, topic, partition, record_offset) values ($1, $2, 0, 1000)")
            .bind(Chronicle::NAME)
            .bind(&topic.name)
            .execute(&world.pool)
            .await
            .unwrap();
        let id = async || {
            let mut conn = world.pool.acquire().await.unwrap();
            positions(&mut conn, Chronicle::NAME).await.unwrap().remove(0).1.topic_id
        };
        set(&world, &topic, Some(0), &to.to_string()).await.unwrap();
        let known = id().await;
        assert!(known.is_some());
        for (what, place) in [("c1", "l=1;n=1;p=-"), ("c2", "l=1;n=2;p=1:1"), ("c3", "l=1;n=3;p=1:2")] {
            link(&topic, what, place).await;
        }
        until("the partition to go on", async || world.story("k0").await == story).await;
        let noted: i64 = sqlx::query_scalar("select count(*) from farandole.applied").fetch_one(&world.pool).await.unwrap();
        assert_eq!(noted, 1);
        // Back to the beginning on purpose: the id of the topic stays known, and all is read again.
        set(&world, &topic, Some(0), "0").await.unwrap();
        assert_eq!(id().await, known);
        let again = format!("{story}, c1, c2, x9, c3");
        until("all to be read again", async || world.story("k0").await == again).await;
        stop.cancel();
        task.await.unwrap();
    }
}

/// Guards: without `--execute` nothing is changed; what would be skipped or read again is told whole; who sets it is told in the journal, in
/// the transaction that does; a second operator is told of the first. Without, a slip of the keyboard reads a topic again, and nobody knows
/// whose it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_setting_a_position_would_change_is_told_before() {
    let (world, topic) = (World::new().await, Topic::new(1).await);
    let records = (0..25).map(|n| (0, format!("k{n:02}"), format!("k{n:02}"), "x".to_owned()));
    topic.send_as(records).await;
    link(&topic, "c1", "l=1;n=1;p=-").await;
    let (task, stop) = read(Intake::new(world.engine(&Poke::default()), config(&topic, Start::Earliest)));
    let next = async || {
        let all = positions(&mut world.pool.acquire().await.unwrap(), Chronicle::NAME).await.unwrap();
        all.first().map(|(_, position)| position.next_offset)
    };
    until("all to be read", async || next().await == Some(26)).await;
    stop.cancel();
    task.await.unwrap();
    let mut conn = world.pool.acquire().await.unwrap();
    let standings = operate::list(&mut conn, &topic.kafka(), Chronicle::NAME).await.unwrap();
    let standing = &standings.positions[0];
    assert_eq!((standing.lag_records, standing.lag_seconds, standing.holds), (Some(0), Some(0.0), Some((0, 26))), "{standings}");
    assert_eq!(standing.heads, [("/s".to_owned(), "1.1".to_owned())].into());

    let told = setting(&world, &topic, Some(0), "3", None).await.unwrap();
    let again = told.partitions[0].repeated.clone().unwrap();
    assert_eq!((again.records, again.from, again.to, again.keys_in_all, again.keys.len()), (23, 3, 26, 23, 20), "{told}");
    assert!(again.first.is_some() && again.first <= again.last && !told.partitions[0].chains_kept, "{told}");
    assert!(told.to_string().contains("reads again: 23 records at offsets 3 to 25") && !told.executed, "{told}");
    assert_eq!(next().await, Some(26), "nothing was changed");

    let journal = Journal::beside("chronicle", Codec::offline(journal::TYPES));
    let ann = Operator { journal: Some(&journal), ..ANN };
    let mut other = world.pool.acquire().await.unwrap();
    let hold = "select set_config('application_name', 'chronicle positions set by ben', false),
                       pg_advisory_lock(hashtextextended('positions/chronicle', 0))";
    sqlx::query(hold).execute(&mut *other).await.unwrap();
    let busy = setting(&world, &topic, Some(0), "3", Some(ann)).await.unwrap_err().to_string();
    assert!(busy.contains("set by ben (pid ") && next().await == Some(26), "{busy}");
    sqlx::query("select pg_advisory_unlock_all()").execute(&mut *other).await.unwrap();
    let acts = async || world.count("select count(*) from farandole.outbox where type = 'farandole.journal.Acted'").await;
    assert_eq!(acts().await, 0);
    let done = setting(&world, &topic, Some(0), "3", Some(ann)).await.unwrap();
    assert!(done.executed && next().await == Some(3) && acts().await == 1, "{done}");

    // Behind now, and skipped when it is set ahead.
    let standings = operate::list(&mut conn, &topic.kafka(), Chronicle::NAME).await.unwrap();
    let standing = &standings.positions[0];
    assert!(standing.lag_records == Some(23) && standing.lag_seconds.is_some_and(|seconds| seconds > 0.0), "{standings}");
    let told = setting(&world, &topic, None, "latest", None).await.unwrap();
    assert_eq!(told.partitions[0].skipped.as_ref().unwrap().records, 23, "{told}");
    let told = setting(&world, &topic, None, "4", None).await.unwrap();
    assert!(told.partitions[0].skipped.as_ref().unwrap().records == 1 && told.partitions[0].chains_kept, "{told}");
}
