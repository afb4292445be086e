//! The board: listens to analytics until SIGINT, SIGTERM or SIGHUP.

use anyhow::Context as _;
use farandole::{Codec, Reader, Signals, intake, topics};
use revenue_board::Board;
use sqlx::postgres::PgPoolOptions;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let prefix = std::env::var("FARANDOLE_TOPICS_PREFIX").unwrap_or_default();
    let pool = PgPoolOptions::new().max_connections(4).connect(&env("FARANDOLE_DATABASE_URL")?).await?;

    farandole::migrate(&pool).await?; // positions and what is parked, in schema `farandole`; its own table is there already

    let codec = Codec::new(&env("FARANDOLE_REGISTRY_URL")?, &pool);
    let board = Board::new(codec.clone())?;
    let group = format!("{prefix}revenue-board");
    let config = intake::Config::new(group, env("FARANDOLE_KAFKA_BOOTSTRAP")?, vec![topics::own(&prefix, "analytics")]);
    let reader = Reader::new(board, codec, pool, config).start();
    let mut signals = Signals::catch()?;
    let reading = reader.until(signals.next(), |troubles| match troubles {
        [] => eprintln!("reading"),
        troubles => troubles.iter().for_each(|trouble| eprintln!("{trouble}")),
    });
    reading.await.context("reading has stopped")
}
