//! `importer`: turns a file of real orders into orders of the shop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Imports the "Online Retail" data set, or a file of the same columns, into a running shop.
///
/// Ends with an account: lines of the file = rows read = rows taken + rows turned away, by reason, with the first lines of each. A
/// second run places nothing twice; of two files each brings its own stock.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  importer --orders http://127.0.0.1:8081 --inventory http://127.0.0.1:8082 online-retail.csv.gz\n\nExit codes: 0 imported, 1 failed, 2 wrong usage,\n  3 imported, but the file is damaged in places (columns, quotes) or the shop refused something: the account says what"
)]
struct Args {
    /// The file, plain or gzip
    data: PathBuf,
    /// Base URL of the orders service
    #[arg(long, env = "IMPORTER_ORDERS")]
    orders: String,
    /// Base URL of the inventory service
    #[arg(long, env = "IMPORTER_INVENTORY")]
    inventory: String,
    /// Requests in flight at most
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// Orders a second, evenly; as fast as they are taken when left out
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Further orders to cancel
    #[arg(long, default_value_t = 0)]
    cancels: u32,
    /// Write every line that is turned away to this file: its number, the reason, and what the shop said if it was the shop
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    /// No progress bar
    #[arg(long)]
    quiet: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let options = importer::Options {
        data: args.data,
        orders: args.orders.trim_end_matches('/').to_owned(),
        inventory: args.inventory.trim_end_matches('/').to_owned(),
        concurrency: usize::from(args.concurrency),
        rate: args.rate,
        scripted_cancels: args.cancels,
        refused: args.refused,
        progress: !args.quiet,
        placed: None,
    };
    match importer::run(options).await {
        Ok(account) => {
            println!("{}", serde_json::json!(account));
            if account.is_whole() {
                return ExitCode::SUCCESS;
            }
            eprintln!("importer: not all of the file could be imported; see `examples` and `receipts_refused`");
            ExitCode::from(3)
        }
        Err(error) => {
            eprintln!("importer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
