//! The mailing list: listens to billing until SIGINT, SIGTERM or SIGHUP.

use anyhow::Context as _;
use farandole::{Codec, Reader, Signals, intake, topics};
use mailing_list::MailingList;
use sqlx::postgres::PgPoolOptions;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let prefix = std::env::var("FARANDOLE_TOPICS_PREFIX").unwrap_or_default();
    let pool = PgPoolOptions::new().max_connections(4).connect(&env("FARANDOLE_DATABASE_URL")?).await?;

    farandole::migrate(&pool).await?; // positions and what is parked, in schema `farandole`; its own tables are there already

    let codec = Codec::json(); // or `Codec::new(registry, …)`, which reads Avro as well
    let group = format!("{prefix}mailing-list");
    let config = intake::Config::new(group, env("FARANDOLE_KAFKA_BOOTSTRAP")?, vec![topics::own(&prefix, "billing")]);
    let reader = Reader::new(MailingList::new(codec.clone()), codec, pool, config).start();
    let mut signals = Signals::catch()?;
    // What a program with HTTP would answer to its probes: why nothing comes, while nothing does.
    let reading = reader.until(signals.next(), |troubles| match troubles {
        [] => eprintln!("reading"),
        troubles => troubles.iter().for_each(|trouble| eprintln!("{trouble}")),
    });
    reading.await.context("reading has stopped")
}
