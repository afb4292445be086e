//! All that a database holds of a service.

use super::super::from_nothing::positions;
use crate::service::*;

const TABLES: [&str; 3] = ["plots", "beds", "stock"];

pub(super) type Rows = Vec<Vec<String>>;

pub(super) async fn rows(pool: &PgPool, schema: &str) -> Rows {
    let mut found = Vec::new();
    for table in TABLES {
        let sql = format!("select to_jsonb(t)::text from {schema}.{table} t order by 1");
        found.push(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap());
    }
    found
}

/// All that a database holds of the service, but for what is of this database alone: numbers and times of rows.
#[derive(Debug)]
pub(super) struct All {
    pub(super) rows: Rows,
    /// Those that are open, whole.
    open: Vec<String>,
    /// Those that are open, closed, or parked with what came of them.
    tasks: Vec<String>,
    answers: Vec<String>,
    parked: Vec<String>,
    positions: Vec<(String, i64)>,
}

impl All {
    pub(super) async fn of(pool: &PgPool) -> Self {
        let texts = async |sql: &'static str| sqlx::query_scalar(sql).fetch_all(pool).await.unwrap();
        Self {
            rows: rows(pool, "public").await,
            open: texts(
                "select concat_ws('|', name, key, cause, kind, due, target, effect, correlation, idempotency_key) from farandole.tasks
                 where not closed order by 1",
            )
            .await,
            tasks: texts(
                "select concat_ws('|', name, key, cause) from farandole.tasks union
                 select concat_ws('|', task_name, task_key, task_cause) from farandole.parked where task_name is not null order by 1",
            )
            .await,
            answers: texts("select concat_ws('|', scope, key, body_hash, status, answer) from farandole.idempotency order by 1").await,
            // The reason is that of the last try.
            parked: texts(
                "select concat_ws('|', reader, aggregate, also, topic, partition, record_offset, key, value, headers, head)
                 from farandole.parked where task_name is null order by aggregate, seq",
            )
            .await,
            positions: positions(pool).await,
        }
    }

    /// Whether `now` is the same. An effect that was closed before it began may have begun, as far as a topic tells, and is run again; what came
    /// of a task and is parked comes again with the task.
    pub(super) fn is_back(&self, now: &Self) {
        assert_eq!((&now.rows, &now.answers, &now.positions), (&self.rows, &self.answers, &self.positions));
        assert_eq!(now.parked, self.parked);
        assert!(self.open.iter().all(|task| now.open.contains(task)), "{:?} of {:?}", now.open, self.open);
        let place = |task: &String| task.split('|').take(3).collect::<Vec<_>>().join("|");
        assert!(now.open.iter().all(|task| self.tasks.contains(&place(task))), "{:?} of {:?}", now.open, self.tasks);
        assert!(self.tasks.iter().all(|task| now.tasks.contains(task)), "{:?} of {:?}", now.tasks, self.tasks);
    }
}
