//! The load: orders drawn from the seed, or those of a file first.

use std::path::PathBuf;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::shop::load::Load;

/// Requests of a file's orders in flight at most.
const IN_FLIGHT: usize = 32;

/// Which orders are placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Orders {
    /// Drawn ones, so many a second.
    Drawn { rate: u32 },
    /// Those of a file, so many a second; drawn ones once the file is at its end, until the drills are.
    File { path: PathBuf, rate: u32 },
}

impl Orders {
    /// How many a second.
    pub(super) fn rate(&self) -> u32 {
        match self {
            Self::Drawn { rate } | Self::File { rate, .. } => *rate,
        }
    }
}

/// Places orders until told to stop, and a file to its end. Gives what was placed, in a line.
pub(super) async fn run(load: &Load, orders: &Orders, fronts: [String; 2], stop: CancellationToken) -> anyhow::Result<String> {
    let mut told = String::new();
    if let Orders::File { path, rate } = orders {
        let [orders, inventory] = fronts.map(|front| format!("http://{front}"));
        let options = importer::Options {
            data: path.clone(),
            orders,
            inventory,
            concurrency: IN_FLIGHT,
            rate: Some(*rate),
            scripted_cancels: 100,
            refused: None,
            progress: false,
            placed: None,
        };
        let account = importer::run(options).await.with_context(|| format!("importing {}", path.display()))?;
        told = format!("{} lines of the file gave {} orders in {:.0} s; ", account.lines, account.placed, account.seconds);
        if stop.is_cancelled() {
            return Ok(told + "the file's end came after the last drill");
        }
    }
    let drawn = load.run(stop).await?;
    Ok(format!("{told}drawn: {drawn}"))
}
