//! The carrier's process.

use std::process::ExitCode;

use carrier::server::Cli;
use clap::Parser as _;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let Cli::Serve(serve) = Cli::parse();
    standin::server::process(serve.run()).await
}
