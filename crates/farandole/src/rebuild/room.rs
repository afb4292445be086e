//! Whether the disk has room for a second set of tables.
//!
//! PostgreSQL says how large the live tables are, which is about what the rebuilt ones will be. How much is free it doesn't say by SQL. Where
//! the server is on this machine and the role may ask where its files are, the file system is asked; elsewhere it can't be looked at, and
//! that is said. What runs full all the same ends with [`Error::DiskFull`].

use std::process::Command;
use std::time::Duration;

use sqlx::PgConnection;

use crate::rebuild::Error;
use crate::rebuild::error::database;
use crate::rebuild::shadow::Shadow;

/// For the file system's answer: one that hangs is none.
const ANSWER: Duration = Duration::from_secs(5);

/// Refuses a rebuild that won't fit, where that can be known.
pub(super) async fn check(conn: &mut PgConnection, service: &'static str, shadow: &Shadow) -> Result<(), Error> {
    let needed = needed(conn, shadow).await?;
    match free(conn).await {
        Ok((free, place)) => fits(service, needed, free, place),
        Err(why) => {
            tracing::info!(needed_mb = needed / 1_000_000, why, "how much is free where the database is couldn't be looked at");
            Ok(())
        }
    }
}

fn fits(service: &'static str, needed: u64, free: u64, place: String) -> Result<(), Error> {
    let (needed_mb, free_mb) = (needed.div_ceil(1_000_000), free / 1_000_000);
    if needed > free {
        return Err(Error::NoRoom { service, needed_mb, free_mb, place });
    }
    tracing::info!(needed_mb, free_mb, place, "there is room for the rebuilt tables");
    Ok(())
}

/// Bytes that are still to be written: those of the live tables, less what an earlier run has written.
async fn needed(conn: &mut PgConnection, shadow: &Shadow) -> Result<u64, Error> {
    let names: Vec<&str> = shadow.tables.iter().map(|(table, ..)| *table).collect();
    let sql = "select coalesce(sum(pg_total_relation_size(to_regclass(format('%I.%I', $1::text, t)))
                             - coalesce(pg_total_relation_size(to_regclass(format('%I.%I', $2::text, t))), 0)), 0)::bigint
               from unnest($3::text[]) t";
    let query = sqlx::query_scalar::<_, i64>(sql).bind(&shadow.live).bind(&shadow.schema).bind(names);
    let bytes = query.fetch_one(conn).await.map_err(database("asking how large the live tables are"))?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Bytes that are free where this database's files are, and where that is; or why that can't be looked at.
async fn free(conn: &mut PgConnection) -> Result<(u64, String), String> {
    // Over a socket there is no address; a server in a container has another than who asks.
    let sql = "select inet_server_addr() is null or inet_server_addr() = inet_client_addr(), pg_has_role('pg_read_all_settings', 'usage')";
    let (is_here, may_ask): (bool, bool) = sqlx::query_as(sql).fetch_one(&mut *conn).await.map_err(|e| e.to_string())?;
    if !is_here {
        return Err("the server is another machine or container".to_owned());
    }
    if !may_ask {
        return Err("the role isn't a member of pg_read_all_settings, and may not ask where the files are".to_owned());
    }
    let sql = "select coalesce(nullif(pg_tablespace_location(dattablespace), ''), current_setting('data_directory'))
               from pg_database where datname = current_database()";
    let place: String = sqlx::query_scalar(sql).fetch_one(conn).await.map_err(|e| e.to_string())?;
    let asked = place.clone();
    let asking = tokio::task::spawn_blocking(move || Command::new("df").env("LC_ALL", "C").args(["-Pk", "--", &asked]).output());
    let answer = tokio::time::timeout(ANSWER, asking).await.map_err(|_| format!("df {place} doesn't answer"))?;
    let answer = answer.map_err(|e| e.to_string())?.map_err(|e| format!("df: {e}"))?;
    let free = available(&String::from_utf8_lossy(&answer.stdout));
    free.map(|free| (free, place)).ok_or_else(|| String::from_utf8_lossy(&answer.stderr).trim().to_owned())
}

/// Bytes that are available, from what `df -Pk` prints of one place.
fn available(df: &str) -> Option<u64> {
    let line = df.lines().nth(1)?;
    // The device and the place may contain blanks; the share in between ends with `%`, and the figure is in front of it.
    let words: Vec<&str> = line.split_whitespace().collect();
    let share = words.iter().rposition(|word| word.strip_suffix('%').is_some_and(|share| share.parse::<u64>().is_ok()))?;
    words.get(share.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_numbers() {
        assert!(fits("orders", 5_000_000, 5_000_000, "/data".to_owned()).is_ok());
        let refused = fits("orders", 5_000_001, 4_999_999, "/data".to_owned()).map_err(|error| error.to_string());
        assert!(
            refused.as_ref().is_err_and(|said| said.contains("6 MB") && said.contains("4 MB") && said.contains("/data")),
            "{refused:?}"
        );
    }

    #[test]
    fn the_file_system_is_understood() {
        let df = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n/dev/my disk     263174212 65000000  27000000      71% /var/lib\n";
        assert_eq!(available(df), Some(27_000_000 * 1024));
        for damaged in [
            "",
            "Filesystem\n",
            "Filesystem\n/dev/vda 71% /\n",
            "Filesystem\n/dev/vda 1 2 18446744073709551615 71% /\n",
            "a\n9% x",
        ] {
            assert_eq!(available(damaged), None, "{damaged:?}");
        }
    }
}
