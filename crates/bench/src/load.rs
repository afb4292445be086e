//! Writers at a fixed rate: one event a transaction, on a schedule that waits for nobody.
//!
//! Each writer is a thread with a connection of its own: a thread's sleep is exact to some tens of microseconds, a timer of the
//! runtime only to a millisecond. A writer that is late begins at once, and its event's lateness counts as latency: the clock of
//! an event starts where its commit *would* have ended, had it begun when it was due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::runtime::{Builder, Runtime};

use crate::rows::{self, Rows};

/// Keys of one writer. No two writers share one, so the order of a key's commits is that of its versions.
const KEYS: usize = 50;

/// All writers of one topic.
pub struct Writers {
    writers: Vec<Writer>,
    /// Events committed since the beginning, by all.
    pub committed: Arc<AtomicU64>,
    /// The number of the next event.
    next: u32,
}

/// An event, and when its latency begins.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub number: u32,
    pub at: Instant,
}

struct Writer {
    name: usize,
    runtime: Runtime,
    conn: PgConnection,
    sql: Arc<str>,
    versions: Vec<u64>,
}

impl Writers {
    /// `count` of them, connected to the outbox at `url`. Blocks; not on a runtime's thread.
    pub fn connect(url: &str, rows: &Rows, count: usize) -> anyhow::Result<Self> {
        let sql: Arc<str> = rows.insert().into();
        let writers = (0..count).map(|name| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let conn = runtime.block_on(PgConnection::connect(url)).context("connecting a writer")?;
            Ok(Writer { name, runtime, conn, sql: sql.clone(), versions: vec![0; KEYS] })
        });
        Ok(Self { writers: writers.collect::<anyhow::Result<_>>()?, committed: Arc::default(), next: 0 })
    }

    /// Writes `count` events at `rate` a second and returns when all are committed. Blocks.
    pub fn run(&mut self, rate: f64, count: u32) -> anyhow::Result<Vec<Sent>> {
        let (first, committed) = (self.next, &*self.committed);
        self.next += count;
        let writers = u32::try_from(self.writers.len())?;
        let start = Instant::now() + Duration::from_millis(20);
        let every = Duration::from_secs_f64(1.0 / rate);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..writers)
                .zip(&mut self.writers)
                .map(|(n, writer)| {
                    // Every so-manieth event is this writer's.
                    let mine = (n..count).step_by(writers.max(1) as usize);
                    let dues = mine.map(move |k| (first + k, start + every * k));
                    scope.spawn(move || writer.run(dues, committed))
                })
                .collect();
            let mut sent = Vec::with_capacity(count as usize);
            for thread in threads {
                match thread.join() {
                    Ok(part) => sent.extend(part?),
                    Err(_) => bail!("a writer panicked"),
                }
            }
            Ok(sent)
        })
    }
}

impl Writer {
    fn run(&mut self, dues: impl Iterator<Item = (u32, Instant)>, committed: &AtomicU64) -> anyhow::Result<Vec<Sent>> {
        let mut sent = Vec::new();
        for (turn, (number, due)) in dues.enumerate() {
            let key = turn % KEYS;
            let version = self.versions.get_mut(key).context("a key without a version")?;
            let payload = rows::payload(*version, number);
            *version += 1;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let began = Instant::now();
            let insert = sqlx::query(AssertSqlSafe(self.sql.clone()))
                .bind(format!("w{}-{key}", self.name))
                .bind(payload.into_bytes())
                .execute(&mut self.conn);
            self.runtime.block_on(insert).context("writing an event")?;
            let ended = Instant::now();
            committed.fetch_add(1, Relaxed);
            sent.push(Sent { number, at: origin(due, began, ended) });
        }
        Ok(sent)
    }
}

/// Where a commit would have ended that had begun when it was due.
fn origin(due: Instant, began: Instant, ended: Instant) -> Instant {
    due + ended.saturating_duration_since(began)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No coordinated omission: who is held up doesn't get its delay for nothing.
    #[test]
    fn lateness_counts() {
        let due = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(origin(due, due, due + ms(3)), due + ms(3));
        assert_eq!(origin(due, due + ms(100), due + ms(103)), due + ms(3), "100 ms late: seen at once, it took 100 ms");
    }
}
