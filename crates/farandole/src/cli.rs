//! A service's command line: a thin skin over [`Service`].
//!
//! Data go to standard output, words and logs to standard error. Exit codes: 0 done or stopped as told, 1 failed, 2 wrong
//! usage or configuration.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use serde::{Serialize, de::DeserializeOwned};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::agenda::Effects;
use crate::config::Config;
use crate::engine::chain_of;
use crate::participant::Participant;
use crate::service::{Bound, Error, Missing, Service};
use crate::telemetry;

const FAILED: u8 = 1;
const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  Make or update tables, topics and schemas, then serve:
    NAME migrate --config NAME.toml && NAME serve --config NAME.toml
  The same in one, for a first try:
    FARANDOLE_DATABASE_URL=postgres://me:secret@127.0.0.1:5432/NAME NAME serve --migrate
  Show all settings, with where each comes from:
    NAME --print-config

Every setting `field` of `[section]` is also the variable FARANDOLE_SECTION_FIELD, which wins over the file.

Exit codes: 0 done, or stopped as told; 1 failed; 2 wrong usage or configuration.";

#[derive(Debug, Parser)]
#[command(version, about = "A Farandole service.")]
struct Cli {
    /// TOML file with settings.
    #[arg(long, global = true, env = "FARANDOLE_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
    /// Print the effective configuration as TOML, without secrets, and end.
    #[arg(long, global = true)]
    print_config: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve until SIGTERM or SIGINT; a second one ends at once. What is told when no verb is given.
    Serve {
        /// Make what is missing of tables, topics and schemas first.
        #[arg(long)]
        migrate: bool,
    },
    /// Make or update tables, topics and schemas. May run again, and while the service runs.
    Migrate,
    /// Tell what the service hears, publishes and keeps.
    Describe {
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print the OpenAPI description of the routes.
    Openapi,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// What a service's `main` consists of: command line, configuration, logging, runtime, signals. `build` makes the service from
/// the configuration and its own settings; what it refuses counts as wrong configuration.
pub fn main<S, P, E>(
    name: &'static str,
    build: impl FnOnce(&Config, S) -> Result<Service<P, E>, Box<dyn StdError + Send + Sync>>,
) -> ExitCode
where
    S: Serialize + DeserializeOwned + Default,
    P: Participant,
    E: Effects<P>,
{
    let command = Cli::command().name(name).bin_name(name).after_help(EXAMPLES.replace("NAME", name));
    let cli = match command.try_get_matches().and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let loaded = match Config::load::<S>(cli.config.as_deref(), environment()) {
        Ok(loaded) => loaded,
        Err(error) => return usage(&error),
    };
    if cli.print_config {
        print!("{}", loaded.printed);
        return ExitCode::SUCCESS;
    }
    let verb = cli.verb.unwrap_or(Verb::Serve { migrate: false });
    let works = matches!(verb, Verb::Serve { .. } | Verb::Migrate);
    if works {
        if let Err(error) = loaded.config.check() {
            return usage(&error);
        }
        telemetry::init(&loaded.config.log);
    }
    // Before `build`: an HTTP client of its own may need it. An error means that there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let service = match build(&loaded.config, loaded.own) {
        Ok(service) => service,
        Err(error) => return usage(&*error),
    };
    let result = match verb {
        Verb::Serve { migrate } => {
            let missing = if migrate { Missing::Make } else { Missing::Refuse };
            on_runtime(loaded.config, async |config| serve(service, config, missing).await)
        }
        Verb::Migrate => on_runtime(loaded.config, async |config| service.migrate(&config).await),
        Verb::Describe { output } => return describe(&service, &loaded.config, output),
        Verb::Openapi => {
            return match service.openapi_json() {
                Some(json) => {
                    print!("{json}");
                    ExitCode::SUCCESS
                }
                None => {
                    eprintln!("{name} has no described routes");
                    ExitCode::from(FAILED)
                }
            };
        }
    };
    match result {
        Ok(()) => {
            tracing::info!("done");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = chain_of(&*error), "failed");
            ExitCode::from(if matches!(error.downcast_ref(), Some(Error::Config(_))) { USAGE } else { FAILED })
        }
    }
}

fn environment() -> impl Iterator<Item = (String, String)> {
    // A name or value that isn't text can't be one of ours.
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn usage(error: &(dyn StdError + 'static)) -> ExitCode {
    eprintln!("{}", chain_of(error));
    ExitCode::from(USAGE)
}

fn describe<P: Participant, E>(service: &Service<P, E>, config: &Config, output: Output) -> ExitCode {
    let description = service.description(config);
    match output {
        Output::Text => print!("{description}"),
        // Text and lists of text always are JSON.
        Output::Json => println!("{}", serde_json::to_string_pretty(&description).unwrap_or_default()),
    }
    ExitCode::SUCCESS
}

fn on_runtime(
    config: Config,
    work: impl AsyncFnOnce(Config) -> Result<(), Error>,
) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.process.worker_threads)
        // For name look-ups and questions to the brokers only.
        .max_blocking_threads(8)
        .thread_name("worker")
        .enable_all()
        .build()?;
    let result = runtime.block_on(work(config));
    // What was abandoned isn't waited for.
    runtime.shutdown_background();
    Ok(result?)
}

async fn serve<P: Participant, E: Effects<P>>(service: Service<P, E>, config: Config, missing: Missing) -> Result<(), Error> {
    let bound = Bound::bind(&config.http).await?;
    let shutdown = CancellationToken::new();
    let told = tokio::spawn(signals(shutdown.clone()));
    let result = service.serve(bound, config, missing, shutdown).await;
    told.abort();
    result
}

/// The first SIGTERM or SIGINT stops in order, the second at once.
async fn signals(shutdown: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::warn!("signals can't be caught; SIGTERM will end the service at once");
        return;
    };
    let mut next = async || {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    };
    let first = next().await;
    tracing::info!(signal = first, "stopping; a second signal ends at once");
    shutdown.cancel();
    let second = next().await;
    tracing::warn!(signal = second, "ended by a second signal");
    std::process::exit(i32::from(FAILED));
}
