//! The command line and the life-cycle: open the store, listen, serve until told to stop, drain, end.
//!
//! **How it fails:** a data directory that is in use or damaged, or an address that is taken, ends the start with an error. A database
//! that can't be written any more ends the server with an error: a stand-in that forgets is worse than none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use clap::{Arg, Args};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use listener::Limits;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::book::{Book, Trade};
use crate::faults::Faults;
use crate::http::Standin;

/// How long requests in flight may take after the stop; then their connections are closed.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Where a stand-in is found.
#[derive(Debug, Args)]
pub struct Listening {
    /// Address to listen on; port 0 takes a free one. There is no access control: keep it on a trusted network.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// File to write the bound address (HOST:PORT) to once listening.
    #[arg(long, value_name = "PATH")]
    port_file: Option<PathBuf>,
}

/// What every stand-in needs to run.
#[derive(Clone, Debug, Args)]
pub struct Options<F: Faults> {
    /// Directory of the database; created if it isn't there. One process at a time.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// How long an idempotency key is remembered ("90s", "15m", "24h").
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub key_retention: SignedDuration,
    /// Faults from the start, as the body of PUT /faults.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = |text: &str| F::read(text.as_bytes()))]
    pub faults: F,
}

impl<F: Faults> Options<F> {
    /// Opens the book: done before the socket is announced, so whoever finds the address finds all records.
    pub fn open<T: Trade<Faults = F>>(&self, trade: T) -> anyhow::Result<Arc<Standin<T>>> {
        let opened = Book::open_for(&self.data, self.key_retention, trade)
            .and_then(|book| Standin::new(book, self.faults.clone()))
            .with_context(|| format!("opening the data directory {}", self.data.display()))?;
        Ok(Arc::new(opened))
    }
}

/// A time on the command line: "90s", "24h", "7d".
pub fn duration(text: &str) -> anyhow::Result<SignedDuration> {
    let time = text.parse::<Span>()?.to_duration(SpanRelativeTo::days_are_24_hours())?;
    if time.is_positive() { Ok(time) } else { bail!("must be longer than nothing") }
}

/// An argument that may also be set as an environment variable: `--key-retention` of the acquirer is `ACQUIRER_KEY_RETENTION`.
pub fn variable(of: &str, argument: Arg) -> Arg {
    if argument.get_long().is_none() {
        return argument;
    }
    let name = format!("{of}_{}", argument.get_id()).to_uppercase();
    // Names are static to the command line's reader: a few, once in a process.
    argument.env(&*name.leak())
}

/// Logs as JSON to stderr, runs, says how it ended.
pub async fn process(run: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(level).with_writer(std::io::stderr).init();
    match run.await {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended");
            ExitCode::FAILURE
        }
    }
}

/// Opens, listens, announces and runs until SIGTERM or SIGINT.
pub async fn serve<S>(
    listening: &Listening,
    open: impl FnOnce() -> anyhow::Result<S>,
    run: impl AsyncFnOnce(TcpListener, S, CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // Before anything is announced, so that no signal finds the default, which is to die.
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let port_file = listening.port_file.as_deref();
    port_file.map_or(Ok(()), withdraw)?;
    let standin = open()?;
    let listener = TcpListener::bind(listening.listen).await.with_context(|| format!("listening on {}", listening.listen))?;
    let address = listener.local_addr().context("asking for the bound address")?;
    println!("http://{address}");
    port_file.map_or(Ok(()), |path| announce(address, path))?;
    tracing::info!(%address, "listening");
    let stop = CancellationToken::new();
    let stopping = async {
        let signal = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
        tracing::info!(signal, "stopping");
        stop.cancel();
        std::future::pending().await
    };
    tokio::select! {
        ended = run(listener, standin, stop.clone()) => ended,
        () = stopping => Ok(()),
    }
}

/// Removes what an earlier process announced: whoever waits for the file must not find a dead address.
fn withdraw(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("removing the old port file {}", path.display())),
    }
}

/// Writes the bound address to a file, whole or not at all, for whoever waits for it.
fn announce(address: SocketAddr, path: &Path) -> anyhow::Result<()> {
    let unfinished = path.with_extension("tmp");
    let written = std::fs::write(&unfinished, format!("{address}\n")).and_then(|()| std::fs::rename(&unfinished, path));
    written.with_context(|| format!("writing the port file {}", path.display()))
}

/// Serves until `shutdown`, then lets requests in flight end.
pub async fn run<T: Trade>(
    listener: TcpListener,
    standin: &Standin<T>,
    routes: Router,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let stop = standin.closing.clone().cancelled_owned();
    let serve = listener::serve(listener, routes, Limits::default(), stop);
    tokio::pin!(serve);
    tokio::select! {
        ended = &mut serve => return ended.context("serving"),
        () = standin.store.failed() => bail!("the database can't be written any more"),
        () = shutdown => standin.closing.cancel(),
    }
    match tokio::time::timeout(DRAIN, serve).await {
        Ok(ended) => ended.context("draining"),
        Err(_) => {
            tracing::warn!(seconds = DRAIN.as_secs(), "requests were still in flight at the end of the drain");
            Ok(())
        }
    }
}
