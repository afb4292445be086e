//! The kit's relay alone in a process, as a service runs it, so that its CPU seconds and its memory are its own.
//!
//! Started by the other side of [`crate::publisher`], with its settings in the environment: a command line shows passwords.

use anyhow::Context as _;
use farandole::relay::{Config, Relay};
use sqlx::postgres::PgPoolOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

/// The outbox's address.
pub const DATABASE: &str = "BENCH_RELAY_DATABASE";
/// The brokers.
pub const KAFKA: &str = "BENCH_RELAY_KAFKA";
/// The topics that the service declares, separated by commas.
pub const TOPICS: &str = "BENCH_RELAY_TOPICS";

/// Publishes until SIGTERM.
pub async fn run() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(LevelFilter::WARN).init();
    let setting = |name| std::env::var(name).with_context(|| format!("{name} isn't set; `relay` starts this by itself"));
    // As many connections as a service's relay has.
    let pool = PgPoolOptions::new().max_connections(3).connect(&setting(DATABASE)?).await.context("connecting")?;
    let mut config = Config::new("bench", setting(KAFKA)?);
    config.topics = setting(TOPICS)?.split(',').filter(|topic| !topic.is_empty()).map(str::to_owned).collect();
    let (relay, _) = Relay::new(pool, config);
    let shutdown = CancellationToken::new();
    let mut told = signal(SignalKind::terminate())?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        told.recv().await;
        stop.cancel();
    });
    relay.run(shutdown).await.context("the relay")
}
