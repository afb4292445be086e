//! What a service's database holds, row by row, and how two of them differ.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use stage::Database;

/// The tables of a service's state, each with its key.
pub fn tables(service: &str) -> &'static [(&'static str, &'static str)] {
    match service {
        "orders" => &[("orders", "order_id")],
        "inventory" => &[("stock", "sku"), ("reservations", "order_id")],
        "shipping" => &[("shipments", "order_id")],
        "notifications" => &[("notifications", "order_id")],
        _ => &[("payments", "order_id")],
    }
}

/// What isn't a table of its own: name, and a query for key and row. What is of one database alone (numbers and times of rows) is left out.
const KITS: [(&str, &str); 3] = [
    (
        "tasks",
        "select concat_ws('/', name, key, cause), concat_ws('|', closed, kind, due, target, effect, correlation, idempotency_key)
         from farandole.tasks",
    ),
    ("answers", "select concat_ws(' ', scope, key), concat_ws('|', body_hash, status, answer) from farandole.idempotency"),
    (
        "parked",
        "select coalesce(topic || '/' || partition || '@' || record_offset, concat_ws('/', task_kind, task_name, task_key, task_cause)),
                concat_ws('|', reader, aggregate, also, row_number() over (partition by reader, aggregate order by seq), key, value,
                          headers, head, reason, task)
         from farandole.parked",
    ),
];

/// Rows by their key.
pub type Rows = BTreeMap<String, String>;

/// Everything, by what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(pub BTreeMap<&'static str, Rows>);

/// Rows that differ, by their key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// In the first only.
    pub missing: Vec<String>,
    /// In the second only.
    pub added: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        self.missing.len() + self.added.len() + self.changed.len()
    }

    /// The keys of all.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.missing.iter().chain(&self.added).chain(&self.changed)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: Vec<&str> = self.keys().take(3).map(String::as_str).collect();
        write!(f, "{} missing, {} added, {} changed: ", self.missing.len(), self.added.len(), self.changed.len())?;
        write!(f, "{}{}", first.join(", "), if self.count() > first.len() { " …" } else { "" })
    }
}

impl Held {
    /// Reads all of it.
    pub async fn read(service: &str, database: &Database) -> anyhow::Result<Self> {
        let mut conn = PgConnection::connect(&database.url).await.with_context(|| format!("connecting to {}", database.name))?;
        let mut held = BTreeMap::new();
        let reading = || format!("reading {}", database.name);
        for (table, key) in tables(service) {
            let sql = format!("select {key}::text, t::text from {table} t");
            let rows: Vec<(String, String)> =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut conn).await.with_context(reading)?;
            held.insert(*table, rows.into_iter().collect());
        }
        for (what, sql) in KITS {
            let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut conn).await.with_context(reading)?;
            held.insert(what, rows.into_iter().collect());
        }
        let positions = farandole::intake::positions(&mut conn, service).await.with_context(reading)?;
        held.insert("positions", positions.into_iter().map(|(at, position)| (at, position.next_offset.to_string())).collect());
        conn.close().await?;
        Ok(Self(held))
    }

    pub fn rows(&self, what: &str) -> &Rows {
        static NONE: Rows = Rows::new();
        self.0.get(what).unwrap_or(&NONE)
    }

    /// What of `what` differs in `after`.
    pub fn difference(&self, after: &Self, what: &str) -> Difference {
        let (before, after) = (self.rows(what), after.rows(what));
        let mut difference = Difference::default();
        for (key, row) in before {
            match after.get(key) {
                None => difference.missing.push(key.clone()),
                Some(other) if other != row => difference.changed.push(key.clone()),
                Some(_) => {}
            }
        }
        difference.added.extend(after.keys().filter(|key| !before.contains_key(*key)).cloned());
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_differ_are_told_by_how() {
        let rows = |rows: &[(&str, &str)]| rows.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Rows>();
        let held = |of: &[(&str, &str)]| Held([("tasks", rows(of))].into());
        let (before, after) = (held(&[("a", "1"), ("b", "1"), ("c", "1")]), held(&[("a", "1"), ("c", "2"), ("d", "1")]));
        let found = before.difference(&after, "tasks");
        let one = |key: &str| vec![key.to_owned()];
        assert_eq!(found, Difference { missing: one("b"), added: one("d"), changed: one("c") });
        assert_eq!(found.to_string(), "1 missing, 1 added, 1 changed: b, d, c");
        assert!(before.difference(&before, "tasks").is_empty() && before.difference(&after, "nothing").is_empty());
    }
}
