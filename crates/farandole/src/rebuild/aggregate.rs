//! One aggregate's rows, from its own events alone: compared with the live ones, and mended.
//!
//! **Which rows**: those whose key is the aggregate's id, or begins with it, in tables that no other aggregate's event changes
//! ([`shared`](super::shared)). What several aggregates make together (stock) is the whole topic's matter, and is only named.
//!
//! Which these are is looked at first: such a row may be equal by accident.
//!
//! **Beside the live service.** Rows that are equal cost nobody anything. Where they differ, everybody who decides waits for a moment, as for a
//! swap, until the relay has published what is left: a difference that stands then is one, and is mended in one transaction.
//!
//! The rows are folded into temporary tables, which end with the session, however that ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tokio::sync::mpsc;

use crate::database::session;
use crate::fold::{Events, Folder};
use crate::participant::Participant;
use crate::participant::table::{Stored, Tables as _};
use crate::publish::relay::log;
use crate::publish::relay::own::Own;
use crate::rebuild::compare::{self, Side};
use crate::rebuild::error::database;
use crate::rebuild::fit::{self, Purpose};
use crate::rebuild::look::Look;
use crate::rebuild::read::{AHEAD, Mark, Reader, client, extents};
use crate::rebuild::report::AggregateReport;
use crate::rebuild::shadow::{self, Declared, quoted};
use crate::rebuild::shared::Shared;
use crate::rebuild::{Error, Rebuild, swap};
use crate::wire::extent::{Client, Extent};
use crate::wire::partitioner;

/// The setting by which statements know the aggregate.
const ID: &str = "farandole.aggregate";

/// A fold of one aggregate.
struct One<'a, P: Participant> {
    rebuild: &'a Rebuild<'a, P>,
    client: Arc<Client>,
    conn: PgConnection,
    folder: Folder<P>,
    id: &'a str,
    /// Where the live tables are.
    live: String,
    /// Tables that can hold rows of this id and are compared, with the type of the column that is it.
    tables: Vec<(Declared, String)>,
    marks: BTreeMap<i32, Mark>,
    /// Tables in which its own events change rows of other keys.
    beyond: BTreeSet<String>,
    report: AggregateReport,
}

impl<P: Participant> Rebuild<'_, P> {
    /// Compares the rows of one aggregate with what its events make; told to `execute`, mends them.
    ///
    /// # Errors
    /// See [`Error`]. The live rows are as they were then.
    pub async fn aggregate(&self, id: &str, execute: bool) -> Result<AggregateReport, Error> {
        Box::pin(self.one(id, execute)).await.map_err(|error| error.of(P::NAME))
    }

    async fn one(&self, id: &str, execute: bool) -> Result<AggregateReport, Error> {
        // As its events' keys have it.
        let id = match id.parse::<P::Id>() {
            Ok(id) if !id.to_string().contains('\0') => id.to_string(),
            Ok(_) => {
                return Err(Error::NoId {
                    service: P::NAME,
                    id: id.to_owned(),
                    why: "no text in PostgreSQL has a NUL".to_owned(),
                });
            }
            Err(why) => return Err(Error::NoId { service: P::NAME, id: id.to_owned(), why: why.to_string() }),
        };
        let mut conn = self.open().await?;
        let state = log::look(&mut conn).await?.state;
        if state.healing {
            return Err(Error::Healing { service: P::NAME });
        }
        let own = Own::of(P::NAME, &state);
        let client = client(self.relay.client())?;
        let ends = extents(&client, &self.topic).await?;
        let found = i32::try_from(ends.len()).unwrap_or(i32::MAX);
        let count = state.partitions.get(&self.topic).copied().unwrap_or(found);
        if count != found {
            // Its events are where they were published to; those of a key go elsewhere by another count.
            return Err(Error::Partitions { topic: self.topic.clone(), found, published: count });
        }
        let partition = partitioner::partition(id.as_bytes(), count);
        let of = |extents: Vec<Extent>| extents.into_iter().filter(move |extent| extent.partition == partition).collect();
        let live = shadow::live(&mut conn).await?;
        fit::check(&mut conn, &live, &P::Tables::columns(), Purpose::Temporary).await?;
        let tables = candidates::<P>(&mut conn, &live, &id).await?;
        let folder = Folder::new(Arc::clone(&self.participant), Stored::Own { expected: 0 });
        let (service, topic, aggregate) = (P::NAME.to_owned(), self.topic.clone(), id.clone());
        let report = AggregateReport { service, topic, aggregate, partition, ..AggregateReport::default() };
        let events = || Events::new(self.codec.clone());
        let mut reader = Reader::new(
            Arc::clone(&client),
            (events(), &self.topic),
            own.clone(),
            (None, self.pass_over.clone()),
            &BTreeMap::new(),
            self.at_once,
        )
        .only(&id);
        let (marks, look) = (BTreeMap::new(), Arc::clone(&client));
        let mut one = One { rebuild: self, client, conn, folder, id: &id, live, tables, marks, beyond: BTreeSet::new(), report };
        let whole: Vec<Extent> = of(ends);
        reader = one.round(reader, whole.clone()).await?;
        swap::reached(&state, P::NAME, &self.topic, (&one.marks, Some(partition)))?;
        if one.report.events == 0 && !one.has_rows().await? {
            return Err(Error::NoAggregate { topic: self.topic.clone(), id });
        }
        // Before anything is compared: a row that several aggregates change may be equal by accident.
        let mut look = Look { client: look, own, passed: self.pass_over.clone(), service: P::NAME, extents: whole };
        let Shared(mut shared) = Shared::of(&self.participant, &events(), &mut one.conn, &look).await?;
        shared.append(&mut one.beyond);
        one.leave(shared);
        one.compare().await?;
        if one.report.differences() == 0 {
            return Ok(one.report);
        }
        let alone = swap::Alone::take(&mut one.conn, P::NAME).await?;
        swap::drained(&mut one.conn, P::NAME, &self.topic).await?;
        look.extents = of(extents(&one.client, &self.topic).await?);
        one.round(reader, look.extents.clone()).await?;
        swap::complete(&mut one.conn, P::NAME, &self.topic, (&one.marks, Some(partition))).await?;
        one.compare().await?;
        if execute && one.report.differences() > 0 {
            one.mend().await?;
        }
        one.report.pause = Some(alone.give(&mut one.conn).await?);
        if one.report.differences() > 0 {
            let last = look.last_of(vec![id.clone()]).await?.remove(&id);
            let examples = one.report.tables.iter_mut().flat_map(|table| &mut table.examples);
            examples.for_each(|example| example.last.clone_from(&last));
        }
        Ok(one.report)
    }
}

/// Tables whose first key column may hold `id`, in the session's temporary form too.
async fn candidates<P: Participant>(conn: &mut PgConnection, live: &str, id: &str) -> Result<Vec<(Declared, String)>, Error> {
    let doing = database("creating temporary tables");
    let set = sqlx::query("select set_config($1, $2, false)").bind(ID).bind(id);
    set.execute(&mut *conn).await.map_err(&doing)?;
    let mut candidates = Vec::new();
    for declared in P::Tables::columns() {
        let (table, columns, key) = declared;
        let sql = "select format_type(atttypid, atttypmod) from pg_attribute
                   where attrelid = to_regclass(format('%I.%I', $1::text, $2::text)) and attname = $3 and not attisdropped";
        let column = sqlx::query_scalar(sql).bind(live).bind(table).bind(columns[0]);
        let Some(of): Option<String> = column.fetch_optional(&mut *conn).await.map_err(&doing)? else {
            return Err(Error::Table { table, why: format!("isn't there: run `{} migrate`", P::NAME) });
        };
        let (name, live) = (quoted(table), quoted(live));
        let sql = format!(
            "create temporary table {name} (like {live}.{name} including defaults including generated including identity);
             alter table pg_temp.{name} add unique ({})",
            columns[..key].iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
        );
        conn.execute(AssertSqlSafe(sql)).await.map_err(&doing)?;
        // An order's id is no article's number: then no row there is of it.
        match conn.execute(AssertSqlSafe(format!("select {}", cast(&of)))).await {
            Ok(_) => candidates.push((declared, of)),
            Err(error) if error.as_database_error().is_some_and(|e| e.code().is_some_and(|c| c.starts_with("22"))) => {}
            Err(error) => return Err(doing(error)),
        }
    }
    // Whatever the search path was: from here on what has no schema is what was just made.
    let path = format!("set search_path = pg_temp, {}", quoted(live));
    conn.execute(AssertSqlSafe(path)).await.map_err(&doing)?;
    Ok(candidates)
}

/// The aggregate's id as a value of a type of PostgreSQL's.
fn cast(of: &str) -> String {
    format!("current_setting('{ID}')::{of}")
}

impl<P: Participant> One<'_, P> {
    /// Folds up to the ends of `extents`.
    async fn round(&mut self, reader: Reader<P>, extents: Vec<Extent>) -> Result<Reader<P>, Error> {
        let (sender, mut chunks) = mpsc::channel(AHEAD);
        let reading = reader.start(extents, sender);
        while let Some(chunk) = chunks.recv().await {
            self.folder.fold(&mut self.conn, &chunk.events).await?;
            self.marks.extend(chunk.marks);
            self.report.events += chunk.events.len() as u64;
            let Self { folder, beyond, id, .. } = self;
            folder.tables.touched(&mut |table, key| {
                if key.first().is_none_or(|first| first != id) {
                    beyond.insert(table.to_owned());
                }
            });
            if self.folder.tables.changed() >= self.rebuild.held {
                self.write_out().await?;
            }
        }
        let reader = reading.await.map_err(|_| Error::Thread)??;
        self.write_out().await?;
        Ok(reader)
    }

    async fn write_out(&mut self) -> Result<(), Error> {
        let doing = database("writing rows");
        self.folder.tables.take_out().map_err(&doing)?.write(&mut self.conn).await.map_err(&doing)?;
        self.folder.tables.let_go();
        Ok(())
    }

    /// Those of the two sides' rows that are the aggregate's.
    fn sides(&self, (table, columns, _): Declared, of: &str) -> (Side, Side) {
        let only = format!(" where {} = {}", quoted(columns[0]), cast(of));
        let side = |schema: &str| Side { table: format!("{schema}.{}", quoted(table)), only: only.clone() };
        (side(&quoted(&self.live)), side("pg_temp"))
    }

    /// Compares what isn't shared.
    async fn compare(&mut self) -> Result<(), Error> {
        self.report.tables.clear();
        for (declared, of) in self.tables.clone() {
            let (live, rebuilt) = self.sides(declared, &of);
            let mut found = compare::compared(&mut self.conn, declared, (&live, &rebuilt)).await?;
            if (found.live, found.rebuilt) != (0, 0) {
                found.left_out = compare::left_out(&mut self.conn, &self.live, declared).await?;
                self.report.tables.push(found);
            }
        }
        Ok(())
    }

    /// Whether a live row, in whatever table, is of this id.
    async fn has_rows(&mut self) -> Result<bool, Error> {
        for (declared, of) in self.tables.clone() {
            let Side { table, only } = self.sides(declared, &of).0;
            let sql = format!("select exists (select from {table}{only})");
            if sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.conn).await.map_err(database("looking for rows"))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Leaves tables out that others change.
    fn leave(&mut self, shared: BTreeSet<String>) {
        self.tables.retain(|((table, ..), _)| !shared.contains(*table));
        self.report.shared = shared.into_iter().collect();
    }

    /// Puts the aggregate's rows in the live ones' place. Columns that no event fills stay.
    async fn mend(&mut self) -> Result<(), Error> {
        let doing = database("mending rows");
        let mut tx = session::begin(&mut self.conn).await.map_err(&doing)?;
        let live = quoted(&self.live);
        for ((table, columns, key), of) in &self.tables {
            let (name, first) = (quoted(table), quoted(columns[0]));
            let listed = |columns: &[&str]| columns.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ");
            let same = columns[..*key].iter().map(|c| format!("r.{0} = l.{0}", quoted(c))).collect::<Vec<_>>().join(" and ");
            let sets = columns.iter().map(|c| format!("{0} = excluded.{0}", quoted(c))).collect::<Vec<_>>().join(", ");
            let (all, keys, id) = (listed(columns), listed(&columns[..*key]), cast(of));
            let sql = format!(
                "delete from {live}.{name} l where l.{first} = {id} and not exists (select from pg_temp.{name} r where {same});
                 insert into {live}.{name} ({all}) select {all} from pg_temp.{name} where {first} = {id}
                 on conflict ({keys}) do update set {sets}"
            );
            tx.execute(AssertSqlSafe(sql)).await.map_err(&doing)?;
        }
        if let Some(operator) = self.rebuild.told {
            let outcome = format!("mended; {} row(s) differed", self.report.differences());
            let what = format!("rows of {}", self.id);
            operator.did(&mut tx, "rebuild --aggregate", what, outcome).await.map_err(Error::Journal)?;
        }
        tx.commit().await.map_err(doing)?;
        self.report.mended = true;
        Ok(())
    }
}
