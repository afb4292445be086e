//! The statements: follow billing until SIGTERM.

use acme::billing;
use acme::statements::Statements;
use anyhow::Context as _;
use farandole::{Codec, Reader, Signals, intake};
use sqlx::PgPool;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = PgPool::connect(&env("FARANDOLE_DATABASE_URL")?).await?;
    farandole::migrate(&pool).await?; // positions and what is parked, in schema `farandole`
    let codec = Codec::new(&env("FARANDOLE_REGISTRY_URL")?, &pool);
    codec.add_reader_schema(Statements::TYPES)?;
    let config = intake::Config::new("statements", env("FARANDOLE_KAFKA_BOOTSTRAP")?, vec![billing::NAME.to_owned()]);
    let reader = Reader::new(Statements::new(codec.clone()), codec, pool, config).start();
    let mut signals = Signals::catch()?;
    let reading = reader.until(signals.next(), |problems| eprintln!("{problems:?}"));
    reading.await.context("nothing is read any more")
}

fn env(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}
