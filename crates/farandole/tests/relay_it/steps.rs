//! The step log, two sessions interleaved by hand.

use std::time::{Duration, Instant};

use farandole::step::{self, Append, Error};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::world::World;

async fn two() -> (World, PgConnection, PgConnection) {
    let world = World::new().await;
    let (a, b) = (PgConnection::connect(&world.url).await.unwrap(), PgConnection::connect(&world.url).await.unwrap());
    (world, a, b)
}

fn fenced<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Fenced { .. })), "{result:?}");
}

/// Trims until the first that is left is `left`: what the server itself does in this database beside the test may hold steps back for
/// a while. Says who does if it lasts.
async fn trimmed(conn: &mut PgConnection, first: i64, keep: u32, left: i64) {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let found = step::trim(conn, "s", first, keep).await.unwrap();
        if found == left {
            return;
        }
        if Instant::now() > until {
            let holders = "select format('%s %s %s %s', datname, backend_type, age(backend_xmin), query) from pg_stat_activity
                           where backend_xmin is not null union all select format('%s prepared %s', database, gid) from pg_prepared_xacts";
            let holders: Vec<String> = sqlx::query_scalar(holders).fetch_all(conn).await.unwrap();
            panic!("{found} is left and not {left}, held back by one of {holders:#?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn steps_count_from_one_and_the_newest_is_read() {
    let (_world, mut a, _b) = two().await;
    assert_eq!(step::latest::<String>(&mut a, "s").await.unwrap(), None);
    assert_eq!(step::append(&mut a, "s", None, &"one").await.unwrap(), 1);
    assert_eq!(step::append(&mut a, "s", Some(1), &"two").await.unwrap(), 2);
    fenced(step::append(&mut a, "s", Some(1), &"two again").await);
    fenced(step::append(&mut a, "s", None, &"one again").await);
    fenced(step::append(&mut a, "s", Some(7), &"from nowhere").await);
    assert_eq!(step::latest::<String>(&mut a, "s").await.unwrap(), Some((2, "two".to_owned())));
    assert_eq!(step::latest::<String>(&mut a, "other").await.unwrap(), None);
}

/// D4. Guard: the primary key. Without it the zombie's step 2 would commit beside the take-over's.
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_is_fenced_while_the_take_over_is_uncommitted() {
    let (_world, mut zombie, mut owner) = two().await;
    step::append(&mut zombie, "s", None, &"zombie").await.unwrap();
    let mut take_over = owner.begin().await.unwrap();
    step::append(&mut take_over, "s", Some(1), &"owner").await.unwrap();
    let late = tokio::spawn(async move { (step::append(&mut zombie, "s", Some(1), &"late").await, zombie) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!late.is_finished(), "the zombie waits for the take-over");
    take_over.commit().await.unwrap();
    let (late, mut zombie) = late.await.unwrap();
    fenced(late);
    assert_eq!(step::latest::<String>(&mut zombie, "s").await.unwrap(), Some((2, "owner".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_that_rolls_back_fences_nobody() {
    let (_world, mut first, mut second) = two().await;
    step::append(&mut first, "s", None, &"first").await.unwrap();
    let mut take_over = second.begin().await.unwrap();
    step::append(&mut take_over, "s", Some(1), &"second").await.unwrap();
    let on = tokio::spawn(async move { step::append(&mut first, "s", Some(1), &"first goes on").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    take_over.rollback().await.unwrap();
    assert_eq!(on.await.unwrap().unwrap(), 2);
}

/// D5. Guard: `max(step)` in the insert. Without it the stopped owner's step 2, trimmed long ago, is free again.
#[tokio::test]
async fn a_trimmed_step_stays_taken() {
    let (_world, mut stopped, mut owner) = two().await;
    step::append(&mut stopped, "s", None, &"stopped").await.unwrap();
    for n in 1..10 {
        step::append(&mut owner, "s", Some(n), &n).await.unwrap();
    }
    trimmed(&mut owner, 0, 3, 8).await;
    fenced(step::append(&mut stopped, "s", Some(1), &"late").await);
    assert_eq!(step::latest::<i64>(&mut owner, "s").await.unwrap(), Some((10, 9)));
}

/// D5. Guard: the newest step is never trimmed.
#[tokio::test]
async fn the_only_step_stays() {
    let (_world, mut a, _b) = two().await;
    step::append(&mut a, "s", None, &"only").await.unwrap();
    for keep in [0, 1, 5] {
        assert_eq!(step::trim(&mut a, "s", 0, keep).await.unwrap(), 0, "keep {keep}");
    }
    fenced(step::append(&mut a, "s", None, &"a second beginning").await);
}

/// Guard: `backend_xmin` in `trim`. A statement that was paused between its look at the log and its insert has a snapshot
/// from before step 2; if that were trimmed, its insert of step 2 would go through.
#[tokio::test]
async fn a_step_that_an_old_snapshot_may_collide_with_stays() {
    let (_world, mut paused, mut owner) = two().await;
    step::append(&mut paused, "s", None, &"paused").await.unwrap();
    let mut open = paused.begin().await.unwrap();
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *open).await.unwrap();
    sqlx::query("select 1 from farandole.steps").execute(&mut *open).await.unwrap();
    for n in 1..10 {
        step::append(&mut owner, "s", Some(n), &n).await.unwrap();
    }
    let first = step::trim(&mut owner, "s", 0, 3).await.unwrap();
    assert!(first <= 2, "only what that snapshot sees may go");
    fenced(step::append(&mut open, "s", Some(1), &"late").await);
    open.rollback().await.unwrap();
    trimmed(&mut owner, first, 3, 8).await;
}

/// Guards: `first` and the limit. A transaction elsewhere keeps everything that was removed from being cleaned up; without them each
/// trim would walk over all of it, or over all that waits to be removed, while events wait for the machine.
#[tokio::test]
async fn a_trim_costs_the_same_however_long_a_transaction_is_open() {
    let (_world, mut owner, mut other) = two().await;
    // Prepared, so that it holds back the clean-up, but no session has a snapshot.
    let name = format!("trim_{}", uuid::Uuid::new_v4().simple());
    let prepare = format!("begin; select pg_current_xact_id(); prepare transaction '{name}'");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut other).await.unwrap();
    sqlx::raw_sql("alter table farandole.steps set (autovacuum_enabled = false)").execute(&mut other).await.unwrap();
    let steps = "insert into farandole.steps (scope, step, state) select 's', n, '1' from generate_series($1::bigint, $2) as n";
    let most = step::MOST;
    sqlx::query(steps).bind(1_i64).bind(2 * most).execute(&mut owner).await.unwrap();
    let mut first = 0;
    for end in [most, 2 * most - 3] {
        trimmed(&mut owner, first, 3, end + 1).await;
        first = end + 1;
    }
    let mut touched = async |first: i64| -> i64 {
        const SO_FAR: &str = "select pg_stat_get_xact_blocks_fetched('farandole.steps'::regclass)";
        let mut tx = owner.begin().await.unwrap();
        let before: i64 = sqlx::query_scalar(SO_FAR).fetch_one(&mut *tx).await.unwrap();
        step::trim(&mut tx, "s", first, 3).await.unwrap();
        let after: i64 = sqlx::query_scalar(SO_FAR).fetch_one(&mut *tx).await.unwrap();
        after - before
    };
    let (on, again) = (touched(first).await, touched(0).await);
    assert!(on * 10 < again, "{on} blocks, {again} from the beginning");
    sqlx::raw_sql(AssertSqlSafe(format!("rollback prepared '{name}'"))).execute(&mut other).await.unwrap();
}

#[tokio::test]
async fn many_scopes_go_together_or_not_at_all() {
    let (_world, mut a, mut b) = two().await;
    let state = "state";
    let appends = |expected| ["z", "a", "m"].map(|scope| Append { scope, expected, state: &state });
    step::append_many(&mut a, &appends(None)).await.unwrap();
    step::append(&mut b, "m", Some(1), &"another owner").await.unwrap();
    let mut tx = a.begin().await.unwrap();
    let result = step::append_many(&mut tx, &appends(Some(1))).await;
    assert!(matches!(&result, Err(Error::Fenced { scope, expected: Some(1) }) if scope == "m"), "{result:?}");
    tx.rollback().await.unwrap();
    for (scope, newest) in [("a", 1), ("m", 2), ("z", 1)] {
        assert_eq!(step::latest::<String>(&mut a, scope).await.unwrap().unwrap().0, newest, "{scope}");
    }
    step::append_many::<String>(&mut a, &[]).await.unwrap();

    // Two appends to one scope: only one of them took its step, so neither may commit.
    let mut tx = sqlx::Connection::begin(&mut a).await.unwrap();
    let twice =
        [Append { scope: "twice", expected: None, state: &"new" }, Append { scope: "twice", expected: None, state: &"old" }];
    assert!(step::append_many(&mut tx, &twice).await.unwrap_err().is_fenced());
}
