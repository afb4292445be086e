//! Records of odd sizes and kinds, and code that panics at them: one input's fault is no partition's, and no thread's.

use std::time::{Duration, Instant};

use farandole::agenda::{EffectError, Poke};
use farandole::config::{PerTopic, Unknown};
use farandole::handler::{Error, Handler, Tx};
use farandole::intake::Intake;
use farandole::record::Record;
use farandole::{Codec, Message as _, Reader, release};
use tokio_util::sync::CancellationToken;

use crate::parked::{Topic, read, until};
use crate::world::{Bank, Event, Happened, World, eventually, hurried};

async fn reasons(world: &World) -> Vec<(String, String)> {
    sqlx::query_as("select aggregate, reason from farandole.parked order by seq").fetch_all(&world.pool).await.unwrap()
}

/// A stalled lane, and records that are each larger than what may wait. Guard: what lets a record in is what ends its partition's
/// pause. Without, the partition goes on with the record turned away, and is mute until the watchdog makes a new client.
#[tokio::test(flavor = "multi_thread")]
async fn records_larger_than_a_batch_get_through_a_stalled_lane() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let mut config = topic.config(500);
    config.max_bytes = 64 * 1024;
    let (intake, stop) = read(Intake::new(world.engine(&Poke::default()), config));
    topic.send(&[(0, "first".to_owned())]).await;
    until("the first record", async || world.story("k0").await == "first").await;
    let mut holder = world.pool.begin().await.unwrap();
    sqlx::query("select 1 from stories where key = 'k0' for update").execute(&mut *holder).await.unwrap();
    let sizes = [1, 40, 100, 40, 100, 100, 40, 1, 100, 1];
    let records: Vec<(usize, String)> =
        sizes.iter().enumerate().map(|(n, kb)| (0, format!("{n}{}", "x".repeat(kb * 1024)))).collect();
    topic.send(&records).await;
    topic.send(&[(1, "marker".to_owned())]).await;
    // By then the client has given more of the other partition than may wait.
    until("the other lane", async || world.story("k1").await == "marker").await;
    holder.commit().await.unwrap();
    let released = Instant::now();
    let all: usize = records.iter().map(|(_, what)| what.len() + 2).sum::<usize>() + "first".len();
    until("all records", async || world.story("k0").await.len() == all).await;
    assert!(released.elapsed() < Duration::from_secs(40), "{:?}: the partition was mute", released.elapsed());
    stop.cancel();
    intake.await.unwrap();
}

/// Guards: a type's own code is called guarded. Without, its panic ends the worker's task, and its partition starts again every few
/// seconds, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_whose_code_panics_parks_its_key_alone() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let (intake, stop) = topic.read(&world, 500);
    let json = [("ce_type", Happened::NAME), ("content-type", "application/json")];
    topic.send_one(0, br#"{"key": "k0", "what": "explode"}"#, &json).await;
    topic.send(&[(2, "explode".to_owned()), (0, "behind".to_owned()), (4, "other".to_owned())]).await;
    until("the other key", async || world.story("k4").await == "other").await;
    let parked = reasons(&world).await;
    let keys: Vec<&str> = parked.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["k0", "k2", "k0"], "each with what is behind it");
    assert!(parked[..2].iter().all(|(_, reason)| reason.contains("panic")), "{parked:?}");
    assert!(world.story("k0").await.is_empty());
    stop.cancel();
    intake.await.unwrap();
}

/// Guard: whom an effect calls is asked guarded. Without, the agenda ends, and the service with it, at each start.
#[tokio::test(flavor = "multi_thread")]
async fn an_effect_whose_target_panics_holds_up_no_other() {
    let (world, bank) = (World::new().await, Bank::quick());
    let agenda = world.start(&bank, hurried());
    world.tell([("a", "pay nobody"), ("b", "pay somebody")]).await;
    eventually("the other effect", async || world.story("b").await.ends_with("paid ok")).await;
    assert_eq!(world.count("select count(*) from farandole.tasks").await, 1, "it is kept");
    agenda.stop().await;
}

/// Guard: what can't be used at its next attempt is let go and put off, as if it had been found so. Without, it stays in hand, and nobody
/// comes back to it before a restart.
#[tokio::test(flavor = "multi_thread")]
async fn an_effect_whose_target_panics_once_is_made_later() {
    let world = World::new().await;
    let bank = Bank::new(|call| async move {
        if call.attempt == 1 { Err(EffectError::Retry { reason: "busy".into(), after: None }) } else { Ok("ok".to_owned()) }
    });
    let agenda = world.start(&bank, hurried());
    world.tell([("a", "pay fickle")]).await;
    eventually("paid", async || world.is_clear().await).await;
    assert_eq!(bank.calls().iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 3], "it was put off in between");
    agenda.stop().await;
}

/// Panics before it has a future to give.
#[derive(Debug)]
struct Hasty;

impl Handler for Hasty {
    fn handle(&self, _: &mut Tx<'_>, records: &[Record]) -> impl Future<Output = Result<(), Error>> + Send {
        assert!(records.iter().all(|record| record.key.as_deref() != Some(b"k0")), "too hasty");
        async { Ok(()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_at_once_parks_the_record() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    topic.send(&[(0, "n0".to_owned()), (2, "n1".to_owned())]).await;
    let mut reader = Reader::new(Hasty, Codec::offline(Event::TYPES), world.pool.clone(), topic.config(10)).start();
    until("the first key to be parked", async || {
        reasons(&world).await.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>() == ["k0"]
    })
    .await;
    assert!(reasons(&world).await[0].1.contains("too hasty"));
    assert!(futures_util::FutureExt::now_or_never(reader.ended()).is_none(), "it goes on");
    reader.stop().await.unwrap();
}

/// Guard: `unknown`, by topic. An event that nobody here needs holds up its key, or is passed over; what it held up goes on once
/// that is said.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_unknown_types_park_or_are_passed_over() {
    farandole::telemetry::recorder();
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let codec = Codec::offline(Event::TYPES);
    let wrapped = async |n: &str| {
        let headers = [("ce_type", "test.GiftWrapped"), ("ce_source", "test"), ("ce_id", n)];
        topic
            .send_one(0, &Event::from(Happened { key: "k0".into(), what: "wrapped".into() }).encode(&codec).unwrap(), &headers)
            .await;
    };
    wrapped("w1").await;
    topic.send(&[(0, "cancelled".to_owned()), (1, "other".to_owned())]).await;
    let (intake, stop) = topic.read(&world, 500);
    until("the key to be parked", async || reasons(&world).await.len() == 2).await;
    assert!(reasons(&world).await[0].1.contains("test.GiftWrapped"), "named: {:?}", reasons(&world).await);
    stop.cancel();
    intake.await.unwrap();

    // Somebody says that this topic's other events don't matter.
    let engine = || {
        std::sync::Arc::new(world.new_engine(&Poke::default()).unknown(PerTopic::default().with(&topic.name, Unknown::Ignore)))
    };
    let (intake, stop) = read(Intake::new(engine(), topic.config(500)));
    let ended = CancellationToken::new();
    let releases = tokio::spawn(release::run(engine(), ended.clone()));
    sqlx::query("update farandole.parked set retry_at = clock_timestamp()").execute(&world.pool).await.unwrap();
    until("what was parked to go on", async || reasons(&world).await.is_empty()).await;
    assert_eq!(world.story("k0").await, "cancelled");
    wrapped("w2").await;
    topic.send(&[(0, "returned".to_owned())]).await;
    until("what is behind the next", async || world.story("k0").await == "cancelled, returned").await;
    assert!(reasons(&world).await.is_empty());
    let told = farandole::telemetry::render();
    let line = format!("farandole_intake_ignored_total{{topic=\"{}\",type=\"test.GiftWrapped\"}} 1", topic.name);
    let ignored: Vec<&str> = told.lines().filter(|line| line.starts_with("farandole_intake_ignored_total")).collect();
    assert!(ignored.contains(&line.as_str()), "{line} is missing: {ignored:?}");
    for (task, stop) in [(intake, stop), (releases, ended)] {
        stop.cancel();
        task.await.unwrap();
    }
}

mod ids {
    //! Records whose keys are no ids of who hears them.

    use farandole::config::Unknown;
    use farandole::engine::{Decoded, read_in_chain};
    use farandole::record::Header;
    use farandole::{Codec, Decision, Input, Never, Participant, Record, Refusal};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Counted {}
    impl Counted {
        pub const NAME: &'static str = "test.Counted";
        pub const SCHEMA: &'static str = "";
        pub const TOPIC: &'static str = "counts";
    }
    farandole::messages! { pub enum Heard { Counted } }
    farandole::tables! { pub struct Tables {} }

    #[derive(Debug)]
    struct Numbers;

    impl Participant for Numbers {
        const NAME: &'static str = "numbers";
        type Id = i64;
        type Event = Never;
        type Heard = Heard;
        type Command = Never;
        type Deadline = Never;
        type Effect = Never;
        type Tables = Tables;
        fn decide(&self, _: &Tables, _: &i64, _: &Input<Self>) -> Result<Decision<Never>, Refusal> {
            Ok(Decision::nothing())
        }
        fn evolve(&self, _: &mut Tables, event: &Never) {
            match *event {}
        }
    }

    fn said(key: &[u8], kind: &str, unknown: Unknown) -> String {
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        let headers = vec![header("ce_type", kind), header("content-type", "application/json")];
        let (topic, key, value) = ("counts".to_owned(), Some(key.to_vec()), Some(b"{}".to_vec()));
        let record = Record { topic, partition: 0, offset: 0, key, value, headers };
        match read_in_chain(&Numbers, &record, &Codec::json(), unknown) {
            Decoded::Input(work) => format!("about {}", work.id),
            Decoded::Ignored | Decoded::Unknown => "ignored".to_owned(),
            Decoded::Fault(fault) => fault.reason,
        }
    }

    /// Guard: a key that is no id parks. Without, all such records would be about one thing that nobody knows.
    #[test]
    fn a_key_that_is_no_id_is_a_fault() {
        assert_eq!(said(b"17", "test.Counted", Unknown::Declared), "about 17");
        for key in [&b"x17"[..], b"17 ", b"\xff", b"9223372036854775808"] {
            let reason = said(key, "test.Counted", Unknown::Declared);
            assert!(reason.contains("is no id of numbers"), "{reason}");
        }
        // Guard: bytes that are no text aren't replaced. Without, two keys would be one id where ids are texts.
        let reason = said(b"\xff", "test.Counted", Unknown::Declared);
        assert!(reason.ends_with("it isn't UTF-8"), "{reason}");
    }

    /// What nobody lists is ignored, unless the topic's setting says otherwise.
    #[test]
    fn types_that_are_not_named_are_ignored_or_park_as_the_setting_says() {
        for (unknown, expected) in [
            (Unknown::Declared, "ignored"),
            (Unknown::Ignore, "ignored"),
            (Unknown::Park, "type test.Newer is unknown to this build"),
        ] {
            assert_eq!(said(b"17", "test.Newer", unknown), expected);
        }
    }
}
