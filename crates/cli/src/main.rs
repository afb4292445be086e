//! `farandole`: the operator's tool.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use farandole::cli::{
    Output, Parked, Positions, end_with_the_reader, operator, print, print_dropped, print_parked, print_positions, shown,
    shown_lines,
};
use farandole::heal::{At, Choices, Mode};
use farandole::intake::operate::Pace;
use farandole::parking::acts::Operator;
use farandole::parking::operate::Which;
use farandole::replay;
use farandole_cli::graph;
use farandole_cli::new::New;
use farandole_cli::operate::{self, Database};
use farandole_cli::schemas;
use farandole_cli::verify::{self, Report};

const EXAMPLES: &str = "\
Examples:
  farandole new parcels --kit ~/src/farandole             write a service of your own, to build on
  farandole verify orders                                 walk the topic, exit 1 if a chain is broken
  farandole verify orders -b broker:9093 -X security.protocol=SSL --json | jq .violations
  farandole graph orders.json payments.json               show who publishes what and who consumes it; see `farandole graph --help`

For a reader or an outbox in your own program; a service's binary has the same commands. The database is set by
FARANDOLE_DATABASE_URL (or an address without its password, which then comes from PGPASSWORD or ~/.pgpass):
  farandole parked                                        list what can't be processed
  farandole parked drop order-17 --reason 'sent by a test'
  farandole positions                                     list where topics are read next, and how far behind that is
  farandole positions set --topic billing --partition 3 --to earliest
                                                          print what would be skipped or read again; --execute --reason '…' sets it
  farandole replay --topic billing --from beginning       print what a handler would be given again; --execute begins it
  farandole heal --service billing                        after a restored backup: print what would be done; --execute does it
  farandole migrate                                       create the kit's tables, or update them to this version
  farandole relay --service billing --topic billing --create-topics
                                                          publish what programs in any language append with `select farandole.append(…)`

Of the schemas of your events, beside their sources:
  farandole schemas check                                 compare schemas/ with the versions that others may hold
  farandole schemas release                               note what has changed there as released

Exit codes: 0 success, or nothing found wrong; 1 something found wrong, or refused; 2 wrong usage; 3 the topic or the
registry could not be read";

const WHOSE: &str = "Set the database with FARANDOLE_DATABASE_URL. Arguments are visible in the process list, so pass the \
                     password in that variable, in PGPASSWORD or in ~/.pgpass.";

const REPLAY: &str = "\
Examples:
  What would be read again from a day on:
    farandole replay --topic billing --from 2026-01-31T00:00:00Z
  Try a new version of a handler in tables of its own; then drop them:
    farandole replay --topic billing --from beginning --into v2 --execute --reason 'before the release'
    farandole replay --into v2 --drop --execute --reason 'tried'
  Fill tables that were emptied, without taking the database from others:
    farandole replay --topic billing --from beginning --rate 200/s --accept-repeats --execute --reason 'new column'

Set the database with FARANDOLE_DATABASE_URL. Arguments are visible in the process list, so pass the password in that variable, in PGPASSWORD
or in ~/.pgpass.";

/// Inspects, verifies and repairs what services, readers and outboxes built on Farandole read and publish.
#[derive(Debug, Parser)]
#[command(name = "farandole", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a new service: a project of its own that builds, runs and passes its tests
    New(New),
    /// Read a topic from its beginning and check that every chain in it is whole
    ///
    /// Duplicates and stale records (column `ghosts`: of an older lineage, replaced by a heal) are counted; consumers drop them.
    /// Gaps, forks and damaged headers are violations; consumers stop there. Foreign records have no `farandole` header.
    Verify {
        /// The topic, with its prefix
        topic: String,
        #[command(flatten)]
        kafka: Kafka,
        /// Print the report as one line of JSON
        #[arg(long)]
        json: bool,
        /// No progress bar
        #[arg(long)]
        quiet: bool,
    },
    /// Show who publishes what and who consumes it, from the descriptions of all services; or find where topics hold something else
    Graph {
        #[command(flatten)]
        args: graph::Args,
        #[command(flatten)]
        kafka: Kafka,
    },
    /// List inputs that a reader can't process; retry or drop them. The reader may be running.
    #[command(after_help = WHOSE)]
    Parked {
        #[command(flatten)]
        whose: Whose,
        #[command(subcommand)]
        what: Option<Parked>,
        /// Output format
        #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// List a reader's positions and how far behind they are, or set one when a partition has stopped. The reader may be running.
    #[command(after_help = WHOSE)]
    Positions {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        kafka: Kafka,
        #[command(subcommand)]
        what: Option<Positions>,
        /// Output format
        #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Have a reader's topic read again by its handler, from a place on. Prints what would be read again and changes nothing, unless --execute
    /// is given. The reader may be running: it takes it up within seconds, and goes on by itself behind the end. A service's participant
    /// is never replayed.
    #[command(after_help = REPLAY)]
    Replay {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        kafka: Kafka,
        /// The topic, with its prefix
        #[arg(long, required_unless_present = "drop")]
        topic: Option<String>,
        /// The partition; all that have read beyond that if omitted
        #[arg(long)]
        partition: Option<i32>,
        /// From where: `beginning` (the first record still there), a time (2026-01-31T12:00:00Z), an offset, or `number:N` (the first record of
        /// number N or more, of a producer that uses the kit)
        #[arg(long, value_name = "beginning|TIME|OFFSET|number:N", required_unless_present = "drop")]
        from: Option<replay::From>,
        /// Leave the live tables as they are, and try a new version of the handler beside them: makes this schema, with empty tables like those
        /// of the reader, and a reader of its own, which the new version is with `IntakeConfig::into`
        #[arg(long, value_name = "SCHEMA", conflicts_with = "accept_repeats")]
        into: Option<String>,
        /// With --into: drop what it has made
        #[arg(long, requires = "into", conflicts_with_all = ["topic", "partition", "from", "rate"])]
        drop: bool,
        /// Records a second at most, so that the database has room for others: 200/s
        #[arg(long, value_name = "N/s")]
        rate: Option<replay::Rate>,
        /// Also if the handler doesn't declare that a repeated record does no harm
        #[arg(long)]
        accept_repeats: bool,
        /// The reason
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: Option<String>,
        /// Begin it. Without it, nothing is changed
        #[arg(long, requires = "reason")]
        execute: bool,
        /// Output format
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Create the kit's tables in schema `farandole`, or update them to this version, as the role that is to own them. Tables of
    /// your own stay as they are
    #[command(after_help = WHOSE)]
    Migrate {
        #[command(flatten)]
        database: DatabaseUrl,
    },
    /// Publish an outbox to Kafka until SIGTERM, SIGINT or SIGHUP: for programs in other languages, which append to it in SQL. Several may
    /// run; one publishes, the others stand by
    #[command(after_help = WHOSE)]
    Relay {
        #[command(flatten)]
        database: DatabaseUrl,
        #[command(flatten)]
        kafka: Kafka,
        /// The name to publish under. The database is this one's alone from then on
        #[arg(long)]
        service: String,
        /// What events name as their source, instead of /farandole/SERVICE
        #[arg(long)]
        source: Option<String>,
        /// A topic that is published to, with its prefix: checked before anything starts; may be given several times. Others are checked
        /// once a row names them
        #[arg(long = "topic")]
        topics: Vec<String>,
        /// A topic that is no longer published to and was deleted: the relay forgets it, instead of waiting for it. Repeatable
        #[arg(long)]
        forget_topic: Vec<String>,
        /// Create those that are missing, as the kit needs them: 6 partitions, nothing expires
        #[arg(long, requires = "topics")]
        create_topics: bool,
    },
    /// Reconcile outbox and topics after a restored backup or a lossy failover, when a relay refuses to publish. Prints how they
    /// differ and what would be done; --execute does it. Stop the program with the relay first.
    ///
    /// Records that the database lacks were published by transactions made after the backup. Only your program can apply them to
    /// its tables: read them, correct your tables, then pass --skip-missing, and the relay continues behind them.
    #[command(after_help = WHOSE)]
    Heal {
        #[command(flatten)]
        database: DatabaseUrl,
        #[command(flatten)]
        kafka: Kafka,
        /// The service name that the relay publishes under
        #[arg(long)]
        service: String,
        /// What its events name as their source, where that isn't /farandole/SERVICE and the database doesn't know it any more
        #[arg(long)]
        source: Option<String>,
        /// A topic that it publishes to, with its prefix, in case the relay hasn't published there yet. Repeatable
        #[arg(long = "topic")]
        topics: Vec<String>,
        /// Continue behind records that the database lacks; they stay in the topics
        #[arg(long)]
        skip_missing: bool,
        /// Skip the record at TOPIC/PARTITION@OFFSET, which is in this service's name and can't be used: nothing of it is
        /// applied. A refusal names the record. Repeatable
        #[arg(long, value_name = "TOPIC/PARTITION@OFFSET")]
        pass_over: Vec<At>,
        /// Give up what a topic lost and the outbox no longer holds, instead of refusing: who reads the topic from now on never sees it
        #[arg(long)]
        accept_lost: bool,
        /// Apply the changes. Without it, nothing is changed
        #[arg(long)]
        execute: bool,
        /// Output format
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Check Avro schemas against the versions that others may hold, and note releases
    #[command(subcommand)]
    Schemas(schemas::Verb),
}

#[derive(Debug, clap::Args)]
struct Kafka {
    /// Bootstrap brokers, host:port,host:port
    #[arg(short, long, global = true, env = "FARANDOLE_KAFKA_BOOTSTRAP", default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Additional Kafka client property (librdkafka name). Repeatable
    #[arg(short = 'X', long = "property", global = true, value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
}

#[derive(Debug, clap::Args)]
struct DatabaseUrl {
    /// The database with the kit's tables, postgres://user@host:5432/database
    #[arg(long, env = "FARANDOLE_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
}

#[derive(Debug, clap::Args)]
struct Whose {
    #[command(flatten)]
    database: DatabaseUrl,
    /// The reader: its consumer group, or its configured name. Not needed if there is only one
    #[arg(long, global = true)]
    reader: Option<String>,
}

impl From<Kafka> for farandole::config::Kafka {
    fn from(Kafka { bootstrap, properties }: Kafka) -> Self {
        Self { bootstrap, properties: properties.into_iter().collect() }
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    end_with_the_reader();
    match Cli::parse().verb {
        Verb::New(new) => match new.write() {
            Ok(next) => {
                print!("{next}");
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        },
        Verb::Verify { topic, kafka, json, quiet } => verified(&topic, &kafka, json, quiet),
        Verb::Graph { args, kafka } => graph::run(&args, &kafka.bootstrap, &kafka.properties),
        Verb::Parked { whose, what, output } => on_runtime(async {
            let (database, reader) = whose.split();
            match what.unwrap_or(Parked::List) {
                Parked::List => print_parked(&operate::list_parked(&database, reader.as_deref()).await?, output),
                Parked::Retry { aggregate } => operate::retry_parked(&database, reader.as_deref(), &aggregate).await?,
                Parked::Drop { aggregate, reason, all } => {
                    let which = if all { Which::All } else { Which::First };
                    let dropped =
                        operate::drop_parked(&database, reader.as_deref(), &aggregate, which, &reason, &operator()).await?;
                    print_dropped(&dropped);
                    // There is no journal that would keep it.
                    dropped.iter().for_each(|one| eprintln!("dropped {one}: {reason}"));
                }
            }
            Ok(())
        }),
        Verb::Positions { whose, kafka, what, output } => on_runtime(async {
            let ((database, reader), kafka) = (whose.split(), kafka.into());
            match what.unwrap_or(Positions::List) {
                Positions::List => {
                    print_positions(&operate::list_positions(&database, reader.as_deref(), &kafka).await?, output);
                }
                Positions::Set { topic, partition, to, reason, execute } => {
                    let name = operator();
                    let by = execute.then_some(Operator { name: &name, reason: reason.as_deref(), journal: None });
                    let ask = operate::Goal { topic: &topic, partition, to };
                    let set = operate::set_position(&database, reader.as_deref(), &kafka, ask, by).await?;
                    print(&set, output);
                    // There is no journal that would keep it.
                    if let Some(reason) = reason.filter(|_| execute) {
                        eprintln!("set by {}: {}", shown(&name), shown(&reason));
                    }
                }
            }
            Ok(())
        }),
        Verb::Replay { whose, kafka, topic, partition, from, into, drop, rate, accept_repeats, reason, execute, output } => {
            on_runtime(async {
                let (database, reader) = whose.split();
                let name = operator();
                let by = execute.then_some(Operator { name: &name, reason: reason.as_deref(), journal: None });
                let (reader, kafka, pace) = (reader.as_deref(), kafka.into(), Pace { rate: rate.map(|rate| rate.0) });
                // Without --drop both are there: clap sees to it.
                let goal = topic.as_deref().zip(from).map(|(topic, from)| operate::Goal { topic, partition, to: from.0 });
                match (into.as_deref(), goal) {
                    (Some(schema), _) if drop => print(&operate::end_trial(&database, reader, schema, execute).await?, output),
                    (Some(schema), Some(goal)) => {
                        print(&operate::begin_trial(&database, reader, &kafka, goal, pace, schema, by).await?, output);
                    }
                    (None, Some(goal)) => {
                        print(&operate::replay(&database, reader, &kafka, goal, pace, accept_repeats, by).await?, output);
                    }
                    (_, None) => {}
                }
                // There is no journal that would keep it.
                if let Some(reason) = reason.filter(|_| execute) {
                    eprintln!("replayed by {}: {}", shown(&name), shown(&reason));
                }
                Ok(())
            })
        }
        Verb::Migrate { database } => on_runtime(async { operate::migrate(&Database::at(database.database_url)).await }),
        Verb::Relay { database, kafka, service, source, topics, forget_topic, create_topics } => on_runtime(async {
            let kafka = kafka.into();
            operate::ready(&kafka, &topics, create_topics).await?;
            operate::relay(&Database::at(database.database_url), &kafka, &service, source, topics, forget_topic).await
        }),
        Verb::Heal { database, kafka, service, source, topics, skip_missing, pass_over, accept_lost, execute, output } => {
            on_runtime(async {
                let mode = if execute { Mode::Execute } else { Mode::DryRun };
                let database = Database::at(database.database_url);
                let choices = Choices { pass_over: pass_over.into_iter().collect(), accept_lost };
                let how = operate::How { mode, source, skip: skip_missing, choices };
                print(&operate::heal(&database, &kafka.into(), &service, topics, &how).await?, output);
                Ok(())
            })
        }
        Verb::Schemas(verb) => schemas::run(&verb),
    }
}

impl Whose {
    fn split(self) -> (Database, Option<String>) {
        (Database::at(self.database.database_url), self.reader)
    }
}

fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("farandole: {}", shown_lines(&format!("{error:#}")));
    ExitCode::FAILURE
}

fn verified(topic: &str, kafka: &Kafka, json: bool, quiet: bool) -> ExitCode {
    let progress = !quiet && std::io::stderr().is_terminal();
    match verify::topic(&kafka.bootstrap, &kafka.properties, topic, progress) {
        Ok(report) => {
            if json {
                println!("{}", serde_json::json!(report));
            } else {
                tell(&report);
            }
            if report.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("farandole: {}", shown_lines(&format!("{error:#}")));
            ExitCode::from(3)
        }
    }
}

fn tell(report: &Report) {
    println!("{}: {} records in {} partitions", report.topic, report.records, report.partitions);
    println!(
        "{:<40} {:>8} {:>12} {:>11} {:>6} {:>6} {:>7}",
        "source", "lineage", "links", "duplicates", "gaps", "forks", "ghosts"
    );
    for line in &report.chains {
        let t = &line.tally;
        let source: String = shown(&line.source).chars().take(40).collect();
        println!(
            "{source:<40} {:>8} {:>12} {:>11} {:>6} {:>6} {:>7}",
            line.lineage, t.links, t.duplicates, t.gaps, t.forks, t.ghosts
        );
    }
    println!("{} foreign records, {} damaged headers", report.foreign, report.damaged);
    let ghosts: u64 = report.chains.iter().map(|line| line.tally.ghosts).sum();
    if ghosts > 0 {
        println!(
            "{ghosts} stale records: readers drop them. A few are normal after a heal; if the number grows, a service still \
             publishes from an older database beside the healed one, and what it publishes is lost"
        );
    }
    for example in &report.examples {
        println!("  {}", shown(example));
    }
    println!("{} violation{}", report.violations, if report.violations == 1 { "" } else { "s" });
}
