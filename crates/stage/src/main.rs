//! `stage`: the real parts for a person, a script or a CI job. Addresses go to stdout, words to stderr.
//!
//! Exit codes: 0, or that of the command of `stage run`; 1 if the parts could not be started; 130 and 143 when interrupted meanwhile.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use stage::process::{Child, Command};
use stage::{Options, Stage};
use tokio::signal::unix::{Signal, SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  stage up                          start, print the addresses, stay until Ctrl-C
  stage up --mail                   also a mail catcher, with a web page
  stage up --brokers 3 --keep       three brokers; their data stay until `stage clean`
  stage run -- cargo test           run the tests with the parts up, then stop them
  stage run --brokers 3 -- ./drill  the exit code is the command's
  stage database orders             the address of a database on the stage whose STAGE_… variables are set, as `stage up` prints them
  stage clean                       remove what killed runs left behind

The parts listen on 127.0.0.1 only. Everything lies in .stage at the workspace's root, or in STAGE_DIR.
Commands find the parts by STAGE_KAFKA, STAGE_POSTGRES and STAGE_REGISTRY; with --mail also STAGE_SMTP and STAGE_MAIL.";

#[derive(Parser)]
#[command(name = "stage", version, about = "Starts Kafka, PostgreSQL and the schema registry on this machine", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the parts, print their addresses, and stay until SIGINT or SIGTERM
    #[command(after_help = EXAMPLES)]
    Up(Parts),
    /// Start the parts, run a command with their addresses in its environment, and stop them
    #[command(after_help = EXAMPLES)]
    Run {
        #[command(flatten)]
        parts: Parts,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Make a database, and a role that can open this one and no other, unless they are there, and print the address
    Database {
        /// Small letters, digits and _
        name: String,
    },
    /// Remove the processes and data of runs that have no owner any more; running stages are left alone
    Clean {
        /// Also the logs and the downloaded jars
        #[arg(long)]
        all: bool,
    },
}

#[derive(Args)]
struct Parts {
    /// Kafka brokers: 1, or 3, or 0 for none
    #[arg(long, default_value_t = 1, value_name = "N")]
    brokers: u8,
    /// Leave out the schema registry
    #[arg(long)]
    no_registry: bool,
    /// Also start the mail catcher, which `scripts/install --mail` builds. Addresses that begin with `bounce` are refused
    #[arg(long)]
    mail: bool,
    /// Keep the run's data at the end, until `stage clean`
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Cli::parse().verb {
        Verb::Up(parts) => up(parts).await,
        Verb::Run { parts, command } => run(parts, command).await,
        Verb::Database { name } => database(&name).await,
        Verb::Clean { all } => clean(all),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("stage: {error:#}");
        ExitCode::FAILURE
    })
}

async fn up(parts: Parts) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let stage = start(parts, &mut signals).await?;
    println!("# Kafka      {}\n# PostgreSQL {}\n# registry   {}", stage.kafka(), stage.postgres(), stage.registry());
    if !stage.mail().is_empty() {
        println!("# mail       {}, read at {}", stage.smtp(), stage.mail());
    }
    for (name, value) in stage.env() {
        println!("export {name}='{value}'");
    }
    eprintln!("stage: up; Ctrl-C stops it");
    signals.next().await;
    stop(stage).await?;
    Ok(ExitCode::SUCCESS)
}

async fn run(parts: Parts, command: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let stage = start(parts, &mut signals).await?;
    let (program, args) = command.split_first().context("a command is needed after --")?;
    let line = Command::new("the command", program).args(args).env(stage.env()).terminate_on_death();
    // Not `?` at once: the parts are stopped in either case.
    let ended = match line.spawn() {
        Ok(child) => Ok(wait(&child, &mut signals).await),
        Err(error) => Err(error),
    };
    stop(stage).await?;
    Ok(exit_code(ended?))
}

async fn database(name: &str) -> anyhow::Result<ExitCode> {
    println!("{}", Stage::attach()?.database(name).await?.url);
    Ok(ExitCode::SUCCESS)
}

fn clean(all: bool) -> anyhow::Result<ExitCode> {
    let dir = Options::default().dir;
    let swept = if all { stage::clean_all(&dir)? } else { stage::clean(&dir)? };
    eprintln!("stage: removed {} runs and {} processes in {}", swept.runs, swept.processes, dir.display());
    Ok(ExitCode::SUCCESS)
}

/// Starts the parts. A signal meanwhile ends this process: the kernel and the janitor clean up behind it.
async fn start(parts: Parts, signals: &mut Signals) -> anyhow::Result<Stage> {
    let options = Options {
        brokers: parts.brokers,
        registry: !parts.no_registry,
        mail: parts.mail,
        keep: parts.keep,
        ..Options::default()
    };
    tokio::select! {
        stage = tokio::task::spawn_blocking(|| Stage::start(options)) => Ok(stage.context("the start panicked")??),
        signal = signals.next() => {
            eprintln!("stage: interrupted");
            std::process::exit(128 + signal.as_raw_value());
        }
    }
}

async fn stop(stage: Stage) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(|| drop(stage)).await.context("stopping the parts")?;
    eprintln!("stage: stopped");
    Ok(())
}

/// Waits for the command, handing on the signals that only this process gets.
async fn wait(child: &Child, signals: &mut Signals) -> ExitStatus {
    // Ctrl-C in a terminal goes to the command as well; twice would mean "now!" to many programs.
    let shared = std::io::stdin().is_terminal();
    loop {
        if let Some(status) = child.exit_status() {
            return status;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            signal = signals.next() => {
                if !(shared && signal == SignalKind::interrupt()) {
                    child.hand_on(signal.as_raw_value());
                }
            }
        }
    }
}

/// As a shell has it: a command that a signal ended is 128 + the signal's number.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// SIGINT, SIGTERM and SIGHUP (the terminal is closed).
struct Signals(Signal, Signal, Signal);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self(listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?))
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.0.recv() => SignalKind::interrupt(),
            _ = self.1.recv() => SignalKind::terminate(),
            _ = self.2.recv() => SignalKind::hangup(),
        }
    }
}
