//! What runs by a clock, on tables with 1,000,000 rows: each costs what happens, not what lies there.
//!
//! Each statement is explained while it runs, as its part's session would run it, and what counts is the pages that it touches, not
//! the time that it takes. ARCHITECTURE.md has the same list in words. **Guard:** the indexes and limits that these statements rest on;
//! without one of them, a whole table is read each second, in every replica, for nothing.

use farandole::plans::{self, Snapshot};
use farandole::step;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Postgres};

const ROWS: i64 = 1_000_000;

/// A million rows of all that can lie there: old and new answers, foreign records, inputs that a heal found, tasks that are due and
/// aren't, with claims, and an outbox of which the first half is out. Parked is as much as may be.
const FILL: [&str; 8] = [
    "insert into farandole.idempotency (scope, key, body_hash, status, answer, at)
     select 'anyone', n::text, '\\x00', 200, '{}', now() - n * interval '1 second' from generate_series(1, 1000000) n",
    "insert into farandole.strangers (reader, source, id, seen_at)
     select 'shop', 'somebody', n::text, now() - n * interval '1 second' from generate_series(1, 1000000) n",
    "insert into farandole.applied (reader, topic, partition, record_offset)
     select 'shop', 'topic', n % 6, n from generate_series(1, 1000000) n",
    "insert into farandole.steps (scope, step, state)
     select 'position/shop/topic/' || p, 1, '{\"next_offset\": 500}' from generate_series(0, 5) p",
    "insert into farandole.tasks (name, key, cause, kind, due, correlation)
     select 'n', n::text, gen_random_uuid(), (array['deadline', 'effect'])[n % 2 + 1],
            now() + (n - 500000) * interval '1 second', gen_random_uuid() from generate_series(1, 1000000) n",
    "insert into farandole.steps (scope, step, state)
     select farandole.claim(name, key, cause), 1, '{\"until\": 9000000000000000, \"attempt\": 1, \"first\": 1, \"idle\": true, \"maybe\": false}'
     from farandole.tasks where kind = 'effect'",
    "insert into farandole.parked (reader, aggregate, also, topic, partition, record_offset, headers, reason, head, retry_at)
     select 'shop', 'a' || n % 50000, case when n % 3 = 0 then 'o' || n end, 'topic', 0, n, '[]', 'a reason', n <= 50000,
            now() + (n - 100) * interval '1 second' from generate_series(1, 1000000) n",
    "insert into farandole.outbox (topic, id, aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n)
     select 't', gen_random_uuid(), 't', n::text, 't', '\\x00', now(), 'c', gen_random_uuid(), 1, 1 from generate_series(1, 900000) n",
];

type Asked<'q> = QueryScalar<'q, Postgres, Json<serde_json::Value>, PgArguments>;

fn first_page<'q>(query: Asked<'q>, kind: &'static str) -> Asked<'q> {
    query.bind(kind).bind(0_i64).bind(None::<i64>).bind("").bind("").bind(uuid::Uuid::nil()).bind(500_i64).bind(kind == "effect")
}

/// Pages that `sql` touches, with what `bind` adds, and the tables that it reads whole.
async fn touched(conn: &mut PgConnection, sql: &str, bind: impl for<'q> FnOnce(Asked<'q>) -> Asked<'q>) -> (i64, Vec<String>) {
    let mut tx = conn.begin().await.unwrap();
    let explain = format!("explain (analyze, buffers, format json) {sql}");
    let plan = bind(sqlx::query_scalar(AssertSqlSafe(explain))).fetch_one(&mut *tx).await.unwrap().0;
    tx.rollback().await.unwrap();
    let root = &plan[0]["Plan"];
    let pages = ["Shared Hit Blocks", "Shared Read Blocks"].iter().filter_map(|kind| root[*kind].as_i64()).sum();
    let (mut whole, mut nodes) = (Vec::new(), vec![root]);
    while let Some(node) = nodes.pop() {
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
        let table = node["Relation Name"].as_str().unwrap_or_default();
        if node["Node Type"] == "Seq Scan" && table != "pg_class" {
            whole.push(table.to_owned());
        }
    }
    (pages, whole)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_by_a_clock_costs_what_happens() {
    let sandbox = stage::Stage::shared().sandbox().await.unwrap();
    let url = sandbox.database("plans").await.unwrap().url;
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    farandole::migrate(&pool).await.unwrap();
    pool.execute("alter sequence farandole.outbox_seq_seq restart with 100001").await.unwrap();
    for fill in FILL {
        let mut conn = pool.acquire().await.unwrap();
        conn.execute("set synchronous_commit = off").await.unwrap();
        conn.execute(fill).await.unwrap();
    }
    pool.execute("vacuum (analyze)").await.unwrap();
    let unsent = Snapshot("3:3:".to_owned());
    let now: String = sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(&pool).await.unwrap();
    let out = Snapshot(now);

    let mut deciding = PgConnection::connect(&url).await.unwrap();
    // As the sessions of intake and agenda are.
    deciding.execute("set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off").await.unwrap();
    let mut reading = PgConnection::connect(&url).await.unwrap();
    reading.execute(plans::RELAY).await.unwrap();
    let mut keeping = PgConnection::connect(&url).await.unwrap();
    keeping.execute(plans::UPKEEP).await.unwrap();

    // What, the pages that it may touch, and what it touched.
    let mut looks = Vec::new();
    macro_rules! look {
        ($what:literal, $most:expr, $conn:expr, $sql:expr, $bind:expr) => {
            looks.push(($what, $most, touched(&mut $conn, $sql, $bind).await));
        };
    }
    look!("agenda: deadlines that are due", 6_000, deciding, plans::DUE_TASKS, |q| first_page(q, "deadline"));
    look!("agenda: effects that are due", 6_000, deciding, plans::DUE_TASKS, |q| first_page(q, "effect"));
    look!("agenda: gauges", 2_000, deciding, plans::TASKS, |q| q.bind("effect").bind(plans::TASKS_TO));
    look!("parking: what is due", 2_500, deciding, plans::DUE_PARKED, |q| q.bind(plans::HEADS).bind("shop"));
    look!("parking: gauges", 30_000, deciding, plans::PARKED, |q| q.bind(plans::PARKED_TO).bind("shop"));
    look!("tidy: answers", 40_000, deciding, plans::OLD_ANSWERS, |q| q.bind(604_800.0_f64).bind(plans::TIDIED));
    look!("tidy: foreign records", 40_000, deciding, plans::OLD_STRANGERS, |q| q.bind(691_200.0_f64).bind(plans::TIDIED));
    look!("tidy: what a heal found", 10_000, deciding, plans::OLD_APPLIED, |q| q
        .bind(plans::TIDIED)
        .bind("shop")
        .bind("position/shop/"));
    look!("relay: nothing is unsent", 200, reading, plans::UNSENT_HEAD, |q| q
        .bind(out.xmax().to_owned())
        .bind(out.xip())
        .bind(5_001_i64)
        .bind(1_048_576_i64));
    look!("relay: a million unsent", 60_000, reading, plans::UNSENT_HEAD, |q| q
        .bind(unsent.xmax().to_owned())
        .bind(unsent.xip())
        .bind(5_001_i64)
        .bind(1_048_576_i64));
    look!("upkeep: gauges", 3 * plans::UNSENT_TO, keeping, plans::UNSENT, |q| q
        .bind(unsent.xmax().to_owned())
        .bind(unsent.xip())
        .bind(plans::UNSENT_TO));
    look!("upkeep: who holds old rows", 200, keeping, plans::HOLDER, |q| q);
    look!("upkeep: a full partition that isn't out", 200, keeping, plans::UNSENT_OF, |q| q
        .bind(unsent.0.clone())
        .bind(unsent.xmax().to_owned())
        .bind(unsent.xip())
        .bind(1_i64)
        .bind(1_000_001_i64));
    look!("upkeep: a full partition that is out", 200, keeping, plans::UNSENT_OF, |q| q
        .bind(out.0.clone())
        .bind(out.xmax().to_owned())
        .bind(out.xip())
        .bind(1_i64)
        .bind(1_000_001_i64));
    look!("step log: old steps of one scope", 200, keeping, plans::TRIM, |q| q
        .bind("position/shop/topic/1")
        .bind(0_i64)
        .bind(10_i64)
        .bind(step::MOST));
    for (what, most, (pages, whole)) in &looks {
        println!("{what}: {pages} pages of {most}");
        assert!(whole.is_empty(), "{what} reads all of {whole:?}");
        assert!(pages <= most, "{what} touches {pages} pages, and {most} is the limit");
    }
    // A heal's, once and among all that is open. Guard: the join; a query for each effect would read the outbox half a million times.
    let mut healing = PgConnection::connect(&url).await.unwrap();
    let explain = AssertSqlSafe(format!("explain (format json) {}", plans::HEALED_WAITS));
    let plan: Json<serde_json::Value> = sqlx::query_scalar(explain).fetch_one(&mut healing).await.unwrap();
    let again = ["SubPlan", "Nested Loop"].into_iter().find(|node| plan.0.to_string().contains(node));
    assert_eq!(again, None, "{}", plan.0);
    // Once in ten minutes, and a walk through an index.
    let mended = plans::mend_heads(&mut deciding, "shop").await.unwrap();
    assert_eq!(mended, 0, "{ROWS} rows, and all heads known");

    // And it gets done, however much there is: in small statements, until only what is young is left.
    let mut gone = 0;
    loop {
        let some = plans::forget(&mut deciding, plans::What::Answers(std::time::Duration::from_secs(950_000))).await.unwrap();
        gone += some;
        if some < plans::TIDIED.unsigned_abs() {
            break;
        }
    }
    let left: i64 = sqlx::query_scalar("select count(*) from farandole.idempotency").fetch_one(&pool).await.unwrap();
    assert!((49_000..=51_000).contains(&gone) && left + i64::try_from(gone).unwrap() == ROWS, "{gone} gone, {left} left");
}
