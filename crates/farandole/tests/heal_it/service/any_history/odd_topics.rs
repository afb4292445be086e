//! Topics and tables that are seldom met, rebuilt from and compared with.

use super::*;
use crate::till::wild::{MANY, NOTED};
use crate::world::{Fate, transact};

const ONE: Drawn = Drawn {
    salt: 7,
    seed: 7,
    inputs: 0,
    held: 1,
    at_once: 7,
    polls: 1,
    opens_gate: true,
    is_mute: false,
    drops: false,
    swaps: false,
};
/// Of the mebibyte that a record may have, what key, headers and the other fields take at most.
const FRAME: i64 = 1_500;

impl Garden {
    fn own(&self) -> String {
        format!("{}till", self.shop.config.topics.prefix)
    }

    /// Rebuilt in small pieces, and as operators do it, nothing differs; gives how many events there were.
    async fn equal(&self, pool: &PgPool) -> u64 {
        eventually("all to be published", PATIENCE, async || unsent(pool).await == 0).await;
        let live = rows(pool, "public").await;
        self.wild().clean_rebuilds(&self.shop.config, true, None).await.unwrap();
        let pieces = self.rebuild(pool, VERIFY, u64::MAX).await.unwrap().unwrap();
        assert_eq!((pieces.differences(), rows(pool, "farandole_rebuild").await), (0, live.clone()), "{pieces}");
        self.wild().clean_rebuilds(&self.shop.config, true, None).await.unwrap();
        let whole = self.wild().rebuild(&self.shop.config, Options { execute: true, ..VERIFY }).await.unwrap();
        assert_eq!((whole.differences(), whole.events, rows(pool, "public").await), (0, pieces.events, live), "{whole}");
        assert!(whole.replaced.is_some(), "{whole}");
        whole.events
    }

    /// A record of others, in a transaction.
    async fn strange(&self, partition: i32, fate: Fate) {
        let headers = OwnedHeaders::new().insert(Header { key: "ce_source", value: Some("/elsewhere") });
        transact(&self.shop.config.kafka.bootstrap, &self.own(), partition, headers, b"not ours".to_vec(), fate).await;
    }
}

/// D13. Of an empty topic, of one event, between others' records, tombstones and the markers of transactions, of an event that is as large as one may
/// be, and of thousands that are of one aggregate, the rows are those that the service has; and they are swapped in.
///
/// Guards: the end of a partition is an offset and no record; a record is whose it says; what is folded at once is bounded by bytes, too.
#[tokio::test(flavor = "multi_thread")]
async fn odd_topics_are_rebuilt_from() {
    let mut garden = Garden::new(ONE).await;
    let till = garden.start(Missing::Make).await.ready().await;
    let pool = garden.shop.pool().await;
    assert_eq!(garden.equal(&pool).await, 0);
    garden.command(&till, "keeper", OPEN).await;
    assert_eq!(garden.equal(&pool).await, 1);

    // In front of what comes, in between, and as the last.
    for (partition, fate) in [(0, Fate::Commit), (1, Fate::Abort), (2, Fate::Commit)] {
        garden.strange(partition, fate).await;
    }
    let own = garden.own();
    let tombstone = FutureRecord::<str, [u8]>::to(&own).partition(1).key("k1");
    garden.shop.producer.send(tombstone, PATIENCE).await.unwrap();
    for key in ["k0", "k1", "k2", "k3"] {
        garden.command(&till, key, MANY + 3).await;
    }
    eventually("all to be published", PATIENCE, async || unsent(&pool).await == 0).await;
    for (partition, fate) in [(0, Fate::Abort), (1, Fate::Commit), (2, Fate::Abort)] {
        garden.strange(partition, fate).await;
    }
    assert_eq!(garden.equal(&pool).await, 13);

    // The largest that is let through; what is larger never gets there.
    let largest = (1 << 20) - FRAME;
    garden.command(&till, "large", NOTED + largest).await;
    let refused = garden.client.post(format!("{}/sow/large/{}", till.url, NOTED + (1 << 20)));
    let refused = refused.header("Idempotency-Key", "too-large").send().await.unwrap();
    assert!(!refused.status().is_success(), "{refused:?}");
    garden.command(&till, "many", MANY + 3_000).await;
    assert_eq!(garden.equal(&pool).await, 3_014);
    let note: i32 = sqlx::query_scalar("select max(length(note)) from plots").fetch_one(&pool).await.unwrap();
    assert_eq!(i64::from(note), largest);
    till.stop().await;
    pool.close().await;
}

/// D13. Guard: a chain begins with its first event, and ends with the one that the relay published last. Without, what retention has left of a
/// topic passes for all of it, and the rows of what it took are gone after the swap.
#[tokio::test(flavor = "multi_thread")]
async fn what_retention_left_of_a_topic_is_not_all_of_it() {
    let mut garden = Garden::new(ONE).await;
    let till = garden.start(Missing::Make).await.ready().await;
    let pool = garden.shop.pool().await;
    for key in ["k0", "k1", "k2", "k3", "k4", "k5"] {
        garden.command(&till, key, MANY + 5).await;
    }
    eventually("all to be published", PATIENCE, async || unsent(&pool).await == 0).await;
    let live = rows(&pool, "public").await;
    for left in [3, 0] {
        garden.shop.expire(&garden.own(), left).await;
        for options in [Options { execute: true, ..VERIFY }, VERIFY, Options { verify: false, ..VERIFY }] {
            let refused = garden.wild().rebuild(&garden.shop.config, options).await;
            let said = farandole::engine::chain_of(&refused.expect_err("a part isn't all of it"));
            assert!(said.contains(&format!("{}/", garden.own())), "{left} left: {said}");
            assert_eq!(rows(&pool, "public").await, live);
        }
    }
    till.stop().await;
    pool.close().await;
    garden.shop.lose().await;
    let refused = garden.wild().rebuild_from_nothing(&garden.shop.config, true, None).await.unwrap_err();
    assert!(matches!(&refused, service::Error::BeginningGone { .. }), "{refused}");
}

/// D13. Columns that are null, computed, or have a default: those that events fill are compared as they are, what the database computes comes
/// again, what has a default has that, and the report names it.
///
/// Guard: a row is there when its key is. Without, one with a null passes for none in what operators are shown.
#[tokio::test(flavor = "multi_thread")]
async fn columns_that_no_event_fills_are_made_or_named() {
    let mut garden = Garden::new(ONE).await;
    let till = garden.start(Missing::Make).await.ready().await;
    let pool = garden.shop.pool().await;
    let sql = "alter table plots add column shown text generated always as (key || ' of ' || n) stored,
                 add column id bigint generated by default as identity,
                 add column since timestamptz not null default 'epoch';
               alter table beds add column is_wet bool not null default true";
    pool.execute(sql).await.unwrap();
    for (key, events) in [("k0", 2), ("k1", 8), ("k2", 18), ("k3", 64)] {
        garden.command(&till, key, MANY + events).await;
    }
    eventually("all to be published", PATIENCE, async || unsent(&pool).await == 0).await;
    pool.execute("update plots set since = now(); update beds set is_wet = false").await.unwrap();
    let shown = "select array_agg(shown order by shown) from plots";
    let before: Vec<String> = sqlx::query_scalar(shown).fetch_one(&pool).await.unwrap();
    let execute = Options { execute: true, ..VERIFY };
    let refused = garden.wild().rebuild(&garden.shop.config, execute).await.unwrap_err();
    let said = farandole::engine::chain_of(&refused);
    assert!(said.contains("no event fills plots.id, plots.since"), "{said}");
    let report = garden.wild().rebuild(&garden.shop.config, Options { accept_defaults: true, ..execute }).await.unwrap();
    assert!(report.differences() == 0 && report.replaced.is_some(), "{report}");
    let left_out: Vec<&[String]> = report.tables.iter().map(|table| &table.left_out[..]).collect();
    assert_eq!(left_out, [&["id".to_owned(), "since".to_owned()][..], &["is_wet".to_owned()], &[]], "{report}");
    let after: Vec<String> = sqlx::query_scalar(shown).fetch_one(&pool).await.unwrap();
    assert_eq!((after.len(), after), (4, before));
    let sql = "select count(*) from plots where since <> 'epoch' or id is null";
    assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.unwrap(), 0, "they have their defaults");
    // The next number isn't one that is there.
    garden.command(&till, "k4", MANY + 2).await;
    let ids: (i64, i64) = sqlx::query_as("select count(id), count(distinct id) from plots").fetch_one(&pool).await.unwrap();
    assert_eq!(ids, (5, 5));

    pool.execute("update plots set note = null where key = 'k0'; update plots set n = n + 1 where note is null").await.unwrap();
    let live: Vec<serde_json::Value> = sqlx::query_scalar(
        "select jsonb_build_object('key', key, 'n', n, 'note', note) from plots where note is null order by key",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let report = garden.wild().rebuild(&garden.shop.config, VERIFY).await.unwrap();
    let found: Vec<_> = report.tables[0].examples.iter().map(|example| example.live.clone().unwrap_or_default()).collect();
    assert_eq!((found, report.differences()), (live.clone(), live.len() as i64), "{report}");
    assert!(report.tables[0].examples.iter().all(|example| example.rebuilt.is_some()), "{report}");
    till.stop().await;
    pool.close().await;
}
