//! One clock for this process and for what is on the topics, whose times are the database's and, on the same machine, the system's.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::Connection as _;

/// Questions to the database, of which the quickest answer counts.
const ASKED: usize = 20;

/// An instant and what the database's clock showed then.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    instant: Instant,
    micros: i64,
}

impl Clock {
    /// Asks the database, some times: the answer lies halfway between question and answer.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub async fn of(url: &str) -> anyhow::Result<Self> {
        let mut conn = sqlx::PgConnection::connect(url).await.context("asking the database for the time")?;
        let mut best: Option<(Duration, Self)> = None;
        for _ in 0..ASKED {
            let asked = Instant::now();
            let sql = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
            let micros: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await?;
            let took = asked.elapsed();
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, Self { instant: asked + took / 2, micros }));
            }
        }
        conn.close().await?;
        Ok(best.context("the database was asked")?.1)
    }

    /// Microseconds since the epoch at `instant`.
    pub fn micros(&self, instant: Instant) -> i64 {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.micros + micros(later),
            None => self.micros - micros(self.instant - instant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_the_moment_that_is_known() {
        let clock = Clock { instant: Instant::now() + Duration::from_secs(9), micros: 1_000_000 };
        let at = |ms| clock.micros(clock.instant + Duration::from_millis(ms));
        assert_eq!((at(0), at(250)), (1_000_000, 1_250_000));
        assert_eq!(clock.micros(clock.instant - Duration::from_millis(250)), 750_000);
    }
}
