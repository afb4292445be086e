//! The command line and the life-cycle: open the store, listen, serve until told to stop, drain, end.
//!
//! **How it fails:** a data directory that is in use or damaged, or an address that is taken, ends the start with an error. A database
//! that can't be written any more ends the server with an error: an acquirer that forgets is worse than none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser};
use jiff::SignedDuration;
use listener::Limits;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::faults::Faults;
use crate::http::{Acquirer, app};
use crate::store::Store;

/// How long requests in flight may take after the stop; then their connections are closed.
const DRAIN: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  acquirer serve --data /var/lib/acquirer --listen 0.0.0.0:8090 --key-retention 15m
  acquirer serve --data ./a --port-file ./a/port --faults '{\"fail_after_rate\":0.1,\"seed\":7}'

Exit codes: 0 stopped when told to, 1 could not start or lost its database, 2 wrong arguments.";

/// A stand-in for a card acquirer: authorise, capture, void, refund over HTTP, with faults that can be switched on.
#[derive(Debug, Parser)]
#[command(name = "acquirer", version, after_help = EXAMPLES)]
pub enum Cli {
    /// Serve until SIGTERM or SIGINT.
    Serve(Serve),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one. There is no access control: keep it on a trusted network.
    #[arg(long, env = "ACQUIRER_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// File to write the bound address (HOST:PORT) to once listening.
    #[arg(long, env = "ACQUIRER_PORT_FILE", value_name = "PATH")]
    port_file: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// What an acquirer needs to run.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Directory of the database; made if it isn't there. One process at a time.
    #[arg(long, env = "ACQUIRER_DATA", value_name = "DIR")]
    pub data: PathBuf,
    /// How long an idempotency key is remembered ("90s", "15m", "24h").
    #[arg(long, env = "ACQUIRER_KEY_RETENTION", default_value = "24h", value_parser = retention)]
    pub key_retention: SignedDuration,
    /// Faults from the start, as the body of PUT /faults.
    #[arg(long, env = "ACQUIRER_FAULTS", value_name = "JSON", default_value = "{}", value_parser = |text: &str| Faults::read(text.as_bytes()))]
    pub faults: Faults,
}

impl Serve {
    pub async fn run(self) -> anyhow::Result<()> {
        // Before anything is announced, so that no signal finds the default, which is to die.
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let (port_file, options) = (self.port_file.as_deref(), &self.options);
        port_file.map_or(Ok(()), withdraw)?;
        let acquirer = open(options)?;
        let listener = TcpListener::bind(self.listen).await.with_context(|| format!("listening on {}", self.listen))?;
        let address = listener.local_addr().context("asking for the bound address")?;
        println!("http://{address}");
        port_file.map_or(Ok(()), |path| announce(address, path))?;
        tracing::info!(%address, data = %options.data.display(), key_retention = %options.key_retention, "listening");
        let stop = async move {
            let signal = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            tracing::info!(signal, "stopping");
        };
        run(listener, acquirer, stop).await
    }
}

fn retention(text: &str) -> anyhow::Result<SignedDuration> {
    let time: SignedDuration = text.parse()?;
    if time.is_positive() { Ok(time) } else { bail!("must be longer than nothing") }
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

/// Opens the store: done before the socket is announced, so whoever finds the address finds all authorisations.
pub fn open(options: &Options) -> anyhow::Result<Arc<Acquirer>> {
    let store = Store::open(&options.data, options.key_retention)
        .with_context(|| format!("opening the data directory {}", options.data.display()))?;
    Ok(Arc::new(Acquirer::new(store, options.faults.clone())))
}

/// Serves until `shutdown`, then lets requests in flight end.
pub async fn run(listener: TcpListener, acquirer: Arc<Acquirer>, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let stop = acquirer.closing.clone().cancelled_owned();
    let serve = listener::serve(listener, app(Arc::clone(&acquirer)), Limits::default(), stop);
    tokio::pin!(serve);
    tokio::select! {
        ended = &mut serve => return ended.context("serving"),
        () = acquirer.store.failed() => bail!("the database can't be written any more"),
        () = shutdown => acquirer.closing.cancel(),
    }
    match tokio::time::timeout(DRAIN, serve).await {
        Ok(ended) => ended.context("draining"),
        Err(_) => {
            tracing::warn!(seconds = DRAIN.as_secs(), "requests were still in flight at the end of the drain");
            Ok(())
        }
    }
}
