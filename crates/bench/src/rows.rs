//! Rows for an outbox: the kit's, and the table that Debezium's outbox router reads. Both get the same rows.
//!
//! A payload has [`PAYLOAD`] bytes of text: the version of its key (from 0, without gaps), the row's number, 64 random characters,
//! and the same rest in all. So whoever reads a topic can tell whether each key is whole and in order.

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

/// Bytes of a payload.
pub const PAYLOAD: usize = 400;
/// Bytes of the version, in front, and of the number after it.
pub const VERSION: usize = 12;
const NUMBER: usize = 10;
/// Events of one filling transaction.
pub const A_TRANSACTION: u32 = 10;
/// Sessions that fill, each with its own keys, so that rows of one key are committed in the order of their versions.
const FILLERS: u32 = 2;
/// Keys of one of them.
const KEYS: u32 = 5_003;
/// Rows between two looks whether there are partitions for more: fewer than there are places ahead.
const CHUNK: u32 = 500_000;
const REST: &str = r#", "currency": "GBP", "total": 5340, "lines": [{"sku": "85123A", "quantity": 6, "unit_price": 255}, {"sku": "71053", "quantity": 6, "unit_price": 339}, {"sku": "84406B", "quantity": 8, "unit_price": 222}], "card_token": "tok_17850", "placed_at": "2010-12-01T08:26:00Z", "address": {"line": "1 High Street", "city": "London"}, "country": "United Kingdom"}"#;
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `farandole.outbox`.
    Kit,
    /// `public.outbox`.
    Router,
}

/// The table of Debezium's router: its own columns, and those that become headers.
pub const ROUTER_TABLE: &str = "create table outbox (id uuid primary key, aggregatetype text not null, aggregateid text not null,
    type text not null, payload bytea not null, time timestamptz not null, cause text not null, correlation uuid not null,
    traceparent text)";

/// Rows for one topic.
#[derive(Debug, Clone)]
pub struct Rows {
    pub table: Table,
    /// The whole name.
    pub topic: String,
    /// By which the router finds the topic.
    pub aggregate_type: String,
}

impl Rows {
    /// The statement that inserts one row; $1 is the key, $2 the payload.
    pub fn insert(&self) -> String {
        self.statement("$1", "$2", "'carts/3/1795276800'")
    }

    fn statement(&self, key: &str, payload: &str, cause: &str) -> String {
        let Self { topic, aggregate_type, .. } = self;
        let (kind, ids) = ("'farandole.orders.OrderPlaced'", "gen_random_uuid()");
        let own = format!("'{aggregate_type}', {key}, {kind}, {payload}, clock_timestamp(), {cause}, {ids}, '{TRACEPARENT}'");
        let columns = "id, aggregatetype, aggregateid, type, payload, time, cause, correlation, traceparent";
        match self.table {
            Table::Kit => {
                format!(
                    "insert into farandole.outbox (topic, i, n, {columns}) select '{topic}', 1::smallint, 1::smallint, {ids}, {own}"
                )
            }
            Table::Router => format!("insert into outbox ({columns}) select {ids}, {own}"),
        }
    }

    /// Writes `count` rows, [`A_TRANSACTION`] a transaction, and a checkpoint, so that none comes while they are read.
    /// `admin` is the superuser's address of the same server.
    pub async fn fill(&self, url: &str, admin: &str, count: u32) -> anyhow::Result<()> {
        let pool = PgPool::connect(url).await?;
        let transactions = count / A_TRANSACTION;
        let mut done = 0;
        while done < transactions {
            if self.table == Table::Kit {
                farandole::relay::partitions::ensure(&pool).await.context("making the outbox's partitions")?;
            }
            let end = transactions.min(done + CHUNK / A_TRANSACTION);
            let fillers = (0..FILLERS).map(|filler| tokio::spawn(fill(url.to_owned(), self.filling(filler, done, end))));
            for filler in fillers.collect::<Vec<_>>() {
                filler.await.context("a filler panicked")?.context("filling the outbox")?;
            }
            done = end;
        }
        pool.close().await;
        checkpoint(admin).await
    }

    /// A block of PL/pgSQL that commits the transactions `from..to` that fall to this filler.
    fn filling(&self, filler: u32, from: u32, to: u32) -> String {
        let payload = format!(
            "convert_to(rpad(lpad((g / {KEYS})::text, {VERSION}, '0') || lpad(g::text, {NUMBER}, '0') || md5(g::text) || md5((g + 1)::text) \
             || $rest${REST}$rest$, {PAYLOAD}), 'utf8')"
        );
        let insert = self.statement(&format!("'order-{filler}-' || g % {KEYS}"), &payload, "'carts/3/' || g");
        // Of the transactions before `n`, so many were this filler's.
        let mine = |n: u32| n / FILLERS + u32::from(filler < n % FILLERS);
        let (first, end) = (mine(from), mine(to));
        format!(
            "do $fill$ begin for t in {first} .. {last} loop
               {insert} from generate_series(t * {A_TRANSACTION}, t * {A_TRANSACTION} + {A_TRANSACTION} - 1) g;
               commit;
             end loop; end $fill$",
            last = i64::from(end) - 1,
        )
    }
}

/// One, now. `admin` is the superuser's address.
pub async fn checkpoint(admin: &str) -> anyhow::Result<()> {
    let mut conn = PgConnection::connect(admin).await?;
    sqlx::raw_sql("checkpoint").execute(&mut conn).await.context("a checkpoint")?;
    Ok(())
}

async fn fill(url: String, block: String) -> sqlx::Result<()> {
    let mut conn = PgConnection::connect(&url).await?;
    // Only here: nobody measures the filling.
    sqlx::raw_sql("set synchronous_commit = off").execute(&mut conn).await?;
    sqlx::raw_sql(AssertSqlSafe(block)).execute(&mut conn).await?;
    conn.close().await
}

/// The payload of row `number`, the one of `version` of its key.
pub fn payload(version: u64, number: u32) -> String {
    let random = [uuid::Uuid::new_v4().simple().to_string(), uuid::Uuid::new_v4().simple().to_string()].concat();
    let mut payload = format!("{version:0VERSION$}{number:0NUMBER$}{random}{REST}");
    payload.truncate(PAYLOAD);
    payload
}

/// The version and the number in a payload.
pub fn read(payload: &[u8]) -> Option<(u64, u32)> {
    let text = std::str::from_utf8(payload.get(..VERSION + NUMBER)?).ok()?;
    Some((text.get(..VERSION)?.parse().ok()?, text.get(VERSION..)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_what_it_is() {
        let text = payload(7, 42);
        assert_eq!((text.len(), read(text.as_bytes())), (PAYLOAD, Some((7, 42))));
        assert_eq!(read(b"short"), None);
    }

    #[test]
    fn fillers_share_the_transactions_without_gap_or_overlap() {
        let rows = Rows { table: Table::Router, topic: "t".into(), aggregate_type: "t".into() };
        let bounds = |filler, from, to| {
            let block = rows.filling(filler, from, to);
            let (first, rest) = block.split_once("for t in ").unwrap().1.split_once(" .. ").unwrap();
            (first.parse::<i64>().unwrap(), rest.split_once(' ').unwrap().0.parse::<i64>().unwrap())
        };
        assert_eq!([bounds(0, 0, 7), bounds(1, 0, 7), bounds(0, 7, 10), bounds(1, 7, 10)], [(0, 3), (0, 2), (4, 4), (3, 4)]);
    }
}
