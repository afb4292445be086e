//! The mailing list: listens to billing until SIGINT.
use anyhow::Context as _;
use farandole::{Codec, Reader, intake, topics};
use mailing_list::MailingList;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let prefix = std::env::var("FARANDOLE_TOPICS_PREFIX").unwrap_or_default();
    let options = farandole::engine::session::bounded(env("FARANDOLE_DATABASE_URL")?.parse()?);
    let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await?;

    farandole::migrate(&pool).await?; // positions and what is parked, in schema `farandole`; its own tables are there already

    let codec = Codec::json(); // or `Codec::new(registry, …)`, which reads Avro as well
    let group = format!("{prefix}mailing-list");
    let config = intake::Config::new(group, env("FARANDOLE_KAFKA_BOOTSTRAP")?, vec![topics::own(&prefix, "billing")]);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| told.cancel()) });
    Ok(Reader::new(MailingList::new(codec.clone()), codec, pool, config).run(stop).await?)
}
