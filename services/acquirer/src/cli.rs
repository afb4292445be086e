//! The command line. Data goes to stdout (the bound address), words go to stderr (JSON logs).

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::faults::Faults;
use crate::http::read_faults;
use crate::server::{self, Options};

const EXAMPLES: &str = "\
Examples:
  acquirer serve --data ./acquirer-data
  acquirer serve --data /var/lib/acquirer --listen 0.0.0.0:8090 --key-retention 15m
  acquirer serve --data ./a --port-file ./a/port --faults '{\"fail_after_rate\":0.1,\"seed\":7}'

Card tokens: tok_decline…, tok_lost…, tok_expired… are declined, tok_limit_5000… over 5000 minor units.

Exit codes: 0 stopped when told to, 1 could not start or lost its log, 2 wrong arguments.";

/// A stand-in for a card acquirer: authorise, capture, void, refund over HTTP, with faults that can be switched on.
#[derive(Debug, Parser)]
#[command(name = "acquirer", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve until SIGTERM or SIGINT.
    Serve(Serve),
}

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one. There is no access control: keep it on a trusted network.
    #[arg(long, env = "ACQUIRER_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Directory of the log; made if it isn't there. One process at a time.
    #[arg(long, env = "ACQUIRER_DATA", value_name = "DIR")]
    data: PathBuf,
    /// How long an idempotency key is remembered ("90s", "15m", "24h").
    #[arg(long, env = "ACQUIRER_KEY_RETENTION", default_value = "24h", value_parser = retention)]
    key_retention: SignedDuration,
    /// File to write the bound address (HOST:PORT) to once listening.
    #[arg(long, env = "ACQUIRER_PORT_FILE", value_name = "PATH")]
    port_file: Option<PathBuf>,
    /// Faults from the start, as the body of PUT /faults.
    #[arg(long, env = "ACQUIRER_FAULTS", value_name = "JSON", default_value = "{}", value_parser = faults)]
    faults: Faults,
}

// === impl Serve ===

impl Serve {
    pub async fn run(self) -> anyhow::Result<()> {
        // Before anything is announced, so that no signal finds the default, which is to die.
        let stop = Stop::listen()?;
        self.port_file.as_deref().map_or(Ok(()), server::withdraw)?;
        let options = Options { data: self.data, key_retention: self.key_retention, faults: self.faults };
        let acquirer = server::open(&options)?;
        let listener = TcpListener::bind(self.listen).await.with_context(|| format!("listening on {}", self.listen))?;
        let address = listener.local_addr().context("asking for the bound address")?;
        println!("http://{address}");
        if let Some(path) = &self.port_file {
            server::announce(address, path)?;
        }
        tracing::info!(%address, data = %options.data.display(), key_retention = %options.key_retention, "listening");
        server::run(listener, acquirer, stop.wait()).await
    }
}

/// The signals that end the service.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
        })
    }

    async fn wait(mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
    }
}

fn retention(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(time) if time.is_positive() => Ok(time),
        Ok(_) => Err("must be longer than nothing".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn faults(text: &str) -> Result<Faults, String> {
    read_faults(text.as_bytes()).map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_is_wrong() {
        for (args, good) in [
            (&["--data", "d"][..], true),
            (&["--data", "d", "--key-retention", "15m"], true),
            (&["--data", "d", "--key-retention", "0s"], false),
            (&["--data", "d", "--key-retention", "soon"], false),
            (&["--data", "d", "--faults", r#"{"fail_rate":0.5}"#], true),
            (&["--data", "d", "--faults", r#"{"fail_rate":1.5}"#], false),
            (&["--data", "d", "--listen", "nowhere"], false),
            (&[], false),
        ] {
            let line = ["acquirer", "serve"].iter().chain(args);
            assert_eq!(Cli::try_parse_from(line).is_ok(), good, "{args:?}");
        }
    }
}
