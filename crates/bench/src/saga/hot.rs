//! Ten thousand buyers of a hundred pieces: of one article, and, beside it, of a hundred articles of which there is one each. Either way a
//! hundred get one and the others are told that there is none, so what differs is how many rows of inventory's they meet on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sqlx::Connection as _;

use super::basket::Range;
use super::open::{self, Progress, Schedule};
use super::shop::Running;
use super::timeline::Step;
use super::watch::Watch;

/// Pieces in all.
const PIECES: u64 = 100;
/// Orders a second at which the buyers come: more than are taken, so that they queue.
const RUSH: f64 = 20_000.0;
/// How long all of them may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// One article, or as many as pieces.
pub fn range(name: String, is_hot: bool) -> Range {
    let articles = if is_hot { 1 } else { PIECES };
    Range { name, articles, pieces: PIECES / articles }
}

/// What became of the buyers of one range of articles.
#[derive(Debug, Clone, Copy)]
pub struct Rush {
    /// Orders that inventory decided on, a second.
    pub decided: f64,
    /// Orders that were settled, a second, from the first that was due.
    pub settled: f64,
    pub reserved: u64,
    pub short: u64,
}

/// Lets `buyers` of a piece each of `range` come, and checks what they got. `first` is the number of the first order.
///
/// # Errors
/// When it isn't a hundred that got one, by the topics or by inventory's database.
pub async fn run(shop: &Running, watch: &Watch, range: &Range, buyers: u64, first: u64) -> anyhow::Result<Rush> {
    ensure!(range.articles * range.pieces == PIECES, "there are to be {PIECES} pieces");
    shop.receive(range).await?;
    let settled = watch.counts.settled.load(Relaxed);
    let progress = Arc::new(Progress::default());
    let (orders, wanted) = (Arc::clone(&shop.orders), range.clone());
    let schedule = Schedule::new(RUSH, buyers);
    let sent = open::run(schedule, Arc::clone(&progress), move |k| {
        let (orders, body) = (Arc::clone(&orders), wanted.piece(first + k));
        async move {
            let answer = orders.post("/orders", Some(&format!("bench-{}", first + k)), body).await?.json()?;
            Ok(answer["order_id"].as_str().context("an order without an id")?.parse::<uuid::Uuid>()?)
        }
    })
    .await?;
    let until = Instant::now() + PATIENCE;
    while watch.counts.settled.load(Relaxed) - settled < buyers {
        let open = buyers - (watch.counts.settled.load(Relaxed) - settled);
        ensure!(Instant::now() < until, "{open} of {buyers} orders aren't settled after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = schedule.start.elapsed().as_secs_f64();
    let ids: Vec<uuid::Uuid> = sent.into_iter().map(|sent| sent.answer.map_err(anyhow::Error::msg)).collect::<Result<_, _>>()?;
    ensure!(ids.len() as u64 == buyers, "{} of {buyers} orders were taken", ids.len());
    let timeline = shop.timeline().await?;
    let (mut reserved, mut short, mut decided) = (0, 0, Vec::with_capacity(ids.len()));
    for id in &ids {
        let order = timeline.orders.get(id).with_context(|| format!("order {id} isn't on the topics"))?;
        let (got, none) = (order.at(Step::Reserved), order.short);
        ensure!(got.told + none.told == 1, "inventory told of {id} {} times", got.told + none.told);
        ensure!((order.at(Step::Confirmed).told, order.refused) == (got.told, none.told), "{id} ended otherwise than it began");
        (reserved, short) = (reserved + u64::from(got.told), short + u64::from(none.told));
        decided.push(got.decided.max(none.decided));
    }
    decided.sort_unstable();
    let span = (decided.last().copied().unwrap_or(0) - decided.first().copied().unwrap_or(0)) as f64 / 1e6;
    let mut conn = sqlx::PgConnection::connect(shop.database("inventory")).await.context("asking inventory's database")?;
    let sql = "select coalesce(sum(reserved), 0)::bigint, coalesce(sum(received), 0)::bigint from stock where sku like $1";
    let (held, received): (i64, i64) = sqlx::query_as(sql).bind(format!("{}%", range.name)).fetch_one(&mut conn).await?;
    conn.close().await?;
    let sold = range.sold(first..first + buyers);
    let counted = (reserved, short, held.unsigned_abs(), received.unsigned_abs());
    ensure!(
        counted == (sold, buyers - sold, sold, PIECES),
        "reserved and short by the topics, reserved and received by the database are {counted:?}: {buyers} orders for {PIECES} pieces"
    );
    Ok(Rush { decided: (buyers - 1) as f64 / span, settled: buyers as f64 / took, reserved, short })
}
