//! The command line, and what it starts: the interface, the clock, the sender.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Parser};
use jiff::SignedDuration;
use reqwest::Url;
use standin::server::{self, Listening, duration, variable};
use tokio::net::TcpListener;

use crate::book::{Bells, Carriage};
use crate::clock;
use crate::faults::Faults;
use crate::http::{Carrier, app};
use crate::sender::Sender;
use crate::webhook::Signer;

/// The secret itself; no argument, for those can be seen by everybody on the machine.
const SECRET: &str = "CARRIER_WEBHOOK_SECRET";

const EXAMPLES: &str = "\
Examples:
  carrier serve --data /var/lib/carrier --listen 0.0.0.0:8091 --transit 1h
  carrier serve --data ./c --webhook-url http://127.0.0.1:8086/carrier/reports --webhook-secret-file ./secret

Exit codes: 0 stopped when told to, 1 could not start or lost its database, 2 wrong arguments.";

/// A stand-in for a parcel carrier: book and recall over HTTP, reports by webhooks, with faults that can be switched on.
#[derive(Debug, Parser)]
#[command(name = "carrier", version, after_help = EXAMPLES)]
pub enum Cli {
    /// Serve until SIGTERM or SIGINT.
    Serve(Serve),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_args = |argument| variable("carrier", argument))]
pub struct Serve {
    #[command(flatten)]
    listening: Listening,
    #[command(flatten)]
    options: server::Options<Faults>,
    /// How long a parcel is under way ("2s", "1h", "3d").
    #[arg(long, default_value = "2s", value_parser = duration)]
    transit: SignedDuration,
    /// Where changes are reported; without it, nowhere.
    #[arg(long, value_name = "URL")]
    webhook_url: Option<Url>,
    /// File with the secret that webhooks are signed with: whsec_ and base64. CARRIER_WEBHOOK_SECRET holds the secret itself.
    #[arg(long, value_name = "PATH")]
    webhook_secret_file: Option<PathBuf>,
}

impl Serve {
    pub async fn run(self) -> anyhow::Result<()> {
        let (sender, bells) = (self.sender()?.map(Arc::new), Arc::new(Bells::default()));
        let carriage = Carriage { transit: self.transit, reports: sender.is_some(), bells: Arc::clone(&bells) };
        let open = || self.options.open(carriage);
        server::serve(&self.listening, open, async |listener, carrier, stop| {
            run(listener, carrier, sender, bells, stop.cancelled_owned()).await
        })
        .await
    }

    fn sender(&self) -> anyhow::Result<Option<Sender>> {
        let Some(url) = &self.webhook_url else { return Ok(None) };
        let secret = match (&self.webhook_secret_file, std::env::var(SECRET)) {
            (Some(_), Ok(_)) => bail!("give --webhook-secret-file or {SECRET}, not both"),
            (Some(path), Err(_)) => {
                std::fs::read_to_string(path).with_context(|| format!("reading the webhook secret from {}", path.display()))?
            }
            (None, Ok(secret)) => secret,
            (None, Err(_)) => bail!("--webhook-url needs --webhook-secret-file or {SECRET}: webhooks are signed"),
        };
        Sender::new(url.clone(), Signer::new(&secret)?).map(Some)
    }
}

/// Serves until `shutdown`, then lets requests and webhooks under way end.
pub async fn run(
    listener: TcpListener,
    carrier: Arc<Carrier>,
    sender: Option<Arc<Sender>>,
    bells: Arc<Bells>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let send = async {
        if let Some(sender) = sender {
            sender.run(Arc::clone(&carrier), Arc::clone(&bells)).await;
        }
    };
    let serve = async {
        let ended = server::run(listener, &carrier, app(Arc::clone(&carrier)), shutdown).await;
        // However it ended: nothing goes on without it.
        carrier.closing.cancel();
        ended
    };
    let (ended, (), ()) = tokio::join!(serve, clock::run(&carrier, &bells), send);
    ended
}
