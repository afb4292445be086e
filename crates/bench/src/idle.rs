//! A service that has nothing to do: the example of the README, with all its parts, on the stage.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use stage::process::Command;
use stage::{Stage, tail};
use tokio::task::block_in_place;

use crate::machine::usage_of;
use crate::report::{Figure, Side};

/// How long it may take to be ready: its first start makes tables, topics and schemas.
const READY: Duration = Duration::from_secs(60);
/// Until its start is over, and its wait for the next look at everything has grown to the longest.
const SETTLE: Duration = Duration::from_secs(5);

/// Share of a core that it uses over `window`, and the most memory that it had since its start.
pub async fn measure(stage: &Stage, window: Duration, runs: u16) -> anyhow::Result<[Figure; 2]> {
    let sandbox = stage.sandbox().await?;
    let database = sandbox.database("loyalty").await?;
    let folder = tempfile::tempdir().context("making a folder for its log")?;
    let (log, port) = (folder.path().join("loyalty.log"), stage::free_port(&[])?);
    let me = std::env::current_exe().context("finding this program")?;
    // Beside this program, or above a test's.
    let binary = me.ancestors().skip(1).map(|folder| folder.join("loyalty")).find(|path| path.is_file());
    let service = Command::new("loyalty", binary.context("loyalty isn't built; run `cargo build --release -p loyalty` first")?)
        .args(["serve", "--migrate"])
        .env([
            ("FARANDOLE_DATABASE_URL", database.url),
            ("FARANDOLE_KAFKA_BOOTSTRAP", stage.kafka().to_owned()),
            ("FARANDOLE_REGISTRY_URL", stage.registry().to_owned()),
            ("FARANDOLE_HTTP_LISTEN", format!("127.0.0.1:{port}")),
            ("FARANDOLE_TOPICS_PREFIX", sandbox.prefix),
        ])
        .log(&log)
        .spawn()?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default(); // the only provider that is compiled in
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
    let ready = async || {
        let answer = client.get(format!("http://127.0.0.1:{port}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    let until = Instant::now() + READY;
    while !ready().await {
        ensure!(service.is_running() && Instant::now() < until, "the service isn't ready:\n{}", tail(&log));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(SETTLE).await;
    let (mut cpu, mut memory) =
        (Figure::new("idle CPU", "% of a core", "").limit(1.0), Figure::new("idle memory", "MB", "").limit(30.0));
    for _ in 0..runs {
        let (before, began) = (usage_of(service.pid())?, Instant::now());
        tokio::time::sleep(window).await;
        let (after, seconds) = (usage_of(service.pid())?, began.elapsed().as_secs_f64());
        let share = (after.cpu_s - before.cpu_s) / seconds * 100.0;
        cpu.runs.push((Side::new(share, before, after), None));
        memory.runs.push((Side::new(after.peak_mb, before, after), None));
    }
    ensure!(ready().await, "the service was idle, and is not ready any more:\n{}", tail(&log));
    block_in_place(|| service.stop(Duration::from_secs(20)));
    Ok([cpu, memory])
}
