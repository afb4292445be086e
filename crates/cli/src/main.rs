//! `farandole`: the operator's tool.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use farandole_cli::verify::{self, Report};

const EXAMPLES: &str = "\
Examples:
  farandole verify orders                                 walk the topic, exit 1 if a chain is broken
  farandole verify orders --json | jq .violations
  farandole verify orders -b broker:9093 -X security.protocol=SSL

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage, 3 the topic could not be read";

/// Sees, verifies and repairs what Farandole's services publish.
#[derive(Debug, Parser)]
#[command(name = "farandole", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Walk a topic from its beginning and check that every chain in it is whole
    ///
    /// Duplicates and late ghosts (records of an older lineage) are counted and harmless: consumers drop them. Gaps, forks and
    /// damaged headers are violations: there, consumers stop. Foreign records carry no `farandole` header.
    #[command(after_help = EXAMPLES)]
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
}

#[derive(Debug, clap::Args)]
struct Kafka {
    /// Brokers to begin with, host:port,host:port
    #[arg(short, long, env = "FARANDOLE_KAFKA_BOOTSTRAP", default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// A further property of the Kafka client (librdkafka's names); may be given several times
    #[arg(short = 'X', long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let Verb::Verify { topic, kafka, json, quiet } = Cli::parse().verb;
    let progress = !quiet && std::io::stderr().is_terminal();
    match verify::topic(&kafka.bootstrap, &kafka.properties, &topic, progress) {
        Ok(report) => {
            if json {
                println!("{}", serde_json::json!(report));
            } else {
                print(&report);
            }
            if report.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("farandole: {error:#}");
            ExitCode::from(3)
        }
    }
}

fn print(report: &Report) {
    println!("{}: {} records in {} partitions", report.topic, report.records, report.partitions);
    println!(
        "{:<40} {:>8} {:>12} {:>11} {:>6} {:>6} {:>7}",
        "source", "lineage", "links", "duplicates", "gaps", "forks", "ghosts"
    );
    for line in &report.chains {
        let t = &line.tally;
        let source: String = line.source.chars().take(40).collect();
        println!(
            "{source:<40} {:>8} {:>12} {:>11} {:>6} {:>6} {:>7}",
            line.lineage, t.links, t.duplicates, t.gaps, t.forks, t.ghosts
        );
    }
    println!("{} foreign records, {} damaged headers", report.foreign, report.damaged);
    for example in &report.examples {
        println!("  {example}");
    }
    println!("{} violations", report.violations);
}
