//! The life-cycle: open the store, listen, serve until told to stop, drain, end.
//!
//! **How it fails:** a data directory that is in use or damaged, or an address that is taken, ends the start with an error. A log that
//! can't be written any more ends the server with an error: an acquirer that forgets is worse than none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use listener::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::faults::{Faults, Switchboard};
use crate::http::{Acquirer, app};
use crate::store::Store;

/// How long requests in flight may take after the stop; then their connections are closed.
const DRAIN: Duration = Duration::from_secs(5);

/// What an acquirer needs to run.
#[derive(Clone, Debug)]
pub struct Options {
    pub data: PathBuf,
    pub key_retention: SignedDuration,
    pub faults: Faults,
}

/// Opens the store: done before the socket is announced, so whoever finds the address finds all authorisations.
pub fn open(options: &Options) -> anyhow::Result<Arc<Acquirer>> {
    let store = Store::open(&options.data, options.key_retention, Timestamp::now())
        .with_context(|| format!("opening the data directory {}", options.data.display()))?;
    let faults = Switchboard::new(options.faults.clone());
    Ok(Arc::new(Acquirer::new(store, faults, CancellationToken::new())))
}

/// Serves until `shutdown`, then lets requests in flight end.
pub async fn run(listener: TcpListener, acquirer: Arc<Acquirer>, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let closing = acquirer.closing.clone();
    let stop = closing.clone();
    let routes = app(Arc::clone(&acquirer));
    let serve = listener::serve(listener, routes, Limits::default(), async move { stop.cancelled().await });
    tokio::pin!(serve);
    tokio::select! {
        ended = &mut serve => return ended.context("serving"),
        () = acquirer.store.failed() => bail!("the log can't be written any more"),
        () = shutdown => closing.cancel(),
    }
    match tokio::time::timeout(DRAIN, serve).await {
        Ok(ended) => ended.context("draining"),
        Err(_) => {
            tracing::warn!(seconds = DRAIN.as_secs(), "requests were still in flight at the end of the drain");
            Ok(())
        }
    }
}

/// Writes the bound address to a file, whole or not at all, for whoever waits for it.
pub fn announce(address: std::net::SocketAddr, path: &Path) -> anyhow::Result<()> {
    let unfinished = path.with_extension("tmp");
    std::fs::write(&unfinished, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&unfinished, path))
        .with_context(|| format!("writing the port file {}", path.display()))
}

/// Removes what an earlier process announced: whoever waits for the file must not find a dead address.
pub fn withdraw(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the old port file {}", path.display()))
        }
        _ => Ok(()),
    }
}
