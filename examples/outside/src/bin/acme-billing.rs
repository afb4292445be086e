//! Billing at the command line.

use acme::billing::{self, Event, NAME};
use anyhow::{Context as _, bail};
use farandole_outbox::relay::{self, Relay};
use farandole_outbox::topics::{self, Kafka, Topics};
use farandole_outbox::{Codec, Message as _, Signals};
use sqlx::PgPool;

const USAGE: &str = "\
acme-billing relay              publishes what was appended, until SIGTERM
acme-billing issue COUNT DAYS   issues COUNT invoices, due in DAYS days
acme-billing pay COUNT          pays COUNT invoices

FARANDOLE_DATABASE_URL, FARANDOLE_KAFKA_BOOTSTRAP and FARANDOLE_REGISTRY_URL name the servers.";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let pool = PgPool::connect(&env("FARANDOLE_DATABASE_URL")?).await?;
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["relay"] => publish(&pool).await,
        ["issue", count, days] => {
            let (count, days) = (count.parse::<i64>()?, days.parse()?);
            let codec = codec(&pool).await?;
            for n in 0..count {
                billing::issue(&pool, &codec, &format!("customer-{}", n % 10), 100 + n, days).await?;
            }
            Ok(())
        }
        ["pay", count] => {
            let codec = codec(&pool).await?;
            for n in 0..count.parse()? {
                billing::pay(&pool, &codec).await?.with_context(|| format!("after {n} of them all invoices are paid"))?;
            }
            Ok(())
        }
        _ => bail!(USAGE),
    }
}

/// Writes values in Avro; the ids of the schemas are in the registry, and kept in the database.
async fn codec(pool: &PgPool) -> anyhow::Result<Codec> {
    let codec = Codec::new(&env("FARANDOLE_REGISTRY_URL")?, pool);
    codec.register(NAME, Event::TYPES).await?;
    Ok(codec)
}

/// Creates the outbox and the topic if they are missing, and publishes.
async fn publish(pool: &PgPool) -> anyhow::Result<()> {
    let kafka = Kafka { bootstrap: env("FARANDOLE_KAFKA_BOOTSTRAP")?, ..Kafka::default() };
    farandole_outbox::migrate(pool).await?;
    topics::ensure(&kafka, &Topics::default(), NAME, true).await?;
    let config = relay::Config {
        source: Some("/acme/billing".to_owned()), // `ce_source`, by our own convention
        topics: vec![NAME.to_owned()],
        ..relay::Config::new(NAME, &kafka.bootstrap)
    };
    let (relay, _) = Relay::new(pool.clone(), config);
    let mut signals = Signals::catch()?;
    let publishing = relay.start().until(signals.next(), |problems| eprintln!("{problems:?}"));
    publishing.await.context("nothing is published any more")
}

fn env(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}
