//! The relay's queries against what was committed, in random histories of several sessions. One driver does everything in
//! turn, so it knows at each look what is committed; the same on a model, with crashes of the database, is `model.rs` beside this.

use std::collections::{BTreeMap, HashMap, HashSet};

use farandole::relay::read::{self, RowRef, Unsent};
use farandole::relay::state::{InFlight, Snapshot};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::world::{Random, World};

const SESSIONS: u64 = 6;
const KEYS: u64 = 9;
/// The stage allows so many, all tests together.
const PREPARED: usize = 4;
const PLENTY: i64 = 1 << 20;

/// A row as the driver knows it: key, version, id.
type Mine = (u64, i64, Uuid);

#[derive(Default)]
struct Tx {
    open: bool,
    rows: BTreeMap<i64, Mine>,
}

struct Batch {
    in_flight: InFlight,
    rows: Vec<(i64, Uuid)>,
}

struct History {
    random: Random,
    sessions: Vec<(PgConnection, Tx)>,
    prepared: Vec<(String, Tx)>,
    committed: HashMap<u64, i64>,
    unsent: BTreeMap<i64, Mine>,
    reader: PgConnection,
    a: Snapshot,
    batch: Option<Batch>,
    /// What went out, by key: the last version.
    out: HashMap<u64, i64>,
}

fn ids(rows: &[PgRow]) -> Vec<(i64, Uuid)> {
    rows.iter().map(|row| RowRef::of(row).map(|row| (row.seq, row.id)).unwrap()).collect()
}

async fn page(conn: &mut PgConnection, a: &Snapshot, batch: &InFlight, rows: i64) -> Vec<(i64, Uuid)> {
    use futures_util::TryStreamExt as _;
    let rows: Vec<PgRow> = read::page(conn, a, batch, rows).try_collect().await.unwrap();
    ids(&rows)
}

impl History {
    async fn new(world: &World, seed: u64) -> Self {
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push((PgConnection::connect(&world.url).await.unwrap(), Tx::default()));
        }
        let mut reader = PgConnection::connect(&world.url).await.unwrap();
        reader.execute(read::SETTINGS).await.unwrap();
        let (prepared, committed, unsent, out) = Default::default();
        let a = Snapshot("3:3:".to_owned());
        Self { random: Random::new(seed), sessions, prepared, committed, unsent, reader, a, batch: None, out }
    }

    async fn step(&mut self) {
        let session = self.random.below(SESSIONS) as usize;
        match (self.random.below(20), self.sessions[session].1.open) {
            (0..3, _) => self.end_prepared().await,
            (3..9, _) => self.look().await,
            (_, false) => self.begin(session).await,
            (9..15, true) => self.insert(session).await,
            (15, true) => self.savepoint(session).await,
            (16, true) if self.prepared.len() < PREPARED => self.prepare(session).await,
            (_, true) => self.end(session).await,
        }
    }

    async fn begin(&mut self, session: usize) {
        let (conn, tx) = &mut self.sessions[session];
        tx.open = true;
        conn.execute("begin").await.unwrap();
        // Some have a number long before they write, or never write.
        if self.random.below(2) == 0 {
            conn.execute("select pg_current_xact_id()").await.unwrap();
        }
    }

    /// A key that no other transaction has a row of: rows are appended under the key's lock.
    fn key(&mut self, session: usize) -> Option<u64> {
        let key = self.random.below(KEYS);
        let of_key = |tx: &Tx| tx.rows.values().any(|row| row.0 == key);
        let others = self.sessions.iter().enumerate().filter(|(i, _)| *i != session).map(|(_, (_, tx))| tx);
        (!others.chain(self.prepared.iter().map(|(_, tx)| tx)).any(of_key)).then_some(key)
    }

    async fn insert(&mut self, session: usize) {
        let Some(key) = self.key(session) else { return };
        let (conn, tx) = &mut self.sessions[session];
        let own = tx.rows.values().filter(|row| row.0 == key).count() as i64;
        let (id, version) = (Uuid::now_v7(), self.committed.get(&key).unwrap_or(&0) + own + 1);
        tx.rows.insert(append(conn, None, id).await, (key, version, id));
    }

    /// A subtransaction has a number of its own, which rows don't carry.
    async fn savepoint(&mut self, session: usize) {
        self.sessions[session].0.execute("savepoint inner_one").await.unwrap();
        let before = self.sessions[session].1.rows.clone();
        self.insert(session).await;
        if self.random.below(2) == 0 {
            self.sessions[session].0.execute("rollback to inner_one").await.unwrap();
            self.sessions[session].1.rows = before;
        }
    }

    async fn prepare(&mut self, session: usize) {
        let gid = Uuid::now_v7().to_string();
        let (conn, tx) = &mut self.sessions[session];
        conn.execute(AssertSqlSafe(format!("prepare transaction '{gid}'"))).await.unwrap();
        self.prepared.push((gid, std::mem::take(tx)));
    }

    async fn end(&mut self, session: usize) {
        let (conn, tx) = &mut self.sessions[session];
        let tx = std::mem::take(tx);
        match self.random.below(4) {
            0 => drop(conn.execute("rollback").await.unwrap()),
            1 => {
                conn.execute("set local synchronous_commit = off").await.unwrap();
                conn.execute("commit").await.unwrap();
                self.committed(tx);
            }
            _ => {
                conn.execute("commit").await.unwrap();
                self.committed(tx);
            }
        }
    }

    async fn end_prepared(&mut self) {
        if self.prepared.is_empty() {
            return;
        }
        let (gid, tx) = self.prepared.swap_remove(self.random.below(self.prepared.len() as u64) as usize);
        let commit = self.random.below(3) > 0;
        let end = if commit { "commit" } else { "rollback" };
        // Any session may end it; the reader is in no transaction.
        self.reader.execute(AssertSqlSafe(format!("{end} prepared '{gid}'"))).await.unwrap();
        if commit {
            self.committed(tx);
        }
    }

    fn committed(&mut self, tx: Tx) {
        for (key, version, _) in tx.rows.values() {
            let last = self.committed.entry(*key).or_default();
            *last = (*version).max(*last);
        }
        self.unsent.extend(tx.rows);
    }

    /// The relay's next move: the next page of what is in flight, or what is unsent.
    async fn look(&mut self) {
        let rows = self.random.below(5) as i64 + 1;
        if let Some(mut batch) = self.batch.take() {
            let left: Vec<_> = batch.rows.iter().filter(|(seq, _)| *seq > batch.in_flight.after).copied().collect();
            let found = page(&mut self.reader, &self.a, &batch.in_flight, rows).await;
            assert_eq!(found, left[..left.len().min(rows as usize)], "of {:?} in ({:?}, {:?})", left, self.a, batch.in_flight);
            match self.random.below(3) {
                // It crashed before the note, and begins the page again.
                0 => self.batch = Some(batch),
                _ if found.len() < rows as usize => self.a = batch.in_flight.upto,
                _ => {
                    batch.in_flight.after = found[found.len() - 1].0;
                    self.batch = Some(batch);
                }
            }
            return;
        }
        let expected: Vec<_> = self.unsent.iter().map(|(seq, row)| (*seq, row.2)).collect();
        let bytes = if self.random.below(5) == 0 { 20 } else { PLENTY };
        let many = expected.len() > rows as usize || 16 * expected.len() as i64 > bytes;
        match read::unsent(&mut self.reader, &self.a, rows, bytes).await.unwrap() {
            Unsent::Nothing => assert_eq!(expected, [], "after {:?}", self.a),
            Unsent::Whole(b, found) => {
                assert!(!many, "{} rows at once", expected.len());
                assert_eq!(ids(&found), expected, "after {:?}", self.a);
                self.take(b, expected).await;
            }
            Unsent::Many(b) => {
                assert!(many, "{} rows in pages", expected.len());
                self.take(b, expected).await;
            }
        }
    }

    /// The batch (a, b) has these rows, and no others will come to it.
    async fn take(&mut self, b: Snapshot, rows: Vec<(i64, Uuid)>) {
        let after = read::before_first(&mut self.reader, &self.a, &b).await.unwrap();
        assert_eq!(after + 1, rows[0].0, "the first of ({:?}, {b:?})", self.a);
        for (key, version, _) in std::mem::take(&mut self.unsent).values() {
            assert_eq!(self.out.insert(*key, *version).unwrap_or(0) + 1, *version, "key {key} is out of order");
        }
        let mut asked: Vec<Uuid> = self.still_open();
        asked.extend(rows.iter().map(|row| row.1));
        let among = read::among(&mut self.reader, &self.a, &b, &asked).await.unwrap();
        assert_eq!(among.into_iter().collect::<HashSet<_>>(), rows.iter().map(|row| row.1).collect());
        self.batch = Some(Batch { in_flight: InFlight { upto: b, after }, rows });
    }

    /// Rows of transactions that are still open.
    fn still_open(&self) -> Vec<Uuid> {
        self.sessions.iter().flat_map(|(_, tx)| tx.rows.values().map(|row| row.2)).collect()
    }

    async fn finish(mut self) -> i64 {
        for session in 0..self.sessions.len() {
            if self.sessions[session].1.open {
                self.end(session).await;
            }
        }
        while !self.prepared.is_empty() {
            self.end_prepared().await;
        }
        while self.batch.is_some() || !self.unsent.is_empty() {
            self.look().await;
        }
        assert_eq!(self.out, self.committed);
        self.out.values().sum()
    }
}

/// One row of 16 bytes, written under `xid` or the transaction's own; gives its seq.
async fn append(conn: &mut PgConnection, xid: Option<u64>, id: Uuid) -> i64 {
    sqlx::query_scalar(
        "insert into farandole.outbox (xid, topic, id, aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n)
         values (coalesce($1::xid8, pg_current_xact_id()), 't', $2, 'orders', 'k', 'x', uuid_send($2), clock_timestamp(), 'c', $2, 1, 1)
         returning seq",
    )
    .bind(xid.map(|xid| xid.to_string()))
    .bind(id)
    .fetch_one(conn)
    .await
    .unwrap()
}

/// F4 and more. Guards: xip beside xmax, both bounds and the order of a page, what is whole. Whatever the
/// sessions do, prepared transactions among it, each look gives exactly what was committed since the last, and a batch stays
/// the same however often it is read.
#[tokio::test(flavor = "multi_thread")]
async fn each_look_gives_what_was_committed_since_the_last() {
    let world = World::new().await;
    let mut rows = 0;
    for seed in 1..=24 {
        let mut history = History::new(&world, seed).await;
        for _ in 0..200 {
            history.step().await;
        }
        rows += history.finish().await;
        world.pool.execute("truncate farandole.outbox").await.unwrap();
    }
    assert!(rows > 300, "{rows} rows: the histories say too little");
}

/// F6. Guard: transaction numbers are `xid8` and text here, never a number of 32 bits.
#[tokio::test(flavor = "multi_thread")]
async fn transaction_numbers_pass_two_to_the_32() {
    let world = World::new().await;
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    conn.execute(read::SETTINGS).await.unwrap();
    let edge = 1_u64 << 32;
    let xids: Vec<u64> = [edge, 2 * edge, 5 * edge].into_iter().flat_map(|edge| edge - 6..edge + 6).collect();
    let mut rows = Vec::new();
    for xid in xids {
        let id = Uuid::now_v7();
        rows.push((append(&mut conn, Some(xid), id).await, xid, id));
    }
    let at = |xmin: u64, xmax: u64, xip: &[u64]| {
        let xip: Vec<String> = xip.iter().map(u64::to_string).collect();
        (Snapshot(format!("{xmin}:{xmax}:{}", xip.join(","))), xmax, xip)
    };
    let snapshots = [
        at(edge - 5, edge - 5, &[]),
        at(edge - 4, edge + 2, &[edge - 4, edge + 1]),
        at(edge + 3, edge + 3, &[]),
        at(edge + 1, 2 * edge - 3, &[edge + 1]),
        at(2 * edge - 5, 2 * edge + 4, &[2 * edge - 5, 2 * edge, 2 * edge + 2]),
        at(5 * edge - 1, 5 * edge + 1, &[5 * edge - 1]),
    ];
    let all: Vec<Uuid> = rows.iter().map(|(_, _, id)| *id).collect();
    let seen = |xid: u64, (_, xmax, xip): &(Snapshot, u64, Vec<String>)| xid < *xmax && !xip.contains(&xid.to_string());
    for (i, a) in snapshots.iter().enumerate() {
        let unsent: Vec<_> = rows.iter().filter(|(_, xid, _)| !seen(*xid, a)).map(|(seq, _, id)| (*seq, *id)).collect();
        let Unsent::Whole(_, found) = read::unsent(&mut conn, &a.0, 100, PLENTY).await.unwrap() else { panic!("{:?}", a.0) };
        assert_eq!(ids(&found), unsent, "after {:?}", a.0);
        for b in &snapshots[i + 1..] {
            let both = rows.iter().filter(|(_, xid, _)| !seen(*xid, a) && seen(*xid, b));
            let batch: Vec<_> = both.map(|(seq, _, id)| (*seq, *id)).collect();
            let in_flight = InFlight { upto: b.0.clone(), after: 0 };
            assert_eq!(page(&mut conn, &a.0, &in_flight, 100).await, batch, "({:?}, {:?})", a.0, b.0);
            assert_eq!(read::before_first(&mut conn, &a.0, &b.0).await.unwrap() + 1, batch[0].0);
            let among = read::among(&mut conn, &a.0, &b.0, &all).await.unwrap();
            assert_eq!(among.into_iter().collect::<HashSet<_>>(), batch.iter().map(|(_, id)| *id).collect());
        }
    }
}

/// Guard: the reader's settings. Without, a batch whose rows don't lie in order is sorted as a whole for each of its pages, and the
/// head is looked for among everything that is out.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_reads_what_it_is_for_and_no_further() {
    let world = World::new().await;
    let rows =
        "insert into farandole.outbox (seq, topic, id, aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n)
                overriding system value
                select n, 't', gen_random_uuid(), 'orders', 'k', 'x', 'x', now(), 'c', gen_random_uuid(), 1, 1
                from generate_series(1, 20000) as n order by md5(n::text)";
    world.pool.execute(rows).await.unwrap();
    world.pool.execute("analyze farandole.outbox").await.unwrap();
    let b: String = sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(&world.pool).await.unwrap();
    let plans = async |settings: &'static str| -> [String; 2] {
        let mut conn = PgConnection::connect(&world.url).await.unwrap();
        conn.execute(settings).await.unwrap();
        let page = format!("prepare page (bigint, text, text, bigint) as {}", read::PAGE);
        let head = format!("prepare head (text, text, bigint, bigint) as {}", read::HEAD);
        conn.execute(AssertSqlSafe(page)).await.unwrap();
        conn.execute(AssertSqlSafe(head)).await.unwrap();
        let mut explained = async |sql: String| -> String {
            let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
            lines.join("\n")
        };
        [
            explained(format!("explain execute page (1, '3:3:', '{b}', 10000)")).await,
            explained("explain execute head ('1000000', '{900000}', 1000, 1000000)".to_owned()).await,
        ]
    };
    let [page, _] = plans("set plan_cache_mode = force_custom_plan").await;
    assert!(page.contains("Sort"), "so the settings say nothing here:\n{page}");
    let [_, head] = plans("set plan_cache_mode = force_generic_plan").await;
    assert!(head.contains("Seq Scan"), "so the settings say nothing here:\n{head}");
    let [page, head] = plans(read::SETTINGS).await;
    assert!(page.contains("Index Scan") && !page.contains("Sort") && !page.contains("Bitmap"), "{page}");
    let scans = head.matches("Index Scan").count();
    assert!(scans > 0 && head.matches("Index Cond: (xid").count() == scans && !head.contains("Seq Scan"), "{head}");
}
