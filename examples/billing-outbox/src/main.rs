//! Billing at the command line: `issue CUSTOMER CENTS` and `pay INVOICE CENTS`, a line each, on standard input. At its end the
//! relay goes on publishing until SIGINT, SIGTERM or SIGHUP. It ends with an error when the relay does.
use anyhow::Context as _;
use billing_outbox::{NAME, issue, pay};
use farandole_outbox::Signals;
use farandole_outbox::relay::{self, Relay};
use farandole_outbox::topics::{self, Kafka, Topics};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let prefix = std::env::var("FARANDOLE_TOPICS_PREFIX").unwrap_or_default();
    let kafka = Kafka { bootstrap: env("FARANDOLE_KAFKA_BOOTSTRAP")?, ..Kafka::default() };
    let pool = PgPoolOptions::new().max_connections(8).connect(&env("FARANDOLE_DATABASE_URL")?).await?;

    // Billing's own tables, with its own table of migrations, as ever.
    farandole_outbox::migrations!["0001_invoices.sql", "0002_payments.sql"].run(&pool).await?;
    farandole_outbox::migrate(&pool).await?; // the outbox, in schema `farandole`, with another
    topics::ensure(&kafka, &Topics { prefix: prefix.clone(), ..Topics::default() }, NAME, true).await?;
    let topic = topics::own(&prefix, NAME);

    let config = relay::Config { topics: vec![topic.clone()], ..relay::Config::new(NAME, &kafka.bootstrap) };
    let (relay, wakeup) = Relay::new(pool.clone(), config);
    let (mut relay, mut signals) = (relay.start(), Signals::catch()?);

    let (lines, mut waiting) = mpsc::channel(1);
    // Reading lines takes a thread of its own. It ends with the input, which closes the channel, or with the process.
    std::thread::spawn(move || std::io::stdin().lines().try_for_each(|line| lines.blocking_send(line)));
    loop {
        let line = tokio::select! {
            biased;
            ended = relay.ended() => return ended.context("publishing has stopped"), // somebody must act first
            _ = signals.next() => break,
            Some(line) = waiting.recv() => line?,
        };
        let done = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["issue", customer, cents] => issue(&pool, &topic, customer, cents.parse()?).await.map(|id| format!("invoice {id}")),
            ["pay", invoice, cents] => pay(&pool, &topic, invoice.parse()?, cents.parse()?).await.map(|()| "paid".to_owned()),
            _ => Err(anyhow::anyhow!("`issue CUSTOMER CENTS` or `pay INVOICE CENTS`")),
        };
        wakeup.wake(); // or the relay looks for itself, within 50 ms
        done.map_or_else(|error| eprintln!("{line}: {error:#}"), |words| println!("{words}"));
    }
    Ok(relay.stop().await?)
}
