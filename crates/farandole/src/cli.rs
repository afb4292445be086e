//! A service's command line: a thin skin over [`Service`].
//!
//! Data go to standard output, words and logs to standard error. Exit codes: 0 done or stopped as told, 1 failed, 2 wrong
//! usage or configuration.

mod command;
mod pipe;
mod verbs;

use std::cell::Cell;
use std::error::Error as StdError;
use std::io::IsTerminal as _;
use std::pin::Pin;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::agenda::EffectHandler;
use crate::cli::command::{Cli, EXAMPLES, Verb};
use crate::config::{Config, Format, Log};
use crate::consume::replay;
use crate::ground::error::chain_of;
use crate::ground::running::Signals;
use crate::heal;
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
            accept_defaults,
            pass_over,
            keep,
            ignore_space,
            aggregate,
            rollback,
            lose,
            clean,
            from_nothing,
            derived,
            accept_fold,
            reason,
            output,
        } => {
            let bar = std::io::stderr().is_terminal();
            let choices = heal::Choices { pass_over: pass_over.into_iter().collect(), ..heal::Choices::default() };
            let options =
                rebuild::Options { until, verify, execute, accept_differences, accept_defaults, keep, ignore_space, bar };
            let (service, config, differs) = (&service, &config, &differs);
            Box::pin(async move {
                let name = operator();
                let by = Some(By { name: &name, reason: reason.as_deref() });
                if let Some(id) = aggregate {
                    let report = service.rebuild_aggregate(config, &id, execute, &choices, by).await?;
                    print(&report, output);
                    differs.set(report.differences() > 0 && !report.mended || !report.has_compared());
                } else if accept_fold {
                    let report = service.accept_fold(config, execute, by).await?;
                    print(&report, output);
                    differs.set(report.count > 0 && !report.accepted);
                } else if derived {
                    print(&service.fill_derived(config, execute, by).await?, output);
                } else if from_nothing {
                    print(&service.rebuild_from_nothing_with(config, execute, &choices, by).await?, output);
                } else if rollback {
                    print(&service.roll_back(config, execute, lose, by).await?, output);
                } else if clean {
                    print(&service.clean_rebuilds(config, execute, by).await?, output);
                } else {
                    let report = service.rebuild_with(config, options, &choices, by).await?;
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
