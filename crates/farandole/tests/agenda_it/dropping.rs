//! Parked inputs given up by hand, under either of their names.

use farandole::parking::operate::{self, Refused, Which};

use crate::world::World;

/// Parks five records of topic `t` as the intake does: places `t/0/1` to `t/0/5`, by aggregate and other name.
async fn parked() -> World {
    let world = World::new().await;
    let rows =
        "insert into farandole.parked (reader, aggregate, also, topic, partition, record_offset, headers, reason, head) values
        ('r', 'k5', 'order-1', 't', 0, 1, '[]', 'bad', true),
        ('r', 'k0', 'order-1', 't', 0, 2, '[]', 'waiting behind inputs parked under order-1', true),
        ('r', 'k9', 'order-2', 't', 0, 3, '[]', 'bad too', true),
        ('r', 'k9', 'order-3', 't', 0, 4, '[]', 'waiting behind inputs parked under k9', true),
        ('else', 'k0', null, 't', 0, 5, '[]', 'bad', true)";
    sqlx::raw_sql(rows).execute(&world.pool).await.unwrap();
    world
}

/// Guards: both names are looked under, and what only waits is not dropped in its stead. Without the first, nothing is found under the
/// name by which an operator knows the input; without the second, a good input is lost and the bad one stays.
#[tokio::test]
async fn an_input_is_dropped_by_either_name_and_none_that_only_waits() {
    let world = parked().await;
    let mut conn = world.pool.acquire().await.unwrap();
    let listed = operate::list(&mut *conn, "r").await.unwrap().queues;
    let names: Vec<_> = listed.iter().map(|q| (q.aggregate.as_str(), q.also.as_deref(), q.first.as_str())).collect();
    assert_eq!(names, [("k5", Some("order-1"), "t/0/1"), ("k0", Some("order-1"), "t/0/2"), ("k9", Some("order-2"), "t/0/3")]);

    let mut drop = async |name: &str, which| operate::drop_inputs(&mut conn, "r", None, name, which, "a test", "me").await;
    let refused = drop("k0", Which::First).await.unwrap_err();
    assert!(matches!(&refused, Refused::Waits { .. }), "{refused}");
    let words = "the first input parked under k0, t/0/2, only waits behind t/0/1, which is parked under k5";
    assert!(refused.to_string().contains(words), "{refused}");
    assert_eq!(world.count("select count(*) from farandole.parked").await, 5, "nothing is gone");

    let dropped = drop("order-1", Which::First).await.unwrap();
    assert_eq!(dropped.iter().map(ToString::to_string).collect::<Vec<_>>(), ["t/0/1 of k5 and order-1"]);
    // What waited is the first now, and may fail by itself.
    let dropped = drop("k0", Which::First).await.unwrap();
    assert_eq!(dropped.iter().map(ToString::to_string).collect::<Vec<_>>(), ["t/0/2 of k0 and order-1"]);
    let dropped = drop("k9", Which::All).await.unwrap();
    assert_eq!(
        dropped.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["t/0/3 of k9 and order-2", "t/0/4 of k9 and order-3, which only waited behind t/0/3"]
    );
    assert!(drop("k0", Which::All).await.unwrap().is_empty(), "the other is somebody else's");
    assert_eq!(world.count("select count(*) from farandole.parked").await, 1);
}

/// Guard: a list is asked for one more than it shows. Without, who looks at 1,000 keys takes them for all.
#[tokio::test]
async fn a_list_that_is_cut_says_so() {
    let world = World::new().await;
    let rows = "insert into farandole.parked (reader, aggregate, topic, partition, record_offset, headers, reason, head)
                select 'r', 'k' || n, 't', 0, n, '[]', 'bad', true from generate_series($1, $2) n";
    for (first, last, expected) in [(1, 1_000, (1_000, false)), (1_001, 1_001, (1_000, true))] {
        sqlx::query(rows).bind(first).bind(last).execute(&world.pool).await.unwrap();
        let listed = operate::list(&world.pool, "r").await.unwrap();
        assert_eq!((listed.queues.len(), listed.more), expected);
    }
}
