//! The price list: a table of this service's database, with what orders ask for again and again kept in memory.
//!
//! No event fills the table, so a rebuild leaves it as it is, and a restored backup brings back the prices of its day: who keeps the price
//! list sends it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use farandole::{Problem, Timestamp, http};
use quick_cache::sync::Cache;
use sqlx::{PgPool, Row as _};
use tokio::sync::Mutex;

use crate::basket::Basket;
use crate::price_change::Change;
use crate::prices::{Price, Rules, StalePrice, instead};

/// Articles in memory; some 20 MB.
const ARTICLES: usize = 100_000;
/// How long what is in memory is used unasked. It takes so long until a first price binds everywhere; a later one binds
/// [`Rules::kept_for`] after it came in any case.
const FRESH: Duration = Duration::from_secs(10);
/// Prices of an article in one currency within [`Rules::kept_for`]: more are an error of who sends them.
const MAX_PRICES: i64 = 1_000;

type History = Arc<[Price]>;

/// The price list.
#[derive(Clone)]
pub struct PriceList {
    pool: PgPool,
    rules: Rules,
    kept: Arc<Cache<String, (Instant, History)>>,
    /// One change at a time, so that those that wait hold no connection that orders need.
    changing: Arc<Mutex<()>>,
}

impl PriceList {
    /// The list in this database.
    pub fn new(pool: PgPool, rules: Rules) -> Self {
        Self { pool, rules, kept: Arc::new(Cache::new(ARTICLES)), changing: Arc::default() }
    }

    /// The prices of a basket that hold no more. What is in memory may accept a price; only the table refuses one.
    ///
    /// # Errors
    /// 503 while the database is away.
    pub async fn stale(&self, basket: &Basket) -> Result<Vec<StalePrice>, Problem> {
        let at = now();
        let mut open = BTreeSet::new();
        for line in &basket.lines {
            let known = self.kept.get(&line.sku).filter(|(since, _)| since.elapsed() < FRESH);
            if known.is_none_or(|(_, history)| instead(&history, self.rules, &basket.currency, line.unit_price, at).is_some()) {
                open.insert(line.sku.as_str());
            }
        }
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let read = self.read(open.into_iter().map(str::to_owned).collect()).await?;
        let lines = basket.lines.iter().enumerate().filter_map(|(i, line)| {
            let (now, since) = instead(read.get(&line.sku)?, self.rules, &basket.currency, line.unit_price, at)?;
            let field = format!("lines[{i}].unit_price");
            Some(StalePrice { field, sku: line.sku.clone(), seen: line.unit_price, now, since })
        });
        Ok(lines.collect())
    }

    /// An article's prices, oldest first.
    ///
    /// # Errors
    /// 503 while the database is away.
    pub async fn of(&self, sku: String) -> Result<History, Problem> {
        Ok(self.read(vec![sku.clone()]).await?.remove(&sku).unwrap_or_default())
    }

    /// Until when a price holds that was replaced at `replaced`.
    pub fn holds_until(&self, replaced: Timestamp) -> Timestamp {
        replaced.plus(self.rules.kept_for)
    }

    /// Changes prices from now on, in the order given. One that an article has already is no change. Gives how many there were.
    ///
    /// # Errors
    /// 409 for an article that changes too often; 503 while the database is away.
    pub async fn change(&self, changes: &[Change]) -> Result<u64, Problem> {
        let (mut skus, mut currencies, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            skus.push(change.sku.as_str());
            currencies.push(change.currency.as_str());
            amounts.push(change.unit_price);
        }
        let articles: Vec<&str> = BTreeSet::from_iter(skus.iter().copied()).into_iter().collect();
        let _turn = self.changing.lock().await;
        let now = now();
        let over = now.micros().saturating_sub(i64::try_from(self.rules.kept_for.as_micros()).unwrap_or(i64::MAX));
        let mut transaction = self.pool.begin().await.map_err(http::database)?;
        // One changes prices at a time, so each sees the last one's. Readers don't wait.
        sqlx::query("lock table prices in share row exclusive mode").execute(&mut *transaction).await.map_err(http::database)?;
        let changed = sqlx::query(
            "with asked as (select * from unnest($1::text[], $2::text[], $3::bigint[]) with ordinality as t (sku, currency, unit_price, n)),
             last as (select distinct on (p.sku, p.currency) p.* from prices p
                 join (select distinct sku, currency from asked) a using (sku, currency) order by p.sku, p.currency, p.valid_from desc),
             chain as (select a.*, coalesce(lag(a.unit_price) over w, l.unit_price) as before,
                 greatest($4, coalesce(l.valid_from, 0)) + n as valid_from
                 from asked a left join last l on (l.sku, l.currency) = (a.sku, a.currency)
                 window w as (partition by a.sku, a.currency order by n))
             insert into prices (sku, currency, valid_from, unit_price)
             select sku, currency, valid_from, unit_price from chain where before is distinct from unit_price",
        )
        .bind(&skus)
        .bind(&currencies)
        .bind(&amounts)
        .bind(now.micros())
        .execute(&mut *transaction)
        .await
        .map_err(http::database)?
        .rows_affected();
        // Prices that were replaced so long ago that they hold no more.
        sqlx::query(
            "delete from prices p using (select sku, currency, valid_from, lead(valid_from) over w as replaced from prices
                 where sku = any ($1) window w as (partition by sku, currency order by valid_from)) o
             where (p.sku, p.currency, p.valid_from) = (o.sku, o.currency, o.valid_from) and o.replaced < $2",
        )
        .bind(&articles)
        .bind(over)
        .execute(&mut *transaction)
        .await
        .map_err(http::database)?;
        let restless: Option<(String, String)> = sqlx::query_as(
            "select sku, currency from prices where sku = any ($1) group by sku, currency having count(*) > $2 limit 1",
        )
        .bind(&articles)
        .bind(MAX_PRICES)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(http::database)?;
        if let Some((sku, currency)) = restless {
            let detail =
                format!("{sku} would have had more than {MAX_PRICES} prices in {currency} that still hold; nothing was changed");
            return Err(Problem::conflict("too-many-prices", detail));
        }
        transaction.commit().await.map_err(http::database)?;
        articles.iter().for_each(|sku| drop(self.kept.remove(*sku)));
        Ok(changed)
    }

    /// What the table has, which is then kept in memory: of an article without prices, that it has none.
    async fn read(&self, skus: Vec<String>) -> Result<BTreeMap<String, History>, Problem> {
        let asked = Instant::now();
        let rows =
            sqlx::query("select sku, currency, unit_price, valid_from from prices where sku = any ($1) order by valid_from")
                .bind(&skus)
                .fetch_all(&self.pool)
                .await
                .map_err(http::database)?;
        let mut found: BTreeMap<String, Vec<Price>> = skus.into_iter().map(|sku| (sku, Vec::new())).collect();
        for row in rows {
            let price = Price {
                currency: row.try_get(1).map_err(http::database)?,
                unit_price: row.try_get(2).map_err(http::database)?,
                valid_from: Timestamp::from_micros(row.try_get(3).map_err(http::database)?),
            };
            found.entry(row.try_get(0).map_err(http::database)?).or_default().push(price);
        }
        let histories = found.into_iter().map(|(sku, prices)| (sku, History::from(prices)));
        let histories: BTreeMap<_, _> = histories.collect();
        for (sku, history) in &histories {
            self.kept.insert(sku.clone(), (asked, history.clone()));
        }
        Ok(histories)
    }
}

#[expect(clippy::disallowed_methods, reason = "what is in memory is judged without the database, and a price holds for a day")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
