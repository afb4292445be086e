//! The command line, and what it starts.

use std::sync::Arc;

use clap::{Args, Parser};
use jiff::SignedDuration;
use standin::server::{self, Listening, duration, variable};
use tokio::net::TcpListener;

use crate::book::Cards;
use crate::faults::Faults;
use crate::http::{Acquirer, app};

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
#[command(after_help = EXAMPLES, mut_args = |argument| variable("acquirer", argument))]
pub struct Serve {
    #[command(flatten)]
    listening: Listening,
    #[command(flatten)]
    options: Options,
    /// How long money is held that isn't captured ("90s", "15m", "7d").
    #[arg(long, default_value = "7d", value_parser = duration)]
    hold_for: SignedDuration,
}

/// What an acquirer needs to run.
pub type Options = server::Options<Faults>;

impl Serve {
    pub async fn run(self) -> anyhow::Result<()> {
        let open = || self.options.open(Cards { hold_for: self.hold_for });
        server::serve(&self.listening, open, async |listener, acquirer, stop| {
            run(listener, acquirer, stop.cancelled_owned()).await
        })
        .await
    }
}

/// Opens the book of an acquirer that holds money for ever.
pub fn open(options: &Options) -> anyhow::Result<Arc<Acquirer>> {
    options.open(Cards::default())
}

/// Serves until `shutdown`, then lets requests in flight end.
pub async fn run(listener: TcpListener, acquirer: Arc<Acquirer>, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    server::run(listener, &acquirer, app(Arc::clone(&acquirer)), shutdown).await
}
