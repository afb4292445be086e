//! A service whose database is lost, back from its topics alone.

use farandole::parking::journal;
use farandole::parking::operate::Which;
use farandole::service::FromNothing;
use serde::Deserialize;

use super::*;
use crate::till::service;

#[derive(Deserialize)]
struct Checkpoint {
    positions: BTreeMap<String, String>,
}

impl Shop {
    async fn anew(&self, execute: bool) -> Result<FromNothing, service::Error> {
        service(self.insurer.clone()).rebuild_from_nothing(&self.config, execute, None).await
    }

    /// The database is gone; an empty one is in its place.
    pub(super) async fn lose(&self) {
        let name = &self.database.name;
        let mut admin = PgConnection::connect(Stage::shared().postgres()).await.unwrap();
        for sql in [
            format!("drop database \"{name}\" with (force)"),
            format!("create database \"{name}\" owner \"{}\"", self.database.role),
        ] {
            admin.execute(AssertSqlSafe(sql)).await.unwrap();
        }
        admin.close().await.unwrap();
    }

    /// Waits until all that is read is in a checkpoint, and that is out.
    pub(super) async fn checkpointed(&self, pool: &PgPool) {
        self.codec.add_reader_schema(journal::TYPES).unwrap();
        let journalled = async || {
            let kind = "farandole.journal.Checkpoint";
            let told: Vec<Vec<u8>> = sqlx::query_scalar("select payload from farandole.outbox where type = $1 order by seq")
                .bind(kind)
                .fetch_all(pool)
                .await
                .unwrap();
            self.codec.prepare(told.iter().filter_map(|value| Codec::schema_id(value).ok())).await.unwrap();
            let told = told.iter().flat_map(|value| self.codec.decode::<Checkpoint>(kind, value).unwrap().positions);
            let told: BTreeMap<String, String> = told.collect();
            let offset = |position: &String| serde_json::from_str::<serde_json::Value>(position).unwrap()["next_offset"].as_i64();
            let told: Vec<_> = told.iter().map(|(at, position)| (at.clone(), offset(position).unwrap())).collect();
            let there = positions(pool).await;
            !there.is_empty() && told == there && unsent(pool).await == 0
        };
        eventually("a checkpoint of where it reads", PATIENCE, journalled).await;
    }

    /// An event that this till can't make anything of: it parks under that key, and so does what comes after it.
    async fn strange(&mut self, key: &str) {
        let (headers, _) = self.sale(key, "tea", 1).await;
        for counts in [&mut self.tills, &mut self.articles] {
            counts.clear();
        }
        let record = FutureRecord::to(&self.sales).partition(0).key(key).payload("no Avro").headers(headers);
        self.producer.send(record, PATIENCE).await.unwrap();
    }
}

pub(super) async fn positions(pool: &PgPool) -> Vec<(String, i64)> {
    let mut conn = pool.acquire().await.unwrap();
    let all = farandole::intake::positions(&mut conn, "till").await.unwrap();
    all.into_iter().map(|(at, position)| (at, position.next_offset)).collect()
}

/// All that the database holds of the service, but for what is of this database alone: numbers and times of rows.
async fn all(pool: &PgPool) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for sql in [
        "select tills::text from tills order by 1",
        "select articles::text from articles order by 1",
        "select concat_ws('|', name, key, cause, kind, due, target, effect, closed, correlation, idempotency_key) from farandole.tasks order by 1",
        "select concat_ws('|', scope, key, body_hash, status, answer) from farandole.idempotency order by 1",
        "select concat_ws('|', reader, aggregate, also, topic, partition, record_offset, key, value, headers, head, reason)
         from farandole.parked order by seq",
    ] {
        found.push(sqlx::query_scalar(sql).fetch_all(pool).await.unwrap());
    }
    found.push(positions(pool).await.into_iter().map(|(at, next)| format!("{at}@{next}")).collect());
    found
}

/// G29. The database is lost, all of it. Everything that it held comes back from the topics, row for row: tables, open effects, answers,
/// what was parked and what was dropped, and where it read; then the service goes on.
///
/// Guards: checkpoints, and what the journal tells of what was parked. Without, all is read and decided again, dropped inputs too.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_comes_back_from_the_topics() {
    let mut shop = Shop::new().await;
    shop.config.intake.checkpoint_every = Duration::from_millis(200);
    let till = shop.start(Missing::Make).await.ready().await;
    let pool = shop.pool().await;
    shop.strange("odd").await;
    shop.strange("wrong").await;
    // It waits behind.
    shop.strange("odd").await;
    for i in 0..40 {
        shop.sell(&format!("k{}", i % 7), if i % 2 == 0 { "tea" } else { "cups" }, 20 + i).await;
    }
    let answer = shop.ask(&till, "before", ("k0", "tea", 5), false).await;
    assert_eq!(answer.0, 201);
    shop.sell("insured", "jar", DEAR).await;
    let insured = async || state(&pool).await.0.get("insured") == Some(&(2 * DEAR, DEAR));
    eventually("the jar to be insured", PATIENCE, insured).await;
    *shop.insurer.mute.lock().unwrap() = true;
    shop.sell("asked", "jar", DEAR).await;
    shop.all_counted().await;
    service(shop.insurer.clone()).drop_parked(&shop.config, "wrong", Which::First, "it is a test", "me").await.unwrap();
    shop.checkpointed(&pool).await;
    till.stop().await;
    let before = all(&pool).await;
    assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>()[2..], [1, 1, 2, 1], "{before:?}");
    let refused = shop.anew(true).await.unwrap_err();
    assert!(matches!(&refused, service::Error::NotEmpty { what } if what.contains("relay")), "{refused}");
    pool.close().await;

    shop.lose().await;
    let pool = shop.pool().await;
    let dry = shop.anew(false).await.unwrap();
    assert_eq!((dry.parked, dry.dropped, dry.gone.len(), dry.done, dry.checkpoint.is_some()), (2, 1, 0, false, true), "{dry}");
    assert!(dry.to_string().contains("`till rebuild --from-nothing --execute`"), "{dry}");
    let kits: bool = sqlx::query_scalar("select to_regclass('farandole.steps') is null").fetch_one(&pool).await.unwrap();
    assert!(kits, "a look changes nothing");
    // One at a time.
    let mut other = PgConnection::connect(&shop.database.url).await.unwrap();
    other.execute("select set_config('application_name', 'by ben', false), pg_advisory_lock(hashtextextended('farandole/from-nothing', 0))").await.unwrap();
    let said = farandole::engine::chain_of(&shop.anew(true).await.unwrap_err());
    assert!(said.contains("another rebuild of till is running (by ben (pid "), "{said}");
    other.close().await.unwrap();
    let done = shop.anew(true).await.unwrap();
    let healed = done.healed.clone().unwrap();
    assert_eq!((done.done, healed.lineage.0, healed.effects), (true, 1, Some(1)), "{done}");
    assert!(healed.lineage.1 > 1, "{done}");
    assert_eq!(all(&pool).await, before);

    let calls = shop.insurer.calls.lock().unwrap().clone();
    *shop.insurer.mute.lock().unwrap() = false;
    let till = shop.start(Missing::Refuse).await.ready().await;
    assert_eq!(shop.ask(&till, "before", ("k0", "tea", 5), true).await, answer);
    for i in 0..20 {
        shop.sell(&format!("k{}", i % 7), "tea", 100 + i).await;
    }
    shop.all_counted().await;
    let insured = async || state(&pool).await.0.get("asked") == Some(&(2 * DEAR, DEAR));
    eventually("the second jar to be insured", PATIENCE, insured).await;
    let asked = calls.iter().find(|c| c.aggregate == "asked").unwrap().idempotency_key;
    let again = shop.insurer.calls.lock().unwrap().clone();
    assert!(again.iter().filter(|c| c.aggregate == "asked").all(|c| c.idempotency_key == asked), "{again:?}");
    assert_eq!(again.iter().filter(|c| c.aggregate == "insured").count(), 1, "what is settled isn't asked again");
    till.stop().await;
    let (kafka, topic) = (shop.config.kafka.bootstrap.clone(), format!("{}till", shop.config.topics.prefix));
    let report = tokio::task::spawn_blocking(move || farandole_cli::verify::topic(&kafka, &[], &topic, false)).await.unwrap();
    let report = report.unwrap();
    assert_eq!(report.violations, 0, "{:?}", report.examples);
    pool.close().await;
}

/// G29. Nothing tells where it read: all is read again, and what the events say is applied isn't applied twice. Broken off at any moment, it
/// is run again and goes on.
///
/// Guard: the mark. Without, what an earlier run has written is taken for a database that isn't lost, or is written twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_from_nothing_goes_on_where_it_was_broken_off() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    for i in 0..30 {
        shop.sell(&format!("k{}", i % 7), "tea", 20 + i).await;
    }
    shop.sell("insured", "jar", DEAR).await;
    let pool = shop.pool().await;
    let insured = async || state(&pool).await.0.get("insured") == Some(&(2 * DEAR, DEAR)) && unsent(&pool).await == 0;
    eventually("the jar to be insured", PATIENCE, insured).await;
    shop.all_counted().await;
    till.stop().await;
    let before = state(&pool).await;
    pool.close().await;
    shop.lose().await;

    let (mut broken, mut patience) = (0, Duration::from_millis(40));
    let done = loop {
        // Longer each time, so that it ends.
        match tokio::time::timeout(patience, shop.anew(true)).await {
            Ok(done) => break done,
            Err(_) => (broken, patience) = (broken + 1, patience.mul_f64(1.5)),
        }
        assert!(broken < 40);
    };
    let done = match done {
        Ok(done) => done,
        // The run before had just ended when it was broken off.
        Err(service::Error::NotEmpty { .. }) => FromNothing { done: true, ..FromNothing::default() },
        Err(error) => panic!("after {broken}: {}", farandole::engine::chain_of(&error)),
    };
    assert!(done.done && done.checkpoint.is_none(), "{done}");
    let pool = shop.pool().await;
    assert_eq!(state(&pool).await, before, "after {broken}");
    let till = shop.start(Missing::Refuse).await.ready().await;
    shop.sell("k1", "cups", 7).await;
    shop.all_counted().await;
    assert!(broken > 0 && shop.insurer.calls.lock().unwrap().len() == 1, "{broken}");
    till.stop().await;
    pool.close().await;
}

/// D13. Guard: a way back is barred by what was decided, and not by what the journal is told. Without, no swap of a service that reads can be
/// taken back after some seconds.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_journal_is_told_bars_no_way_back() {
    let mut shop = Shop::new().await;
    shop.config.intake.checkpoint_every = Duration::from_millis(200);
    let till = shop.start(Missing::Make).await.ready().await;
    let pool = shop.pool().await;
    shop.sell("k1", "tea", 3).await;
    shop.all_counted().await;
    shop.checkpointed(&pool).await;
    let counted = (shop.tills.clone(), shop.articles.clone());
    let options = farandole::rebuild::Options { execute: true, ..Default::default() };
    service(shop.insurer.clone()).rebuild(&shop.config, options).await.unwrap();
    shop.strange("odd").await;
    (shop.tills, shop.articles) = counted;
    let parked =
        async || sqlx::query_scalar::<_, i64>("select count(*) from farandole.parked").fetch_one(&pool).await.unwrap() == 1;
    eventually("the strange one to park", PATIENCE, parked).await;
    shop.checkpointed(&pool).await;
    let dry = service(shop.insurer.clone()).roll_back(&shop.config, false, false, None).await.unwrap();
    assert_eq!((dry.written, dry.done), (0, false), "{dry}");
    shop.sell("k1", "tea", 4).await;
    shop.all_counted().await;
    let dry = service(shop.insurer.clone()).roll_back(&shop.config, false, false, None).await.unwrap();
    assert!(dry.written == 2 && dry.to_string().contains("--execute --lose"), "{dry}");
    service(shop.insurer.clone()).roll_back(&shop.config, true, false, None).await.unwrap_err();
    till.stop().await;
    pool.close().await;
}

/// G29. Guard: events and entries of before the checkpoint say nothing of records beyond it. Without, places in a topic that was deleted and
/// created again since are taken for those of records that come later, and these are passed over in silence.
#[tokio::test(flavor = "multi_thread")]
async fn places_in_a_topic_that_is_gone_are_nobodys() {
    let mut shop = Shop::new().await;
    shop.config.intake.checkpoint_every = Duration::from_millis(200);
    let till = shop.start(Missing::Make).await.ready().await;
    for i in 0..12 {
        shop.sell("k1", "tea", 1 + i).await;
    }
    shop.all_counted().await;
    till.stop().await;
    let mut kafka = ClientConfig::new();
    kafka.set("bootstrap.servers", &shop.config.kafka.bootstrap);
    let admin: AdminClient<DefaultClientContext> = kafka.create().unwrap();
    admin.delete_topics(&[&shop.sales], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let new = NewTopic::new(&shop.sales, 1, TopicReplication::Fixed(1));
    let made = async || admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).is_ok();
    eventually("the topic to be made again", PATIENCE, made).await;
    // Another topic's chain begins anew.
    shop.sold = 0;
    let by = farandole::service::By { name: "me", reason: Some("made anew") };
    let to = "earliest".parse().unwrap();
    service(shop.insurer.clone()).set_position(&shop.config, "sales", None, to, Some(by)).await.unwrap();
    let till = shop.start(Missing::Refuse).await.ready().await;
    for i in 0..3 {
        shop.sell("k2", "cups", 1 + i).await;
    }
    shop.all_counted().await;
    let pool = shop.pool().await;
    shop.checkpointed(&pool).await;
    till.stop().await;
    pool.close().await;
    shop.lose().await;
    let done = shop.anew(true).await.unwrap();
    assert_eq!(done.positions.values().copied().collect::<Vec<_>>(), [3], "{done}");
    let till = shop.start(Missing::Refuse).await.ready().await;
    for i in 0..10 {
        shop.sell("k3", "jar", 1 + i).await;
    }
    shop.all_counted().await;
    till.stop().await;
}
