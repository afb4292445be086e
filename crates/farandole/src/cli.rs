//! A service's command line: a thin skin over [`Service`].
//!
//! Data go to standard output, words and logs to standard error. Exit codes: 0 done or stopped as told, 1 failed, 2 wrong
//! usage or configuration.

mod pipe;
mod verbs;

use std::cell::Cell;
use std::error::Error as StdError;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::agenda::EffectHandler;
use crate::config::{Config, Format, Log};
use crate::consume::replay;
use crate::ground::error::chain_of;
use crate::ground::running::Signals;
use crate::heal::{self, At};
use crate::parking::operate::Which;
use crate::participant::Participant;
use crate::rebuild;
use crate::service::contract::Contract;
use crate::service::{self, Bound, By, Error, Missing, Service, telemetry};

pub use pipe::end_with_the_reader;
pub use verbs::{
    Inputs, Output, Parked, Positions, operator, print, print_dropped, print_parked, print_positions, shown, shown_lines,
};

const FAILED: u8 = 1;
const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  Create or update tables, topics and schemas, then serve:
    NAME migrate --config NAME.toml && NAME serve --config NAME.toml
  Both in one command, for a first try:
    FARANDOLE_DATABASE_URL=postgres://me:secret@127.0.0.1:5432/NAME NAME serve --migrate
  Print all settings with the origin of each, and check them; exit code 0 means that they are valid:
    NAME --print-config
  Rebuild the tables from the service's topic and compare them with the live ones; then swap them:
    NAME rebuild --verify
    NAME rebuild --verify --execute
  List what is parked, and drop an input that can never succeed:
    NAME parked
    NAME parked drop order-17 --reason \"sent by a test\"
  List what operators did:
    NAME history
  Feed one input again: see what is known of it, then do it:
    NAME inputs again TOPIC/3/17
    NAME inputs again TOPIC/3/17 --execute --reason \"decided by a build with an error\"
  List the read positions; see what restarting a stopped partition from its earliest record would repeat, then do it:
    NAME positions
    NAME positions set --topic TOPIC --partition 3 --to earliest
    NAME positions set --topic TOPIC --partition 3 --to earliest --execute --reason \"its beginning has expired\"

Every setting `field` of `[section]` can also be set as FARANDOLE_SECTION_FIELD, which takes precedence over the file.

Exit codes: 0 success, or stopped on request; 1 failure; 2 wrong usage or configuration.";

const HISTORY_EXAMPLES: &str = "\
Examples:
  The last ten things that were done:
    history --limit 10
  Who set positions:
    history --output json | jq '.entries[] | select(.verb == \"positions set\")'";

#[derive(Debug, Parser)]
#[command(version, about = "A service built on Farandole.")]
struct Cli {
    /// TOML file with the configuration.
    #[arg(long, global = true, env = "FARANDOLE_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
    /// Print the effective configuration as TOML, without secrets, and exit. Runs every check that needs no server, so use it to
    /// validate a configuration: all problems are printed on standard error, and the exit code is 2.
    #[arg(long, global = true)]
    print_config: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve until SIGTERM, SIGINT or SIGHUP; a second signal exits at once. The default command.
    Serve {
        /// Create missing tables, topics and schemas first.
        #[arg(long)]
        migrate: bool,
    },
    /// Create or update tables, topics and schemas. Safe to repeat, and to run while the service runs.
    Migrate,
    /// Reconcile database and topics after a restored backup or a lossy failover, when the service refuses to start. Prints how
    /// they differ and what would be done; --execute does it. Stop the service first.
    Heal {
        /// Skip the record at TOPIC/PARTITION@OFFSET, which is in this service's name and can't be folded: nothing of it is
        /// applied. A refusal names the record. Repeatable.
        #[arg(long, value_name = "TOPIC/PARTITION@OFFSET")]
        pass_over: Vec<At>,
        /// Give up what a topic lost and the outbox no longer holds, instead of refusing. A topic of state that lost records can't be
        /// rebuilt from.
        #[arg(long)]
        accept_lost: bool,
        /// Apply the changes. Without it, nothing is changed.
        #[arg(long)]
        execute: bool,
        /// The reason, recorded in the journal.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: Option<String>,
        /// Output format.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Rebuild the service's tables from its own topic, in a schema beside the live ones; the service may be running. Without
    /// --execute the live tables stay as they are. A rebuild that was interrupted continues where it was.
    Rebuild {
        /// Rebuild the tables as they were when the event of this number had been applied, or all that had happened by this time (RFC
        /// 3339), in schema farandole_until_NUMBER.
        #[arg(long, value_name = "NUMBER|TIME", conflicts_with_all = ["verify", "execute"])]
        until: Option<rebuild::Until>,
        /// Compare the rebuilt tables with the live ones, row by row; exit code 1 if they differ.
        #[arg(long)]
        verify: bool,
        /// Put the rebuilt tables in place of the live ones, in one transaction; the previous ones stay in schema farandole_replaced.
        #[arg(long)]
        execute: bool,
        /// With --verify --execute: also if they differ.
        #[arg(long, requires_all = ["verify", "execute"])]
        accept_differences: bool,
        /// How many sets of replaced tables to keep.
        #[arg(long, value_name = "N", default_value_t = 1)]
        keep: usize,
        /// Begin even if the disk seems to be too small.
        #[arg(long)]
        ignore_space: bool,
        /// Put the tables back that the last swap replaced. Refused if something was decided since.
        #[arg(long, conflicts_with_all = ["until", "verify"])]
        rollback: bool,
        /// With --rollback: also if something was decided since; the tables then lack it, and only another rebuild brings it back.
        #[arg(long, requires = "rollback")]
        lose: bool,
        /// List what rebuilds have left beside the live tables, replaced ones included; with --execute, drop it.
        #[arg(long, conflicts_with_all = ["until", "verify", "rollback"])]
        clean: bool,
        /// Make the whole database from the topics: tables, state, deadlines, effects, answers, positions and what was parked. For a database
        /// that is lost, so it has to be empty. Prints what it would do; --execute does it. Stop the service first.
        #[arg(long, conflicts_with_all = ["until", "verify", "rollback", "clean", "keep"])]
        from_nothing: bool,
        /// For a build that refuses to start because it makes other rows of the same events: compare, and with --execute let the tables stay
        /// as they are.
        #[arg(long, conflicts_with_all = ["until", "verify", "rollback", "clean", "keep", "from_nothing"], requires_if("true", "reason"))]
        accept_fold: bool,
        /// The reason, recorded in the journal.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: Option<String>,
        /// Output format.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print what the service subscribes to, publishes and stores.
    Describe {
        /// How.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print the OpenAPI description of the routes.
    Openapi,
    /// Feed one input to the service again.
    Inputs {
        #[command(subcommand)]
        what: Inputs,
        /// Output format.
        #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// List what operators did with this service: who, when, why, what, and what came of it; the newest last.
    #[command(after_help = HISTORY_EXAMPLES)]
    History {
        /// How many entries, at most 10000.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Output format.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Refused: a participant is never replayed. It says what to do instead.
    #[command(hide = true)]
    Replay {
        /// Whatever a handler's replay is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// List inputs that can't be processed; retry or drop them.
    Parked {
        #[command(subcommand)]
        what: Option<Parked>,
        /// Output format.
        #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// List the read positions of subscribed topics and how far behind they are, or set one when a partition has stopped.
    Positions {
        #[command(subcommand)]
        what: Option<Positions>,
        /// Output format.
        #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

/// The `main` of a service: command line, configuration, logging, runtime, signals. `build` makes the service from the configuration and
/// the service's own settings; what it refuses counts as wrong configuration.
///
/// The program's name is the participant's. Own settings are a struct with serde and [`Default`], section `[own]` of the file and
/// `FARANDOLE_OWN_…` in the environment; or [`NoSettings`](crate::NoSettings):
///
/// ```no_run
/// # mod loyalty { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/loyalty.rs")); }
/// # use loyalty::Loyalty;
/// use std::time::Duration;
///
/// use farandole::Service;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Settings { expire_after: Duration }
///
/// fn main() -> std::process::ExitCode {
///     farandole::main(|_config, settings: Settings| {
///         if settings.expire_after.is_zero() {
///             return Err("`own.expire_after` has to be longer than that".into());
///         }
///         Ok(Service::new(Loyalty, farandole::migrations!["0001_tables.sql"]))
///     })
/// }
/// ```
///
/// Exit codes: 0 success, or stopped on request; 1 failure; 2 wrong usage or configuration.
pub fn main<P, E, S>(build: impl FnOnce(&Config, S) -> Result<Service<P, E>, Box<dyn StdError + Send + Sync>>) -> ExitCode
where
    S: Serialize + DeserializeOwned + Default,
    P: Participant,
    E: EffectHandler<P>,
{
    let name = P::NAME;
    end_with_the_reader();
    let command = Cli::command().name(name).bin_name(name).after_help(EXAMPLES.replace("NAME", name));
    let cli = match command.try_get_matches().and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let loaded = match Config::load_for::<S>(cli.config.as_deref(), environment(), |config| {
        service::unfit(&Contract::of::<P>(), config)
    }) {
        Ok(loaded) => loaded,
        Err(error) => return usage(&error),
    };
    if cli.print_config {
        print!("{}", loaded.printed);
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default(); // as below
        let wrong = loaded.config.check().err().map(|error| usage(&error));
        return build(&loaded.config, loaded.own).err().map(|error| usage(&*error)).or(wrong).unwrap_or(ExitCode::SUCCESS);
    }
    let verb = cli.verb.unwrap_or(Verb::Serve { migrate: false });
    let works = !matches!(verb, Verb::Describe { .. } | Verb::Openapi);
    if works && let Err(error) = loaded.config.check() {
        return usage(&error);
    }
    // Before any HTTP client is made, of spans or of `build`. An error means that there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut log = loaded.config.log.clone();
    if !matches!(verb, Verb::Serve { .. } | Verb::Migrate)
        && std::io::stderr().is_terminal()
        && (log.format, &log.level) == (Log::default().format, &Log::default().level)
    {
        // For a person, who reads the result.
        log = Log { format: Format::Text, level: "warn".to_owned() };
    }
    let spans = if works { telemetry::init(name, &log, &loaded.config.otlp) } else { telemetry::Spans::default() };
    end_with_the_reader(); // before the hook that logs panics as well
    let service = match build(&loaded.config, loaded.own) {
        Ok(service) => service,
        Err(error) => return usage(&*error),
    };
    let (config, differs) = (loaded.config, Cell::new(false));
    // The others print what they did.
    let silent = matches!(verb, Verb::Migrate);
    let work: Work<'_> = match verb {
        Verb::Serve { migrate } => {
            let missing = if migrate { Missing::Make } else { Missing::Refuse };
            Box::pin(serve(service, config.clone(), missing))
        }
        Verb::Migrate => Box::pin(service.migrate(&config)),
        Verb::Parked { what, output } => Box::pin(parked(&service, &config, what.unwrap_or(Parked::List), output)),
        Verb::Positions { what, output } => Box::pin(positions(&service, &config, what.unwrap_or(Positions::List), output)),
        Verb::Inputs { what: Inputs::Again { input, reason, execute }, output } => {
            let (service, config) = (&service, &config);
            Box::pin(async move {
                let name = operator();
                let by = execute.then_some(By { name: &name, reason: reason.as_deref() });
                print(&service.feed_again(config, &input, by).await?, output);
                Ok(())
            })
        }
        Verb::Replay { .. } => {
            let (reader, topic) = (name.to_owned(), "TOPIC".to_owned());
            eprintln!("{}", replay::Error::Participant { reader, topic });
            return ExitCode::from(FAILED);
        }
        Verb::History { limit, output } => {
            let (service, config) = (&service, &config);
            Box::pin(async move {
                print(&service.history(config, limit).await?, output);
                Ok(())
            })
        }
        Verb::Heal { pass_over, accept_lost, execute, reason, output } => {
            let mode = if execute { heal::Mode::Execute } else { heal::Mode::DryRun };
            let (service, config) = (&service, &config);
            Box::pin(async move {
                let name = operator();
                let by = Some(By { name: &name, reason: reason.as_deref() });
                let choices = heal::Choices { pass_over: pass_over.into_iter().collect(), accept_lost };
                print(&service.heal_by(config, mode, &choices, by).await?, output);
                Ok(())
            })
        }
        Verb::Rebuild {
            until,
            verify,
            execute,
            accept_differences,
            keep,
            ignore_space,
            rollback,
            lose,
            clean,
            from_nothing,
            accept_fold,
            reason,
            output,
        } => {
            let bar = std::io::stderr().is_terminal();
            let options = rebuild::Options { until, verify, execute, accept_differences, keep, ignore_space, bar };
            let (service, config, differs) = (&service, &config, &differs);
            Box::pin(async move {
                let name = operator();
                let by = Some(By { name: &name, reason: reason.as_deref() });
                if accept_fold {
                    let report = service.accept_fold(config, execute, by).await?;
                    print(&report, output);
                    differs.set(report.count > 0 && !report.accepted);
                } else if from_nothing {
                    print(&service.rebuild_from_nothing(config, execute, by).await?, output);
                } else if rollback {
                    print(&service.roll_back(config, execute, lose, by).await?, output);
                } else if clean {
                    print(&service.clean_rebuilds(config, execute, by).await?, output);
                } else {
                    let report = service.rebuild_by(config, options, by).await?;
                    print(&report, output);
                    differs.set(report.differences() > 0 && report.replaced.is_none());
                }
                Ok(())
            })
        }
        Verb::Describe { output } => {
            print(&service.description(&config), output);
            return ExitCode::SUCCESS;
        }
        Verb::Openapi => {
            return match service.openapi_json() {
                Some(json) => {
                    print!("{json}");
                    ExitCode::SUCCESS
                }
                None => {
                    eprintln!("{name} has no OpenAPI description");
                    ExitCode::from(FAILED)
                }
            };
        }
    };
    let result = on_runtime(config.process.worker_threads, work);
    let code = match result {
        Ok(()) if differs.get() => ExitCode::from(FAILED),
        Ok(()) => {
            if silent {
                tracing::info!("done");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = chain_of(&*error), "failed");
            ExitCode::from(if matches!(error.downcast_ref(), Some(Error::Config(_))) { USAGE } else { FAILED })
        }
    };
    spans.end();
    code
}

fn environment() -> impl Iterator<Item = (String, String)> {
    // A name or value that isn't text can't be one of ours.
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn usage(error: &(dyn StdError + 'static)) -> ExitCode {
    eprintln!("{}", chain_of(error));
    ExitCode::from(USAGE)
}

async fn parked<P: Participant, E>(service: &Service<P, E>, config: &Config, what: Parked, output: Output) -> Result<(), Error> {
    match what {
        Parked::List => print_parked(&service.parked(config).await?, output),
        Parked::Retry { aggregate } => {
            service.retry_parked(config, &aggregate, By { name: &operator(), reason: None }).await?;
        }
        Parked::Drop { aggregate, reason, all } => {
            let which = if all { Which::All } else { Which::First };
            print_dropped(&service.drop_parked(config, &aggregate, which, &reason, &operator()).await?);
        }
    }
    Ok(())
}

async fn positions<P: Participant, E>(
    service: &Service<P, E>,
    config: &Config,
    what: Positions,
    output: Output,
) -> Result<(), Error> {
    match what {
        Positions::List => print_positions(&service.positions(config).await?, output),
        Positions::Set { topic, partition, to, reason, execute } => {
            let by = execute.then(operator);
            let by = by.as_deref().map(|name| By { name, reason: reason.as_deref() });
            print(&service.set_position(config, &topic, partition, to, by).await?, output);
        }
    }
    Ok(())
}

/// What a verb does.
type Work<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

fn on_runtime(threads: usize, work: Work<'_>) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        // For name look-ups and questions to the brokers only.
        .max_blocking_threads(8)
        .thread_name("worker")
        .enable_all()
        .build()?;
    let result = runtime.block_on(work);
    // What was abandoned isn't waited for.
    runtime.shutdown_background();
    Ok(result?)
}

async fn serve<P: Participant, E: EffectHandler<P>>(
    service: Service<P, E>,
    config: Config,
    missing: Missing,
) -> Result<(), Error> {
    let bound = Bound::bind(&config.http).await?;
    let shutdown = CancellationToken::new();
    let told = tokio::spawn(signals(shutdown.clone()));
    let result = service.serve(bound, config, missing, shutdown).await;
    told.abort();
    result
}

/// The first SIGTERM, SIGINT or SIGHUP stops in order, the second at once.
async fn signals(shutdown: CancellationToken) {
    let Ok(mut signals) = Signals::catch() else {
        tracing::warn!("can't install signal handlers; SIGTERM will kill the service without a clean shutdown");
        return;
    };
    let first = signals.next().await;
    tracing::info!(signal = first, "stopping; a second signal exits at once");
    shutdown.cancel();
    let second = signals.next().await;
    tracing::warn!(signal = second, "second signal: exiting at once");
    std::process::exit(i32::from(FAILED));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// What stands between backticks in the code's texts, over the ends of lines too.
    fn quoted(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                quoted(&entry, found);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&entry).unwrap();
                let texts = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                let text = texts.collect::<Vec<_>>().join(" ");
                found.extend(text.split('`').skip(1).step_by(2).map(str::to_owned));
            }
        }
    }

    /// A message that tells an operator to run something names a verb that is there.
    #[test]
    fn commands_that_messages_name_can_be_run() {
        let mut found = BTreeSet::new();
        for sources in ["src", "../outbox/src"] {
            quoted(&Path::new(env!("CARGO_MANIFEST_DIR")).join(sources), &mut found);
        }
        let command = Cli::command();
        let verbs: Vec<&str> = command.get_subcommands().map(|verb| verb.get_name()).collect();
        assert_eq!(
            verbs,
            ["serve", "migrate", "heal", "rebuild", "describe", "openapi", "inputs", "history", "replay", "parked", "positions"]
        );
        let mut seen = 0;
        for text in &found {
            // Of a service's own program: `{service} heal`, or the verb alone.
            let rest = ["{service} ", "{tool} ", "{} "].iter().find_map(|whose| text.strip_prefix(whose)).unwrap_or(text);
            let mut words = rest.split_whitespace();
            let Some(verb) = words.next().filter(|word| verbs.contains(word)) else {
                assert!(rest == text, "`{text}` names no verb of a service");
                continue;
            };
            let options: Vec<String> = command
                .find_subcommand(verb)
                .into_iter()
                .flat_map(|verb| std::iter::once(verb).chain(verb.get_subcommands()))
                .flat_map(|verb| verb.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")))
                .collect();
            for option in words.filter(|word| word.starts_with("--")) {
                assert!(options.iter().any(|known| known == option), "`{text}`: {verb} has no {option}");
            }
            seen += 1;
        }
        assert!(seen >= 4, "{seen} of {found:?}");
    }

    /// The words of a command, as a shell has them.
    fn words(command: &str) -> Vec<String> {
        let quoted = |(i, part): (usize, &str)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        };
        command.split('\'').enumerate().flat_map(quoted).collect()
    }

    /// Guard: each command of a service's that the guide for operators names is taken as it stands.
    #[test]
    fn commands_of_the_guide_for_operators_can_be_run() {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md")).unwrap();
        let commands: BTreeSet<&str> = text.split('`').skip(1).step_by(2).filter(|span| span.starts_with("orders ")).collect();
        for command in &commands {
            let command = command.replace("TOPIC/PARTITION@OFFSET", "orders/3@1042");
            let taken = Cli::command().try_get_matches_from(words(&command));
            assert!(taken.is_ok(), "`{command}`: {}", taken.unwrap_err());
        }
        let verbs: BTreeSet<_> = commands.iter().filter_map(|command| command.split_whitespace().nth(1)).collect();
        for verb in ["heal", "history", "inputs", "parked", "positions", "rebuild"] {
            assert!(verbs.contains(verb), "{verb} is missing: {verbs:?}");
        }
    }
}
