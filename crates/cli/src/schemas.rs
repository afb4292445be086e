//! `farandole schemas`: whether the schemas of events go together with the versions that others may hold, and what is released.

mod registry;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use farandole::cli::shown_lines;
use farandole_build::{Error, Event, Schemas, differences};

use registry::Registry;

const CHECK: &str = "\
Examples:
  farandole schemas check                                 schemas/ against schemas/released/
  farandole schemas check services/billing/schemas
  farandole schemas check --registry http://registry:8081
  farandole schemas check --registry https://registry:8081 --user ci --subjects record --topic com.acme.billing=billing

Exit codes: 0 every version reads every other, and each change is noted; 1 not so; 2 wrong usage; 3 the registry could not be read";

const RELEASE: &str = "\
Examples:
  farandole schemas release                               note what has changed in schemas/ in schemas/released/
  farandole schemas release services/billing/schemas

Run it when an event is about to be published with a new or changed schema, and commit what it writes.

Exit codes: 0 noted, or nothing to note; 1 something is incompatible, and nothing was noted; 2 wrong usage";

/// What to do with schemas.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Compare schemas with their released versions, or with those at a registry: each must read, and be read by, every other
    ///
    /// Released versions are FOLDER/released/<topic>/<Event>/<n>.avsc, as `farandole schemas release` writes them. With --registry, the
    /// versions of the event's subject there are compared as well, and released copies needn't be kept.
    #[command(after_help = CHECK)]
    Check {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        at: At,
    },
    /// Note every schema that is new or has changed as released: a copy is compared with all that comes later
    ///
    /// Refused when a schema and a released version of it can't read each other.
    #[command(after_help = RELEASE)]
    Release {
        #[command(flatten)]
        which: Which,
    },
}

/// Which schemas.
#[derive(Debug, Args)]
pub struct Which {
    /// The folder with the schemas, a folder a topic and an .avsc an event
    #[arg(default_value = "schemas")]
    folder: PathBuf,
    /// Where released versions are [default: FOLDER/released]
    #[arg(long, value_name = "FOLDER")]
    released: Option<PathBuf>,
}

/// Where a registry is, and what it calls the schemas.
#[derive(Debug, Args)]
pub struct At {
    /// Base of the registry's Confluent interface; may hold a user and a password
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// Who asks, with the password in FARANDOLE_REGISTRY_PASSWORD
    #[arg(long, env = "FARANDOLE_REGISTRY_USER")]
    user: Option<String>,
    /// How subjects are named, as `registry.subjects` of the services says
    #[arg(long, alias = "subject-strategy", value_enum, default_value_t = Subjects::TopicRecord, requires = "registry")]
    subjects: Subjects,
    /// In front of every topic's name, as `topics.prefix` of the services says
    #[arg(long, default_value = "", hide_default_value = true, requires = "registry")]
    prefix: String,
    /// The topic of a record, file, folder or namespace that isn't the folder's name; may be given several times
    #[arg(long = "topic", value_name = "OF=TOPIC", value_parser = topic, requires = "registry")]
    topics: Vec<(String, String)>,
    /// The topic of schemas in no folder of their own
    #[arg(long, value_name = "TOPIC", requires = "registry")]
    default_topic: Option<String>,
}

/// How subjects are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Subjects {
    /// `<topic>-<record's full name>`
    TopicRecord,
    /// `<record's full name>`
    Record,
    /// `<topic>-value`
    Topic,
}

fn topic(text: &str) -> Result<(String, String), String> {
    let (of, topic) = text.split_once('=').ok_or("must be OF=TOPIC, as com.acme.billing=billing")?;
    Ok((of.to_owned(), topic.to_owned()))
}

/// Why it ends with another exit code than 0.
enum Wrong {
    Schemas(Vec<String>),
    Registry(anyhow::Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Schemas(error.problems().to_vec())
    }
}

/// Does it, and says what was done or is wrong.
pub fn run(verb: &Verb) -> ExitCode {
    let (Verb::Check { which, .. } | Verb::Release { which }) = verb;
    let released = which.released.clone().unwrap_or_else(|| which.folder.join("released"));
    let schemas = Schemas::in_folder(&which.folder);
    let done = match verb {
        Verb::Check { at, .. } => match &at.registry {
            // Who has a registry needs no copies.
            Some(url) if !released.exists() => ask(&at.said_of(schemas), url, at),
            Some(url) => {
                check(&schemas.clone().released(&released)).and_then(|()| ask(&at.said_of(schemas.released(&released)), url, at))
            }
            None => check(&schemas.released(&released)),
        },
        Verb::Release { .. } => release(&schemas.released(&released), &released),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Wrong::Schemas(problems)) => {
            problems.iter().for_each(|problem| eprintln!("farandole: {}", shown_lines(problem)));
            if matches!(verb, Verb::Release { .. }) {
                eprintln!("farandole: nothing was noted");
            }
            ExitCode::FAILURE
        }
        Err(Wrong::Registry(error)) => {
            eprintln!("farandole: {}", shown_lines(&format!("{error:#}")));
            ExitCode::from(3)
        }
    }
}

fn check(schemas: &Schemas) -> Result<(), Wrong> {
    let checked = schemas.check()?;
    println!("schemas: {}, released versions: {}; they read each other", checked.schemas, checked.versions);
    Ok(())
}

fn release(schemas: &Schemas, released: &Path) -> Result<(), Wrong> {
    let noted = schemas.release()?;
    for noted in &noted {
        println!("{}: noted version {} as {}", noted.file, noted.version, noted.copy.display());
    }
    match noted.len() {
        0 => println!("nothing to note: what is released is as it was"),
        _ => println!("commit {}; its files are never changed", released.display()),
    }
    Ok(())
}

impl At {
    /// The schemas, with what was said of their topics.
    fn said_of(&self, schemas: Schemas) -> Schemas {
        let schemas = self.topics.iter().fold(schemas, |schemas, (of, topic)| schemas.topic(of, topic));
        match &self.default_topic {
            Some(topic) => schemas.default_topic(topic),
            None => schemas,
        }
    }

    fn subject(&self, event: &Event) -> Result<String, String> {
        let topic = event.topic.as_ref().map(|topic| format!("{}{topic}", self.prefix)).ok_or_else(|| {
            format!("{}: no topic is known, which its subject is called by; name one with --topic or --default-topic", event.file)
        });
        Ok(match self.subjects {
            Subjects::TopicRecord => format!("{}-{}", topic?, event.name),
            Subjects::Record => event.name.clone(),
            Subjects::Topic => format!("{}-value", topic?),
        })
    }
}

/// Compares the events with what the registry has of them.
fn ask(schemas: &Schemas, url: &str, at: &At) -> Result<(), Wrong> {
    let (mut problems, mut subjects) = (Vec::new(), Vec::new());
    for event in schemas.events()? {
        match at.subject(&event) {
            Ok(subject) => subjects.push((event, subject)),
            Err(problem) => problems.push(problem),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the client of the registry").map_err(Wrong::Registry)?;
    let registry = Registry::at(url, at.user.clone()).map_err(Wrong::Registry)?;
    let (mut versions, mut missing) = (0, 0);
    for (event, subject) in &subjects {
        let found = runtime.block_on(registry.versions(subject)).map_err(Wrong::Registry)?;
        versions += found.len();
        missing += usize::from(found.is_empty());
        for (number, text) in found {
            let version = format!("{} against version {number} of {subject}", event.file);
            match text.and_then(|text| differences(&text, &event.schema).map_err(|error| error.to_string())) {
                Ok(found) => problems.extend(found.into_iter().map(|why| format!("{version}: {why}"))),
                Err(why) => problems.push(format!("{version}: can't be compared: {why}")),
            }
        }
    }
    if !problems.is_empty() {
        return Err(Wrong::Schemas(problems));
    }
    let of_which = if missing > 0 { format!(" ({missing} without one yet)") } else { String::new() };
    println!("events: {}{of_which}, versions at the registry: {versions}; they read each other", subjects.len());
    Ok(())
}
