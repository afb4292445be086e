//! Reading a topic to its end, as it was when the reading began and as consumers see it.

use std::collections::HashMap;
use std::thread;

use anyhow::{Context as _, bail};
use farandole::extent::{Client, Extent, View};
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::config::ClientConfig;

use crate::kafka::client;

use super::{Report, Seen, Walk};

/// Records between two looks at the progress bar.
const TICK: u64 = 1_000;

/// Walks every partition of `topic`, as many at a time as there are cores.
///
/// # Errors
/// When there is no such topic, or it can't be read to its end.
pub fn topic(bootstrap: &str, properties: &[(String, String)], topic: &str, progress: bool) -> anyhow::Result<Report> {
    let config = client("farandole-verify", bootstrap, properties);
    let parts = Client::new(&config, View::Committed)?
        .extents(topic)
        .with_context(|| format!("asking {bootstrap} (-b, FARANDOLE_KAFKA_BOOTSTRAP) for topic {topic}"))?;
    if parts.is_empty() {
        bail!("there is no topic {topic:?}; is its prefix part of the name?");
    }
    let total: i64 = parts.iter().map(|p| p.high - p.low).sum();
    let bar = if progress { ProgressBar::new(u64::try_from(total).unwrap_or(0)) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {per_sec}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(parts.len()).max(1);
    let shares: Vec<Vec<Extent>> = (0..threads).map(|n| parts.iter().skip(n).step_by(threads).cloned().collect()).collect();
    let walks = thread::scope(|scope| {
        let readers: Vec<_> = shares.iter().map(|share| scope.spawn(|| read(&config, share, &bar))).collect();
        readers.into_iter().map(|r| r.join().unwrap_or_else(|_| bail!("a reader panicked"))).collect::<anyhow::Result<Vec<_>>>()
    })?;
    bar.finish_and_clear();
    Ok(Report::of(topic, walks.into_iter().flatten().collect()))
}

fn read(config: &ClientConfig, parts: &[Extent], bar: &ProgressBar) -> anyhow::Result<Vec<Walk>> {
    let walk = |part: &Extent| (part.partition, Walk::new(format!("{}/{}", part.topic, part.partition), part.low > 0));
    let mut walks: HashMap<i32, Walk> = parts.iter().map(walk).collect();
    let mut ticks = 0;
    Client::new(config, View::Committed)?.each(parts, |record| {
        if let Some(walk) = walks.get_mut(&record.partition) {
            walk.record(record.offset, Seen::of(record.link()));
        }
        ticks += 1;
        if ticks >= TICK {
            bar.inc(std::mem::take(&mut ticks));
        }
        anyhow::Ok(true)
    })?;
    Ok(walks.into_values().collect())
}
