//! The verb: its arguments, what it prints, how it ends.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use farandole::cli::{shown, shown_lines};
use rdkafka::config::ClientConfig;
use serde_json::json;

use crate::kafka::client;

use super::asyncapi::asyncapi;
use super::choreography::Choreography;
use super::declared;
use super::dot::dot;
use super::mermaid::mermaid;
use super::observed::{WINDOW, observe};
use super::pages;
use super::schemas::Schemas;
use super::text::text;
use super::yaml::yaml;

const EXAMPLES: &str = "\
A description is what `SERVICE describe --output json` prints. For a program without that verb, write one: a JSON object with `name`, and
what there is of the following. Events are full names, as in ce_type; topics are names in Kafka, with the prefix.
  publishes     text   the topic of its events, which no other service publishes to
  events        texts  events that it publishes
  ends          texts  those of them that nobody need subscribe to
  hears         texts  topics that it subscribes to
  reacts_to     texts  events of those topics that it consumes
  ignores       texts  events of those topics that it knows and skips
  commands      text   the type of its commands, as you call it; without it, it takes none
  deadlines     texts  what it waits for
  effects       texts  what it asks of the outside world
  source        text   what its records name as ce_source; /farandole/<name> without it
  group         text   its consumer group; <name> without it
  content_type  text   how its values are written; application/avro without it
A text is \"…\", texts are [\"…\", \"…\"]. Other fields are ignored, and named. One description, on one line or more:
  {\"name\": \"billing\", \"publishes\": \"billing\", \"events\": [\"acme.billing.Billed\"], \"hears\": [\"orders\"], \"reacts_to\": [\"acme.orders.Placed\"]}

Examples:
  for service in orders inventory payments shipping; do target/release/$service describe --output json >$service.json; done
  farandole graph *.json                                  who publishes what, who consumes it
  farandole graph --output mermaid *.json                 a diagram for a README; dot for Graphviz
  cat *.json | farandole graph --output asyncapi --schemas schemas >asyncapi.yaml
  farandole graph --check --schemas schemas *.json        exit 1 if something is consumed that nobody publishes, and the like
  farandole graph --pages docs --schemas schemas *.json   write docs/choreography.md, docs/asyncapi.yaml and a page for each event
  farandole graph --observed -b broker:9093 *.json        exit 1 if the topics hold something else than is declared

Exit codes: 0 done, or nothing found wrong; 1 something found wrong with --check or --observed, or a description or schema can't be used;
2 wrong usage; 3 the topics could not be read";

/// What to draw, from what.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Descriptions of all services, one or more in a file; `-`, or no file, is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The folder with the events' schemas, a folder a topic and an .avsc an event
    #[arg(long, value_name = "FOLDER")]
    schemas: Option<PathBuf>,
    /// Write choreography.md, asyncapi.yaml and events/<topic>/<Event>.md there, instead of printing
    #[arg(long, value_name = "FOLDER", requires = "schemas")]
    pages: Option<PathBuf>,
    /// Exit 1 if an event is consumed that nobody publishes, published and neither consumed nor declared an end, or (with --schemas) has
    /// no schema; if two services publish to one topic; or if a description has a misspelt field
    #[arg(long)]
    check: bool,
    /// Read the topics, and name producers, events and consumers that aren't declared, and what is declared and was never seen
    #[arg(long, conflicts_with_all = ["pages", "check", "schemas"])]
    observed: bool,
    /// No progress bar
    #[arg(long, requires = "observed")]
    quiet: bool,
    /// Records whose types are held in memory at once; longer topics are read again
    #[arg(long, hide = true, default_value_t = WINDOW, value_parser = clap::value_parser!(i64).range(1..))]
    window: i64,
}

/// Output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Words
    Text,
    /// One line of JSON
    Json,
    /// A Mermaid flowchart
    Mermaid,
    /// A Graphviz digraph
    Dot,
    /// An AsyncAPI 3 document, as YAML
    Asyncapi,
}

/// Does it; `bootstrap` and `properties` say where topics are, for `--observed`.
pub fn run(args: &Args, bootstrap: &str, properties: &[(String, String)]) -> ExitCode {
    let declared = declared::read(&args.files).map(Choreography::of);
    if let Ok(all) = &declared {
        all.services()
            .iter()
            .flat_map(|s| s.unknown.iter().filter_map(|field| field.note(&s.name)))
            .for_each(|note| warned(&note));
    }
    let schemas = args.schemas.as_ref().map(|folder| Schemas::read(folder)).transpose();
    match declared.and_then(|all| Ok((all, schemas?))) {
        Ok((all, _)) if args.observed => observed(args, &all, &client("farandole-graph", bootstrap, properties)),
        Ok((all, schemas)) => drawn(args, &all, schemas.as_ref()),
        Err(error) => failed(&error, ExitCode::FAILURE),
    }
}

fn drawn(args: &Args, all: &Choreography, schemas: Option<&Schemas>) -> ExitCode {
    let problems = all.problems(schemas.map(Schemas::names).as_ref());
    match (&args.pages, schemas) {
        (Some(folder), Some(schemas)) => {
            if let Err(error) = pages::write(folder, &pages::pages(all, schemas)) {
                return failed(&error, ExitCode::FAILURE);
            }
        }
        _ => match args.output {
            Output::Text => print!("{}", text(all)),
            Output::Json => println!(
                "{}",
                json!({ "services": all.services(), "events": all.events().collect::<Vec<_>>(), "problems": problems })
            ),
            Output::Mermaid => print!("{}", mermaid(all)),
            Output::Dot => print!("{}", dot(all)),
            Output::Asyncapi => print!("{}", yaml(&asyncapi(all, schemas))),
        },
    }
    problems.iter().for_each(|problem| warned(problem));
    if args.check && !problems.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn observed(args: &Args, all: &Choreography, kafka: &ClientConfig) -> ExitCode {
    if !matches!(args.output, Output::Text | Output::Json) {
        eprintln!("farandole: --observed prints text or json");
        return ExitCode::from(2);
    }
    // What else doesn't fit shows in what is observed.
    all.services().iter().flat_map(|s| s.unknown.iter().filter_map(|field| field.slip(&s.name))).for_each(|slip| warned(&slip));
    match observe(kafka, all, args.window, !args.quiet && std::io::stderr().is_terminal()) {
        Ok(report) => {
            match args.output {
                Output::Json => println!("{}", json!(report)),
                _ => print!("{report}"),
            }
            if report.named.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => failed(&error, ExitCode::from(3)),
    }
}

fn warned(words: &str) {
    eprintln!("farandole: {}", shown(words));
}

fn failed(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    eprintln!("farandole: {}", shown_lines(&format!("{error:#}")));
    code
}

#[cfg(test)]
mod tests {
    use super::super::declared::Declared;
    use super::*;

    /// Guard: whoever writes a description by hand has only the help.
    #[test]
    fn the_help_lists_every_field() {
        let fields = json!(Declared::default());
        for field in fields.as_object().unwrap().keys().filter(|field| *field != "name") {
            let what = if fields[field].is_string() { "text" } else { "texts" };
            assert!(EXAMPLES.contains(&format!("\n  {field:<13} {what:<6} ")), "{field}");
        }
    }
}
