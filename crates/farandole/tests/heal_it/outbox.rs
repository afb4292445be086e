//! Database and topics of a relay, set back against one another. What is missing is folded into a table of ids.

mod lost;

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use farandole::heal::{Choices, Error, Fold, MissingRecord, Mode, NoFold, Report, heal, heal_with};
use farandole::relay::{self, Role};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::{Executor, PgConnection};
use uuid::Uuid;

use crate::world::{Record, Running, World, consume, eventually};

/// Puts ids into a table that takes each once; may fail after so many calls.
struct Ids {
    topic: String,
    calls_left: AtomicI64,
}

impl Fold for Ids {
    fn topic(&self) -> Option<&str> {
        Some(&self.topic)
    }
    async fn check(&self, _: &[MissingRecord]) -> Result<(), Error> {
        Ok(())
    }
    async fn fold(&self, conn: &mut PgConnection, records: &[MissingRecord]) -> Result<u64, Error> {
        if self.calls_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(Error::Evolve("as told".to_owned()));
        }
        let ids: Vec<Uuid> = records.iter().map(|m| m.id).collect();
        sqlx::query("insert into folded select unnest($1::uuid[])").bind(ids).execute(conn).await.expect("each is folded once");
        Ok(0)
    }
}

impl Ids {
    fn of(topic: &str) -> Self {
        Self { topic: topic.to_owned(), calls_left: AtomicI64::new(i64::MAX) }
    }
}

/// A topic with as many rows published, and a database that is ready to be set back to this.
async fn world(partitions: i32, rows: i64) -> (World, String) {
    let world = World::new().await;
    let topic = world.make_topic("orders", partitions).await;
    world.pool.execute("create table folded (id uuid primary key)").await.unwrap();
    world.fill(&topic, rows).await;
    publish(&world, rows).await;
    (world, topic)
}

async fn publish(world: &World, rows: i64) {
    let relay = world.relay(world.config()).await;
    relay.published(rows.unsigned_abs()).await;
    relay.stop().await.unwrap();
}

async fn back_up(world: &World) {
    world
        .pool
        .execute("create table backup as table farandole.steps; create table rows as table farandole.outbox")
        .await
        .unwrap();
}

async fn restore(world: &World) {
    let copies = "truncate farandole.steps, farandole.outbox; insert into farandole.steps table backup;
                  insert into farandole.outbox overriding system value table rows";
    world.pool.execute(copies).await.unwrap();
}

async fn healed(world: &World, fold: &impl Fold, mode: Mode) -> Result<Report, Error> {
    heal(&world.pool, &world.config(), fold, mode).await
}

async fn refusal(world: &World) -> String {
    let Running { task, .. } = world.relay(world.config()).await;
    let error = tokio::time::timeout(Duration::from_secs(30), task).await.expect("it refuses in time").unwrap().unwrap_err();
    assert!(error.is_fatal(), "{error}");
    error.to_string()
}

/// Everything in the topic, which an honest consumer takes without stopping; each event is there under one number.
async fn whole(world: &World, topic: &str) -> Vec<Record> {
    let applied = consume(&world.read(topic).await);
    let ids: HashSet<Uuid> = applied.iter().map(|r| r.id).collect();
    assert_eq!(ids.len(), applied.len(), "no event twice");
    let (kafka, name) = (world.kafka.clone(), topic.to_owned());
    let report =
        tokio::task::spawn_blocking(move || farandole_cli::verify::topic(&kafka, &[], &name, false)).await.unwrap().unwrap();
    assert_eq!(report.violations, 0, "{:?}", report.examples);
    applied
}

/// D1. Rows that were unsent at the backup and went out since, rows that never did, records that came later: each event is in
/// the end in the database and in the topic once. A heal that is broken off keeps everybody away, and is run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_brought_up_to_its_topic() {
    let (world, topic) = world(2, 700).await;
    world.fill(&topic, 500).await;
    back_up(&world).await;
    publish(&world, 500).await;
    world.fill(&topic, 2_500).await;
    publish(&world, 2_500).await;
    restore(&world).await;
    // Appended by somebody after the restore: it never went out.
    let mut conn = world.pool.acquire().await.unwrap();
    let late = World::append(&mut conn, &topic, "late", 1).await;
    drop(conn);
    let said = refusal(&world).await;
    assert!(said.contains("`orders heal`"), "{said}");

    assert!(matches!(healed(&world, &NoFold, Mode::DryRun).await, Err(Error::NothingFolds { missing: 2_500, .. })));
    let mut fold = Ids::of(&topic);
    let steps = "select max(step) from farandole.steps";
    let before: i64 = sqlx::query_scalar(steps).fetch_one(&world.pool).await.unwrap();
    let report = healed(&world, &fold, Mode::DryRun).await.unwrap();
    let count = |of: fn(&farandole::heal::Partition) -> u64| report.partitions.iter().map(of).sum::<u64>();
    assert_eq!((count(|p| p.missing), count(|p| p.known), report.unpublished), (2_500, 500, 1), "{report}");
    let after: i64 = sqlx::query_scalar(steps).fetch_one(&world.pool).await.unwrap();
    assert_eq!(before, after, "a dry run takes no step");

    fold.calls_left = AtomicI64::new(3);
    assert!(matches!(healed(&world, &fold, Mode::Execute).await, Err(Error::Evolve(_))));
    let some: i64 = sqlx::query_scalar("select count(*) from folded").fetch_one(&world.pool).await.unwrap();
    assert!(0 < some && some < 2_500, "{some}");
    // It may not be published on a half.
    sqlx::query("update farandole.steps set state = state || '{\"lease_until\": 0}'").execute(&world.pool).await.unwrap();
    let relay = world.relay(world.config()).await;
    let says = async || matches!(relay.status.role(), Role::Waiting(why) if why.contains("`orders heal --execute`"));
    eventually("the relay to wait for the heal", Duration::from_secs(20), says).await;
    relay.stop().await.unwrap();

    let fold = Ids::of(&topic);
    let report = healed(&world, &fold, Mode::Execute).await.unwrap();
    assert!(report.done && report.broken_off && report.unpublished == 1, "{report}");
    let folded: HashSet<Uuid> =
        sqlx::query_scalar("select id from folded").fetch_all(&world.pool).await.unwrap().into_iter().collect();
    let again = healed(&world, &fold, Mode::Execute).await.unwrap();
    assert!(again.is_whole(), "{again}");

    publish(&world, 1).await;
    let applied = whole(&world, &topic).await;
    assert_eq!(applied.len(), 3_701);
    let rows: HashSet<Uuid> = world.ids().await.into_iter().collect();
    assert_eq!((folded.len(), rows.len()), (2_500, 1_201));
    assert!(applied.iter().all(|r| folded.contains(&r.id) != rows.contains(&r.id)), "each is folded or a row, none is both");
    let last = applied.iter().find(|r| r.id == late).unwrap();
    assert!(last.link.place.lineage > 1 && last.link.place.number == 3_701, "{:?}", last.link.place);
    assert!(healed(&world, &fold, Mode::DryRun).await.unwrap().is_whole());
}

/// D2. A = `5000000:5000000:` in a younger cluster: three unsent rows go out, and none that is out goes again, though the
/// numbers of its transactions lie in this cluster's future.
#[tokio::test(flavor = "multi_thread")]
async fn rows_go_out_after_a_dump_was_restored_elsewhere() {
    let (world, topic) = world(2, 10).await;
    let elsewhere = r#"update farandole.steps set state = state || '{"system": "7", "a": "5000000:5000000:"}';
                       update farandole.outbox set xid = '4999990' where seq <= 5"#;
    world.pool.execute(elsewhere).await.unwrap();
    let mut conn = world.pool.acquire().await.unwrap();
    let mut unsent = Vec::new();
    for n in 0..3 {
        unsent.push(World::append(&mut conn, &topic, "one key", n).await);
    }
    drop(conn);
    let said = refusal(&world).await;
    assert!(said.contains("`orders heal`"), "{said}");

    let report = healed(&world, &NoFold, Mode::DryRun).await.unwrap();
    assert_eq!((report.unpublished, report.lost, report.moved.as_ref().unwrap().0.as_str()), (3, 0, "7"), "{report}");
    assert!(healed(&world, &NoFold, Mode::Execute).await.unwrap().done);
    assert!(healed(&world, &NoFold, Mode::Execute).await.unwrap().is_whole());
    publish(&world, 3).await;
    let applied = whole(&world, &topic).await;
    assert_eq!(applied.len(), 13);
    let new: Vec<_> = applied.iter().filter(|r| r.link.place.lineage > 1).map(|r| r.id).collect();
    assert_eq!(new, unsent, "in their order");
    // Whole partitions of the outbox are dropped by these counts.
    let published: i64 =
        sqlx::query_scalar("select (state->'published'->>'1')::bigint from farandole.steps order by step desc limit 1")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(published, 13);
}

/// G21. Guard: a record is known by its id and its time. Without, a row that was appended under the id of one that is out counts as out, and
/// never goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_goes_out_whose_id_was_published_before() {
    let (world, topic) = world(1, 3).await;
    let elsewhere = r#"update farandole.steps set state = state || '{"system": "7", "a": "5000000:5000000:"}'"#;
    world.pool.execute(elsewhere).await.unwrap();
    let again: uuid::Uuid =
        sqlx::query_scalar("select id from farandole.outbox where seq = 2").fetch_one(&world.pool).await.unwrap();
    let mut conn = world.pool.acquire().await.unwrap();
    World::append_payload(&mut conn, &topic, "one key", again, b"again").await;
    let last = World::append(&mut conn, &topic, "one key", 5).await;
    drop(conn);
    assert_eq!(healed(&world, &NoFold, Mode::DryRun).await.unwrap().unpublished, 2);
    assert!(healed(&world, &NoFold, Mode::Execute).await.unwrap().done);
    publish(&world, 2).await;
    let published = world.read(&topic).await;
    assert_eq!(published[3..].iter().map(|r| r.id).collect::<Vec<_>>(), [again, last]);
}

/// A long topic isn't read from its beginning, and nothing beyond the head is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn the_head_is_found_in_a_long_topic() {
    let (world, topic) = world(1, 90_000).await;
    back_up(&world).await;
    world.fill(&topic, 1_500).await;
    publish(&world, 1_500).await;
    restore(&world).await;
    let report = healed(&world, &Ids::of(&topic), Mode::DryRun).await.unwrap();
    assert_eq!(report.partitions.iter().map(|p| (p.missing, p.known, p.shorter)).collect::<Vec<_>>(), [(1_500, 0, false)]);
}

/// F2. A paused relay's records land late, after those that followed them: nothing is missing, and the relay goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_ghost_is_no_reason_to_refuse() {
    let (world, topic) = world(1, 10).await;
    let ghost = world.read(&topic).await.remove(3);
    let link = ghost.link;
    let previous = link.previous.unwrap();
    let header = format!("l=1;n={};p={previous};c=carts/0/7;k={};i=1/1", link.place.number, link.correlation);
    let id = ghost.id.to_string();
    let mut headers = OwnedHeaders::new();
    for (key, value) in [("ce_id", id.as_str()), ("ce_source", "/farandole/orders"), ("farandole", &header)] {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    let producer: FutureProducer = world.client().create().unwrap();
    let record = FutureRecord::to(&topic).key(&ghost.key).payload(&ghost.payload).headers(headers);
    producer.send(record, Duration::from_secs(20)).await.unwrap();
    assert!(healed(&world, &Ids::of(&topic), Mode::DryRun).await.unwrap().is_whole());
    world.fill(&topic, 5).await;
    publish(&world, 5).await;
    assert_eq!(whole(&world, &topic).await.len(), 15);
}

/// A relay that publishes keeps the heal away.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_relay_is_left_alone() {
    let (world, topic) = world(1, 10).await;
    back_up(&world).await;
    let mut config: relay::Config = world.config();
    config.lease = Duration::from_secs(2);
    // It has begun, and doesn't look at the topic again; beneath it the state is set back.
    world.fill(&topic, 5).await;
    publish(&world, 5).await;
    restore(&world).await;
    let alive = r#"insert into farandole.steps (scope, step, state)
        select scope, step + 1, state || jsonb_build_object('owner', gen_random_uuid(), 'lease_until',
          (extract(epoch from clock_timestamp()) * 1000000)::bigint + 600000000)
        from farandole.steps where scope = 'relay' order by step desc limit 1"#;
    world.pool.execute(alive).await.unwrap();
    let refused = heal(&world.pool, &config, &Ids::of(&topic), Mode::Execute).await.unwrap_err();
    assert!(matches!(&refused, Error::Alive { service } if service == "orders"), "{refused}");
}

/// Appends beside the heal that folds, as a service's transaction would; remembers how that ended.
struct Beside<'a> {
    ids: Ids,
    url: &'a str,
    ended: std::sync::Mutex<Vec<String>>,
}

impl Fold for Beside<'_> {
    fn topic(&self) -> Option<&str> {
        self.ids.topic()
    }
    async fn check(&self, records: &[MissingRecord]) -> Result<(), Error> {
        self.ids.check(records).await
    }
    async fn fold(&self, conn: &mut PgConnection, records: &[MissingRecord]) -> Result<u64, Error> {
        let pool = crate::world::pool(self.url, 1).await;
        let mut tx = pool.begin().await.unwrap();
        tx.execute("set local lock_timeout = '100ms'").await.unwrap();
        let ended = append(&mut tx, &self.ids.topic).await.map_err(|e| farandole::engine::chain_of(&e)).err().unwrap_or_default();
        self.ended.lock().unwrap().push(ended);
        self.ids.fold(conn, records).await
    }
}

async fn append(tx: &mut PgConnection, topic: &str) -> Result<Uuid, farandole::outbox::Error> {
    let event = farandole::outbox::NewEvent::new(topic, "k", "test.E", "application/json", b"{}".to_vec());
    farandole::outbox::append(tx, &event).await
}

/// O3. A heal looked once whether somebody writes. Guard: the lock that deciding transactions share.
#[tokio::test(flavor = "multi_thread")]
async fn a_heal_and_who_writes_wait_for_each_other() {
    let (world, topic) = world(1, 10).await;
    back_up(&world).await;
    world.fill(&topic, 5).await;
    publish(&world, 5).await;
    restore(&world).await;
    let mut open = world.pool.begin().await.unwrap();
    open.execute("set local application_name = 'a writer'").await.unwrap();
    append(&mut open, &topic).await.unwrap();
    let fold = Beside { ids: Ids::of(&topic), url: &world.url, ended: std::sync::Mutex::default() };
    let refused = healed(&world, &fold, Mode::Execute).await.unwrap_err();
    assert!(matches!(&refused, Error::Writing { holders, .. } if holders.contains("a writer")), "{refused}");
    open.rollback().await.unwrap();
    // A transaction that waits for somebody's second word has no session.
    let prepared = format!("heal-{}", Uuid::new_v4());
    let mut conn = world.pool.acquire().await.unwrap();
    conn.execute("begin").await.unwrap();
    append(&mut conn, &topic).await.unwrap();
    conn.execute(sqlx::AssertSqlSafe(format!("prepare transaction '{prepared}'"))).await.unwrap();
    let refused = healed(&world, &fold, Mode::Execute).await.unwrap_err();
    assert!(matches!(&refused, Error::Writing { holders, .. } if holders.contains(&prepared)), "{refused}");
    conn.execute(sqlx::AssertSqlSafe(format!("rollback prepared '{prepared}'"))).await.unwrap();
    drop(conn);
    assert!(healed(&world, &fold, Mode::Execute).await.unwrap().done);
    let ended = fold.ended.lock().unwrap().clone();
    assert!(!ended.is_empty() && ended.iter().all(|e| e.contains("lock timeout")), "{ended:?}");
    // Afterwards everybody goes on.
    let mut after = world.pool.begin().await.unwrap();
    append(&mut after, &topic).await.unwrap();
    after.commit().await.unwrap();
    publish(&world, 1).await;
    assert_eq!(whole(&world, &topic).await.len(), 16);
}

/// O3. A backup holds a lease of an hour: a relay on it looks for itself, and never stands by. Guard: the stand-by's comparison.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_within_its_lease_is_refused_at_once() {
    let (world, topic) = world(2, 10).await;
    let mut config = world.config();
    config.lease = Duration::from_secs(3_600);
    let owner = world.relay(config.clone()).await;
    owner.is_active().await;
    // Beside a live owner, before and after records that are out and not noted, a stand-by is well.
    let second = world.relay(config.clone()).await;
    eventually("the second to stand by", Duration::from_secs(20), async || second.status.role() == Role::Standby).await;
    back_up(&world).await;
    world.fill(&topic, 500).await;
    let third = world.relay(config.clone()).await;
    eventually("the third to stand by", Duration::from_secs(20), async || third.status.role() == Role::Standby).await;
    owner.published(500).await;
    owner.kill().await;
    second.kill().await;
    third.kill().await;
    restore(&world).await;
    let late = world.relay(config).await;
    let mut roles = late.status.watch();
    let never = roles.wait_for(|role| *role == Role::Standby);
    let error = tokio::select! {
        ended = tokio::time::timeout(Duration::from_secs(30), late.task) => ended.expect("it refuses in time").unwrap().unwrap_err(),
        Ok(_) = never => panic!("it stands by"),
    };
    assert!(error.to_string().contains("`orders heal`"), "{error}");
}

/// A backup of before two heals is restored: the topic knows lineages that the database doesn't. What goes out afterwards must be of a lineage
/// after those, or every consumer takes it for a ghost. Guards: the lineage that a heal opens is after the topics', too, and after those that no
/// record of has landed: the last of these heals follows one of which nothing was published.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_before_two_heals_opens_a_lineage_after_theirs() {
    let (world, topic) = world(1, 10).await;
    back_up(&world).await;
    let mut last = 1;
    for publishes in [true, true, false, true] {
        if publishes {
            world.fill(&topic, 5).await;
            publish(&world, 5).await;
        } else {
            // Its records are on their way, and the topic says nothing of its lineage.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        restore(&world).await;
        world.pool.execute("truncate folded").await.unwrap();
        let report = healed(&world, &Ids::of(&topic), Mode::Execute).await.unwrap();
        assert!(report.done && report.lineage.0 == 1 && report.lineage.1 > last, "after {last}: {report}");
        last = report.lineage.1;
    }
    world.fill(&topic, 5).await;
    publish(&world, 5).await;
    let applied = whole(&world, &topic).await;
    assert_eq!((applied.len(), applied.last().unwrap().link.place.lineage), (30, last));
}

/// A record in the service's name at the last number that is read, the next by the chain rule. Adopted, it would leave no number that
/// anybody could read. Guard: `Place::leaves_room`.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_number_without_room_behind_it_is_refused() {
    for forged in ["l=1;n=9223370937343148031", "l=9223370937343148031;n=11"] {
        let (world, topic) = world(1, 10).await;
        let id = Uuid::now_v7().to_string();
        let link = format!("{forged};p=1:10;c=x/0/7;k={id};i=1/1");
        let mut headers = OwnedHeaders::new();
        for (key, value) in [("ce_id", id.as_str()), ("ce_source", "/farandole/orders"), ("farandole", &link)] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let producer: FutureProducer = world.client().create().unwrap();
        let record = FutureRecord::to(&topic).key("k").payload("forged").headers(headers);
        producer.send(record, Duration::from_secs(20)).await.unwrap();
        refusal(&world).await;
        let refused = healed(&world, &Ids::of(&topic), Mode::Execute).await.unwrap_err();
        let at = format!("{topic}/0@10");
        assert!(matches!(&refused, Error::NoRoom { place, .. } if *place == at), "{refused}");

        // Told to, it goes on without it, and every later start looks past it, although nothing is published behind it.
        assert!(refused.to_string().contains(&format!("`orders heal --pass-over {at} --execute`")), "{refused}");
        let pass = async |all: &[&String], mode| {
            let pass_over = all.iter().map(|at| at.parse().unwrap()).collect();
            let choices = Choices { pass_over, ..Choices::default() };
            heal_with(&world.pool, &world.config(), &Ids::of(&topic), mode, &choices).await
        };
        let wrong = pass(&[&at, &format!("{topic}/0@9")], Mode::Execute).await.unwrap_err();
        assert!(matches!(wrong, Error::NothingToPass { .. }), "a record that the database has: {wrong}");
        let dry = pass(&[&at], Mode::DryRun).await.unwrap();
        assert_eq!((dry.passed.as_slice(), dry.is_whole()), (&[at.clone()][..], false), "{dry}");
        refusal(&world).await;
        assert!(pass(&[&at], Mode::Execute).await.unwrap().done);
        assert!(healed(&world, &Ids::of(&topic), Mode::Execute).await.unwrap().is_whole());
        for rows in [0, 5] {
            world.fill(&topic, rows).await;
            let relay = world.relay(world.config()).await;
            relay.is_active().await;
            relay.published(rows.unsigned_abs()).await;
            relay.stop().await.unwrap();
        }
        let own: Vec<Record> = world.read(&topic).await.into_iter().filter(|r| r.id.to_string() != id).collect();
        assert_eq!(consume(&own).len(), 15);
    }
}
