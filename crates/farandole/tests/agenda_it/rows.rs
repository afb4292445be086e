//! Rows by keys of every kind: stored, found again, locked while they are absent, deleted.

use farandole::{Keys, Table, Tables as _};
use sqlx::PgPool;
use uuid::Uuid;

use crate::world::World;

farandole::tables! {
    pub struct Tables {
        counters: Counter in "counters" { number: i64, count: i32 },
        lines: Line in "lines" { [order_id: Uuid, article: String], quantity: i64 },
        seats: Seat in "seats" { [hall: String, row: i32, place: i16], taken: bool },
    }
}

const MADE: &str = "create table counters (number bigint primary key, count integer not null);
    create table lines (order_id uuid, article text collate \"C\", quantity bigint not null, primary key (order_id, article));
    create table seats (hall text collate \"C\", row integer, place smallint, taken boolean not null, primary key (hall, row, place))";

/// Loads these rows, lets `change` change them, stores them.
async fn change(pool: &PgPool, keys: &Keys, change: impl FnOnce(&mut Tables)) -> Tables {
    let (mut tx, mut tables) = (pool.begin().await.unwrap(), Tables::default());
    tables.load(&mut tx, keys).await.unwrap();
    change(&mut tables);
    assert_eq!(tables.take_missed(), None);
    tables.store(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    tables
}

#[tokio::test]
async fn keys_are_texts_integers_ids_and_several_columns() {
    let world = World::new().await;
    sqlx::raw_sql(MADE).execute(&world.pool).await.unwrap();
    let order = Uuid::from_u128(7);
    // A slash in a part, which is what stands between parts.
    let lines = [(order, "tea/green".to_owned()), (order, "tea".to_owned()), (order, "tea\\".to_owned())];
    let (numbers, seats) = ([-3, 10, 9], [("a".to_owned(), 1, 2), ("a/1".to_owned(), -1, 2)]);
    let keys = || Keys::of::<Counter>(numbers).and::<Line>(lines.clone()).and::<Seat>(seats.clone());
    change(&world.pool, &keys(), |tables| {
        for number in numbers {
            assert_eq!(tables.counters.get(&number), None);
            tables.counters.put(Counter { number, count: 1 });
        }
        for (order_id, article) in lines.clone() {
            tables.lines.put(Line { order_id, quantity: article.len() as i64, article });
        }
        for (hall, row, place) in seats.clone() {
            tables.seats.put(Seat { hall, row, place, taken: true });
        }
    })
    .await;
    // Found again, changed, and what is deleted is gone: also when it was put a moment before.
    change(&world.pool, &keys(), |tables| {
        tables.counters.get_mut(&10).unwrap().count = 2;
        tables.counters.delete(&-3);
        assert_eq!(tables.counters.get(&-3), None);
        assert_eq!(tables.lines.get(&lines[0]).map(|line| line.quantity), Some(9));
        tables.lines.delete(&lines[0]);
        tables.lines.delete(&lines[2]);
        tables.lines.put(Line { order_id: order, article: lines[2].1.clone(), quantity: 1 });
        tables.seats.delete(&seats[1]);
    })
    .await;
    let left = change(&world.pool, &keys(), |_| ()).await;
    let counts = numbers.map(|number| left.counters.get(&number).map(|counter| counter.count));
    assert_eq!(counts, [None, Some(2), Some(1)]);
    assert_eq!(lines.each_ref().map(|key| left.lines.get(key).map(|line| line.quantity)), [None, Some(3), Some(1)]);
    assert_eq!(seats.each_ref().map(|key| left.seats.get(key).is_some()), [true, false]);
    assert_eq!(
        world.count("select (select count(*) from counters) + (select count(*) from lines) + (select count(*) from seats)").await,
        5
    );
}

/// Guard: reading, changing and deleting a row that wasn't loaded shows. Without, it would pass for one that isn't there.
#[tokio::test]
async fn a_row_that_was_not_loaded_is_missed() {
    let touch: [fn(&mut Table<Counter>); 4] = [
        |table| drop(table.get(&1).cloned()),
        |table| assert!(table.get_mut(&1).is_none()),
        |table| table.put(Counter { number: 1, count: 1 }),
        |table| table.delete(&1),
    ];
    for touch in touch {
        let mut table = Table::<Counter>::default();
        touch(&mut table);
        assert_eq!(table.take_missed().as_deref(), Some("counters[1]"));
    }
}

/// Guard: keys of several columns are locked while no row has them. Without, two batches that make the same row undo each other.
#[tokio::test]
async fn an_absent_row_of_several_columns_is_locked() {
    let world = World::new().await;
    sqlx::raw_sql(MADE).execute(&world.pool).await.unwrap();
    let keys = Keys::of::<Line>([(Uuid::from_u128(1), "tea".to_owned())]);
    let mut first = world.pool.begin().await.unwrap();
    Table::<Line>::default().load(&mut first, &keys).await.unwrap();
    let mut second = world.pool.begin().await.unwrap();
    sqlx::raw_sql("set local lock_timeout = '200ms'").execute(&mut *second).await.unwrap();
    Table::<Line>::default().load(&mut second, &keys).await.expect_err("somebody has it");
}
