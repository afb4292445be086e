//! `audit`: checks what a shop that runs has left, in its topics, databases and the outside world's books.

use std::process::ExitCode;

use anyhow::Context as _;
use audit::sources::{CORE, SERVICES, Sources};
use audit::{Audit, history};
use clap::Parser;
use serde_json::json;

/// Reads the shop's topics, databases and the books of acquirer and carrier, and checks every order and every article.
///
/// The shop must have come to rest: what is still under way counts as a violation.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  (. \"$SERVICES/audit.env\" && scripts/audit)   of the demo, which prints SERVICES\n  scripts/audit --json | jq .violations\n\nDatabases: DATABASE_ORDERS, DATABASE_INVENTORY, DATABASE_PAYMENTS, DATABASE_SHIPPING and, if it runs, DATABASE_NOTIFICATIONS, each with a role that may read it.\n\nExit codes: 0 everything holds, 1 something doesn't or can't be read, 2 wrong usage"
)]
struct Args {
    /// Brokers
    #[arg(long, env = "FARANDOLE_KAFKA_BOOTSTRAP")]
    bootstrap: String,
    /// The registry's Confluent API
    #[arg(long, env = "FARANDOLE_REGISTRY_URL")]
    registry: String,
    /// Before every topic
    #[arg(long, env = "FARANDOLE_TOPICS_PREFIX", default_value = "")]
    prefix: String,
    /// The acquirer's base URL
    #[arg(long, env = "ACQUIRER")]
    acquirer: String,
    /// The carrier's base URL
    #[arg(long, env = "CARRIER")]
    carrier: String,
    /// The mail catcher's base URL, if there is one
    #[arg(long, env = "MAIL")]
    mail: Option<String>,
    /// Print JSON: each check with its violations, and the history of orders that are named
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = tokio::runtime::Runtime::new().context("starting the runtime").and_then(|runtime| runtime.block_on(run(&args)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("audit: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<bool> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default(); // the only provider that is compiled in
    let mut databases = std::collections::BTreeMap::new();
    for service in SERVICES {
        // Not an argument: a password doesn't belong into a list of processes.
        let name = format!("DATABASE_{}", service.to_uppercase());
        let url = std::env::var(&name).with_context(|| format!("{name} must hold the URL of {service}'s database"));
        match url {
            Err(error) if CORE.contains(&service) => return Err(error),
            // A shop may do without.
            Err(_) => {}
            Ok(url) => drop(databases.insert(service, url)),
        }
    }
    let Args { bootstrap, registry, prefix, acquirer, carrier, .. } = args;
    let sources = Sources {
        kafka: bootstrap.clone(),
        registry: registry.clone(),
        prefix: prefix.clone(),
        databases,
        acquirer: acquirer.clone(),
        carrier: carrier.clone(),
        mail: args.mail.clone(),
    };
    let audit = audit::audit(&sources).await?;
    if args.json {
        println!("{}", as_json(&audit))
    } else {
        print(&audit)
    }
    Ok(audit.holds())
}

fn print(audit: &Audit) {
    println!("{} orders, {} articles, {} events", audit.facts.orders.len(), audit.facts.stock.len(), audit.facts.events);
    audit.checks.iter().for_each(|check| println!("{check}"));
}

fn as_json(audit: &Audit) -> serde_json::Value {
    let checks = audit.checks.iter().map(|check| {
        json!({ "what": check.what, "checked": check.checked, "violations": check.violations, "examples": check.examples, "notes": check.notes })
    });
    let named = |id: &str| audit.checks.iter().any(|check| check.examples.iter().any(|example| example.contains(id)));
    let histories = audit.facts.orders.iter().filter(|(id, _)| named(&id.to_string()));
    let histories = histories.map(|(id, order)| (id.to_string(), json!(history::lines(order).collect::<Vec<_>>())));
    json!({
        "orders": audit.facts.orders.len(),
        "articles": audit.facts.stock.len(),
        "events": audit.facts.events,
        "holds": audit.holds(),
        "violations": audit.checks.iter().map(|check| check.violations).sum::<usize>(),
        "checks": checks.collect::<Vec<_>>(),
        "histories": histories.collect::<serde_json::Map<_, _>>(),
    })
}
