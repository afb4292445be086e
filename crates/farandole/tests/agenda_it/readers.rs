//! Whose rows are whose: several readers in one database, databases of builds that knew one, topics made anew, keys that are no text.

use std::collections::BTreeSet;
use std::time::Duration;

use farandole::agenda::Poke;
use farandole::handler::{Error, Handler, Tx};
use farandole::intake::{self, Troubles};
use farandole::parking::operate;
use farandole::record::Record;
use farandole::{Codec, Message as _, Reader, step};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::logs;
use crate::parked::{Topic, until};
use crate::world::{Event, World};

/// Writes down what it is given, and refuses one key.
#[derive(Debug, Clone)]
struct Scribe {
    name: &'static str,
    refuses: &'static [u8],
}

impl Handler for Scribe {
    async fn handle(&self, tx: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        for record in records {
            if record.key.as_deref() == Some(self.refuses) {
                return Err(Error::Refused("not this one".to_owned()));
            }
            let id = record.header("ce_id").unwrap_or_default();
            sqlx::query("insert into got values ($1, $2)").bind(self.name).bind(id).execute(&mut **tx).await?;
        }
        Ok(())
    }
}

struct Reading {
    task: JoinHandle<Result<(), intake::Error>>,
    stop: CancellationToken,
    troubles: Troubles,
}

impl Reading {
    fn start(pool: &PgPool, scribe: Scribe, mut config: intake::Config) -> Self {
        config.reader = scribe.name.to_owned();
        config.group = format!("{}-{}", config.group, scribe.name);
        let reader = Reader::new(scribe, Codec::offline(Event::TYPES), pool.clone(), config);
        let (troubles, stop) = (reader.troubles(), CancellationToken::new());
        Self { task: tokio::spawn(reader.run(stop.clone())), stop, troubles }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

const TABLE: &str = "create table got (reader text not null, what text not null)";

async fn got(pool: &PgPool, reader: &str) -> Vec<String> {
    sqlx::query_scalar("select what from got where reader = $1 order by what").bind(reader).fetch_all(pool).await.unwrap()
}

fn numbered(key: usize, range: std::ops::Range<usize>) -> Vec<(usize, String)> {
    range.map(|n| (key, format!("n{n:02}"))).collect()
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    numbered(0, range).into_iter().map(|(_, what)| what).collect()
}

/// Guards: positions, foreign records that were seen and parked rows have the reader in their keys; and so have the limits. Without,
/// each record is one reader's or the other's, and either may release or drop what the other can't process.
#[tokio::test(flavor = "multi_thread")]
async fn two_readers_of_one_topic_each_have_every_record() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    sqlx::raw_sql(TABLE).execute(&world.pool).await.unwrap();
    topic.send(&[numbered(0, 0..10), numbered(1, 10..20), numbered(2, 20..21)].concat()).await;
    let mut narrow = topic.config(5);
    narrow.parked.total = 1;
    let ann = Reading::start(&world.pool, Scribe { name: "ann/1", refuses: b"k1" }, topic.config(5));
    let bob = Reading::start(&world.pool, Scribe { name: "bob", refuses: b"k2" }, narrow);
    until("both to have read all", async || {
        (got(&world.pool, "ann/1").await.len(), got(&world.pool, "bob").await.len()) == (11, 20)
    })
    .await;
    let parked = async |reader: &'static str| {
        let queues = operate::list(&world.pool, reader).await.unwrap().queues;
        queues.into_iter().map(|q| (q.aggregate, q.inputs)).collect::<Vec<_>>()
    };
    let each = (vec![("k1".to_owned(), 10)], vec![("k2".to_owned(), 1)]);
    until("what each refuses to be parked", async || (parked("ann/1").await, parked("bob").await) == each).await;
    assert!(!operate::retry(&world.pool, "bob", "k1").await.unwrap(), "it isn't his");
    // They were due several times meanwhile: no reader's release takes what the other parked.
    until("a release to have been tried", async || operate::list(&world.pool, "ann/1").await.unwrap().queues[0].attempts > 0)
        .await;
    assert_eq!(got(&world.pool, "bob").await, names(0..20));
    let positions = intake::positions(&mut world.pool.acquire().await.unwrap(), "ann/1").await.unwrap();
    assert_eq!(positions.iter().map(|(_, p)| p.next_offset).sum::<i64>(), 21);
    ann.stop().await;
    bob.stop().await;
}

/// A reader's database is set back under it, and comes to the same step in another way. Guard: `still` looks at each position where nothing is
/// compared. Without, the next batch counts as applied on top of what the database doesn't have.
#[tokio::test(flavor = "multi_thread")]
async fn a_readers_database_is_set_back_to_the_same_step() {
    let (world, topic) = (World::new().await, Topic::new(1).await);
    sqlx::raw_sql(TABLE).execute(&world.pool).await.unwrap();
    let ann = Reading::start(&world.pool, Scribe { name: "ann", refuses: b"none" }, topic.config(5));
    let position = async || {
        let all = intake::positions(&mut world.pool.acquire().await.unwrap(), "ann").await.unwrap();
        all.into_iter().next().map(|(_, position)| position)
    };
    let read_to = async |n: i64| {
        until("all to be read", async || position().await.is_some_and(|position| position.next_offset == n)).await;
        position().await.unwrap()
    };
    topic.send(&numbered(0, 0..1)).await;
    let older = read_to(1).await;
    topic.send(&numbered(0, 1..3)).await;
    read_to(3).await;
    assert_eq!(got(&world.pool, "ann").await, names(0..3));
    // The step stays; what it says is older, and so are the tables.
    let back = "with lost as (delete from got where what > 'n00'), seen as (delete from farandole.strangers where id > 'n00')
                update farandole.steps set state = $1 where scope like 'position/ann/%'
                  and step = (select max(step) from farandole.steps where scope like 'position/ann/%')";
    sqlx::query(back).bind(sqlx::types::Json(&older)).execute(&world.pool).await.unwrap();
    topic.send(&numbered(0, 3..4)).await;
    until("what the database lacks to be read again", async || got(&world.pool, "ann").await == names(0..4)).await;
    ann.stop().await;
}

/// A database that only the first migration made, with a position, a parked input and a foreign record that was seen: the first
/// reader of the topic goes on from there, whatever its name, and a build from then finds its next step taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_where_rows_did_not_say_whose_they_are() {
    let sandbox = stage::Stage::shared().sandbox().await.unwrap();
    let pool = PgPool::connect(&sandbox.database("old").await.unwrap().url).await.unwrap();
    let mut first = farandole::migrations::kit();
    first.migrations.to_mut().retain(|m| m.version == 1);
    first.run(&pool).await.unwrap();
    let topic = Topic::new(2).await;
    topic.send(&numbered(2, 0..10)).await;
    sqlx::raw_sql(TABLE).execute(&pool).await.unwrap();
    let old = format!("position/{}/0", topic.name());
    sqlx::query("insert into farandole.steps (scope, step, state) values ($1, 3, '{\"next_offset\": 5, \"heads\": {}}')")
        .bind(&old)
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query(
        "insert into farandole.parked (aggregate, topic, partition, record_offset, key, headers, reason, head)
         values ('k2', $1, 0, 4, 'k2', '[{\"name\": \"ce_id\", \"value\": \"n04\"}]', 'it was early', true)",
    )
    .bind(topic.name())
    .execute(&pool)
    .await
    .unwrap();
    sqlx::raw_sql("insert into farandole.strangers (source, id) values ('test', 'n07')").execute(&pool).await.unwrap();

    farandole::migrate(&pool).await.unwrap();
    let ann = Reading::start(&pool, Scribe { name: "ann", refuses: b"" }, topic.config(50));
    let expected = ["n04", "n05", "n06", "n08", "n09"];
    until("the rest to be read, and what was parked", async || got(&pool, "ann").await.len() >= expected.len()).await;
    assert_eq!(got(&pool, "ann").await, expected);
    let late = step::append(&mut pool.acquire().await.unwrap(), &old, Some(3), &serde_json::json!({"next_offset": 6})).await;
    assert!(late.unwrap_err().is_fenced(), "an older build that still runs");
    // Somebody else begins at the beginning, and so does who comes later under another name.
    let bob = Reading::start(&pool, Scribe { name: "bob", refuses: b"" }, topic.config(50));
    until("the other to read all", async || got(&pool, "bob").await.len() >= 10).await;
    assert_eq!(got(&pool, "bob").await, names(0..10));
    ann.stop().await;
    // Nothing is adopted twice.
    let ann = Reading::start(&pool, Scribe { name: "ann", refuses: b"" }, topic.config(50));
    topic.send(&numbered(2, 10..11)).await;
    until("one more", async || got(&pool, "ann").await.len() > expected.len()).await;
    assert_eq!(got(&pool, "ann").await.len(), expected.len() + 1);
    ann.stop().await;
    // Renamed, and renamed back, it goes on.
    let conn = &mut pool.acquire().await.unwrap();
    assert!(!intake::rename(conn, "ann", "bob").await.unwrap() && !intake::rename(conn, "nobody", "zoe").await.unwrap());
    for (from, to) in [("ann", "zoe"), ("zoe", "ann"), ("ann", "zoe")] {
        assert!(intake::rename(conn, from, to).await.unwrap());
    }
    let zoe = Reading::start(&pool, Scribe { name: "zoe", refuses: b"" }, topic.config(50));
    topic.send(&[numbered(2, 7..8), numbered(2, 11..12)].concat()).await;
    until("the next", async || !got(&pool, "zoe").await.is_empty()).await;
    assert_eq!(got(&pool, "zoe").await, ["n11"]);
    zoe.stop().await;
    bob.stop().await;
}

/// Guard: what a reader under a new name is warned of is where it begins. `intake.start` says that, and it may be the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_under_a_new_name_is_told_where_it_begins() {
    logs::listen();
    let (world, topic) = (World::new().await, Topic::new(1).await);
    sqlx::raw_sql(TABLE).execute(&world.pool).await.unwrap();
    topic.send(&numbered(0, 0..1)).await;
    let first = Reading::start(&world.pool, Scribe { name: "named-first", refuses: b"" }, topic.config(50));
    until("the first to read", async || got(&world.pool, "named-first").await.len() == 1).await;
    first.stop().await;
    let mut config = topic.config(50);
    config.start = farandole::config::PerTopic::all(farandole::config::Start::Latest);
    let second = Reading::start(&world.pool, Scribe { name: "named-second", refuses: b"" }, config);
    let warned = || logs::lines(&["named-second", "new reader in a database"]);
    until("the second to be warned", async || !warned().is_empty()).await;
    assert!(warned()[0].contains("it starts where `intake.start` (`IntakeConfig::start`) says"), "{:?}", warned());
    second.stop().await;
}

/// Guard: the position holds the topic's id, and the client's word of another is heeded. Without, what the new topic holds before
/// the old position is skipped in silence, at the next start or on the spot.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_noticed() {
    let world = World::new().await;
    sqlx::raw_sql(TABLE).execute(&world.pool).await.unwrap();
    for (name, runs) in [("stopped", false), ("running", true)] {
        let topic = Topic::new(1).await;
        topic.send(&numbered(0, 0..9)).await;
        let start = || Reading::start(&world.pool, Scribe { name, refuses: b"" }, topic.config(50));
        let mut reading = Some(start());
        until("what it holds to be read", async || got(&world.pool, name).await.len() == 9).await;
        // The client tells it when it gets to it.
        until("the topic's id to be in the position", async || {
            let all = intake::positions(&mut world.pool.acquire().await.unwrap(), name).await.unwrap();
            all.iter().any(|(at, position)| at.starts_with(topic.name()) && position.topic_id.is_some())
        })
        .await;
        if !runs {
            reading.take().unwrap().stop().await;
        }
        topic.make_anew(1).await;
        topic.send(&numbered(0, 10..40)).await;
        let reading = reading.unwrap_or_else(start);
        until("it to be noticed", async || {
            reading.troubles.list().iter().any(|trouble| trouble.contains("was deleted and created again"))
        })
        .await;
        assert_eq!(got(&world.pool, name).await, names(0..9), "{name}");
        reading.stop().await;
        // As the trouble says.
        intake::forget_topic(&mut world.pool.acquire().await.unwrap(), name, topic.name()).await.unwrap();
        let reading = start();
        until("all of the new one to be read", async || got(&world.pool, name).await.len() == 39).await;
        reading.stop().await;
    }
}

/// Guard: the name of what is parked says which bytes it is made from. Without, keys that are no text hold each other up, and so do a
/// key and the place of a record that has none; and of two foreign records one passes for the other.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_text_are_told_apart() {
    let (world, topic) = (World::new().await, Topic::new(1).await);
    sqlx::raw_sql(TABLE).execute(&world.pool).await.unwrap();
    let producer: FutureProducer = topic.client().create().unwrap();
    let place = format!("{}/0/4", topic.name());
    let keys: [Option<&[u8]>; 7] =
        [Some(&[0x81]), Some(&[0x82]), Some(&[0x81]), Some("\u{fffd}".as_bytes()), None, Some(place.as_bytes()), Some(b"a\0")];
    for (n, key) in keys.into_iter().enumerate() {
        // Of ids that are no text all are different, too.
        let mut headers = OwnedHeaders::new().insert(Header { key: "ce_source", value: Some("test") });
        headers = headers.insert(Header { key: "ce_id", value: Some(&[0xf0 + n as u8][..]) });
        let mut record: FutureRecord<'_, [u8], str> = FutureRecord::to(topic.name()).payload("x").partition(0).headers(headers);
        record.key = key;
        producer.send(record, Duration::from_secs(10)).await.unwrap();
    }
    let reading = Reading::start(&world.pool, Scribe { name: "ann", refuses: &[0x81] }, topic.config(1));
    until("all but one key to be read", async || got(&world.pool, "ann").await.len() == 5).await;
    let queues = operate::list(&world.pool, "ann").await.unwrap().queues;
    assert_eq!(queues.iter().map(|q| (q.aggregate.as_str(), q.inputs)).collect::<Vec<_>>(), [(":hex:81", 2)]);
    let ids: BTreeSet<String> = got(&world.pool, "ann").await.into_iter().collect();
    assert_eq!(ids, [":hex:f1", ":hex:f3", ":hex:f4", ":hex:f5", ":hex:f6"].map(str::to_owned).into());
    reading.stop().await;
}

/// A participant's aggregate may be any text: what is parked under it holds up what comes later, and a key that looks like its name
/// is another.
#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_that_looks_like_a_name_is_another() {
    use farandole::engine::{NoSource, Origin, Verdict, Work};
    let world = World::new().await;
    let engine = world.engine(&Poke::default());
    let park = "insert into farandole.parked (reader, aggregate, topic, partition, record_offset, headers, reason, head)
                values ('chronicle', ':hex:81', 't', 0, 1, '[]', 'x', true), ('else', 'k', 't', 0, 1, '[]', 'x', true)";
    sqlx::raw_sql(park).execute(&world.pool).await.unwrap();
    let command = |key: &str| {
        let happened = crate::world::Happened { key: key.to_owned(), what: "asked".to_owned() };
        Work::new(
            happened.key.clone(),
            farandole::Body::Command(happened),
            Origin { cause: "command/x".to_owned(), ..Origin::default() },
        )
    };
    // The text `:hex:81` isn't the byte 0x81, and `k` waits for another reader only.
    let verdicts = engine.run(&mut [command(":hex:81"), command("k")], &mut NoSource).await.unwrap();
    assert!(verdicts.iter().all(|v| matches!(v, Verdict::Done(_))), "{verdicts:?}");
    sqlx::raw_sql("update farandole.parked set reader = 'chronicle'").execute(&world.pool).await.unwrap();
    let verdicts = engine.run(&mut [command("k")], &mut NoSource).await.unwrap();
    assert!(matches!(&verdicts[..], [Verdict::Held { behind }] if behind == "k"), "{verdicts:?}");
}

/// Two readers have parked the same names. Guards: the reader in each statement on parked rows, which would otherwise take, hold up,
/// release, hasten or count the other's.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_has_parked_under_the_same_name_is_left_alone() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    sqlx::raw_sql(TABLE).execute(&world.pool).await.unwrap();
    topic.send(&numbered(1, 0..2)).await;
    let mut narrow = topic.config(5);
    narrow.parked.aggregate = 4;
    let ann = Reading::start(&world.pool, Scribe { name: "ann", refuses: b"k1" }, narrow.clone());
    let parked =
        async |reader: &'static str| operate::list(&world.pool, reader).await.unwrap().queues.first().map_or(0, |q| q.inputs);
    until("ann to have parked", async || parked("ann").await == 2).await;
    // Nothing of hers is due for as long as this lasts; what is parked under a name holds up hers alone.
    let later = "update farandole.parked set retry_at = clock_timestamp() + interval '1 hour' where reader = 'ann'";
    sqlx::raw_sql(later).execute(&world.pool).await.unwrap();
    let bob = Reading::start(&world.pool, Scribe { name: "bob", refuses: b"none" }, narrow.clone());
    until("bob to have read what ann refuses", async || got(&world.pool, "bob").await == names(0..2)).await;
    bob.stop().await;

    // Now he has parked the same, and each has room of its own: 2 and 4 under a limit of 4.
    let bob = Reading::start(&world.pool, Scribe { name: "bob", refuses: b"k1" }, narrow);
    topic.send(&numbered(1, 2..4)).await;
    until("both to have parked", async || (parked("ann").await, parked("bob").await) == (4, 2)).await;
    bob.stop().await;
    ann.stop().await;
    let states = async || -> Vec<(String, i64, bool, bool)> {
        let sql = "select reader, record_offset, head, retry_at > clock_timestamp() from farandole.parked order by reader, seq";
        sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap()
    };
    sqlx::raw_sql("update farandole.parked set retry_at = clock_timestamp() + interval '1 hour'")
        .execute(&world.pool)
        .await
        .unwrap();
    let row = |reader: &str, offset, head, waits| (reader.to_owned(), offset, head, waits);
    let hers = |waits| {
        vec![row("ann", 0, true, waits), row("ann", 1, false, true), row("ann", 2, false, true), row("ann", 3, false, true)]
    };
    assert_eq!(states().await, [hers(true), vec![row("bob", 2, true, true), row("bob", 3, false, true)]].concat());
    assert!(operate::retry(&world.pool, "bob", "k1").await.unwrap());
    assert_eq!(states().await, [hers(true), vec![row("bob", 2, true, false), row("bob", 3, false, true)]].concat());
    let mut conn = world.pool.acquire().await.unwrap();
    let dropped = operate::drop_inputs(&mut conn, "bob", None, "k1", operate::Which::First, "a test", "a test").await.unwrap();
    assert_eq!(dropped.len(), 1);
    // What was behind it is the head now, and tried at once: his, not hers.
    assert_eq!(states().await, [hers(true), vec![row("bob", 3, true, false)]].concat());
    let bob = Reading::start(&world.pool, Scribe { name: "bob", refuses: b"none" }, topic.config(5));
    until("his to be released", async || parked("bob").await == 0).await;
    assert_eq!(got(&world.pool, "bob").await, ["n00", "n01", "n03"], "of hers nothing");
    let dropped = operate::drop_inputs(&mut conn, "bob", None, "k1", operate::Which::All, "a test", "a test").await.unwrap();
    assert!(dropped.is_empty(), "what is left is hers");
    bob.stop().await;
    assert_eq!(states().await, hers(true));
}
