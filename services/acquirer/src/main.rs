//! The acquirer's process: logs as JSON to stderr, serves, says how it ended.

use std::process::ExitCode;

use acquirer::server::Cli;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let Cli::Serve(serve) = Cli::parse();
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(level).with_writer(std::io::stderr).init();
    match serve.run().await {
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
