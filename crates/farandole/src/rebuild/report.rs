//! What a rebuild made of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::ground::time::Timestamp;
use crate::rebuild::kept::Kept;
use crate::rebuild::look::Happened;
use crate::rebuild::read::Mark;
use crate::rebuild::shadow::Shadow;

/// Letters of a value that are printed.
const SHORT: usize = 300;

/// What was folded, compared and swapped.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Whose tables.
    pub service: String,
    /// The topic that they are folded from.
    pub topic: String,
    /// The schema that the rebuilt tables are in, or were in before the swap.
    pub schema: String,
    /// The number up to which was folded, where it was told.
    pub until: Option<i64>,
    /// The time that it was told instead, and the last event by then.
    pub by: Option<(Timestamp, Happened)>,
    /// It went on from an earlier run that was broken off.
    pub resumed: bool,
    /// Events that this run has folded.
    pub events: u64,
    /// Seconds that this took.
    pub seconds: f64,
    /// The number of the last event in the topic.
    pub last: i64,
    /// Rows of each rebuilt table, where they weren't compared.
    pub rows: BTreeMap<String, i64>,
    /// What the comparison found; empty without one.
    pub tables: Vec<TableReport>,
    /// Sessions with the database that it used at most, and how many it may use: a quarter of what a replica may, at least one.
    pub connections: Connections,
    /// How long those who decide had to wait, at most at once, in milliseconds.
    #[serde(rename = "pause_ms")]
    pub pause: Option<f64>,
    /// The schema of the tables that were live before; none if they still are.
    pub replaced: Option<String>,
    /// Sets of replaced tables that are kept, the oldest first.
    pub kept: Vec<Kept>,
}

/// Connections to the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Those used at most at once.
    pub used: u32,
    /// Those that may be used.
    pub allowed: u32,
}

/// A table, rebuilt and live.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// Its name.
    pub table: String,
    /// Rows of the live table.
    pub live: i64,
    /// Rows of the rebuilt one.
    pub rebuilt: i64,
    /// How many rows differ, or are in one of them only.
    pub different: i64,
    /// The first of these.
    pub examples: Vec<Difference>,
    /// Columns that no event fills: they aren't compared.
    pub left_out: Vec<String>,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its key.
    pub key: String,
    /// The aggregate that has this key, if one has: of a key of several columns, the first.
    pub aggregate: String,
    /// The live row; none if there is none.
    pub live: Option<serde_json::Value>,
    /// The rebuilt row.
    pub rebuilt: Option<serde_json::Value>,
    /// The last event of the aggregate; none where events of others make the row.
    pub last: Option<Happened>,
}

impl Report {
    pub(super) fn new(service: &str, topic: &str, shadow: &Shadow, until: Option<i64>) -> Self {
        Self {
            service: service.to_owned(),
            topic: topic.to_owned(),
            schema: shadow.schema.clone(),
            until,
            resumed: shadow.resumed,
            ..Self::default()
        }
    }

    pub(super) fn folded(&mut self, events: u64, took: Duration, marks: &BTreeMap<i32, Mark>) {
        self.events = events;
        self.seconds = took.as_secs_f64();
        self.last = marks.values().map(|mark| mark.head.number).max().unwrap_or(0);
    }

    /// Those who decide had to wait for so many milliseconds.
    pub(super) fn paused(&mut self, pause: f64) {
        self.pause = Some(self.pause.map_or(pause, |longest| longest.max(pause)));
    }

    /// How many rows differ.
    pub fn differences(&self) -> i64 {
        self.tables.iter().map(|table| table.different).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.events as f64 / self.seconds.max(0.001);
        let how = if self.resumed { ", going on from an earlier run" } else { "" };
        writeln!(
            f,
            "{}: {} events of {} folded in {:.1} s ({rate:.0}/s){how}",
            self.service, self.events, self.topic, self.seconds
        )?;
        if let Some(until) = self.until {
            match &self.by {
                Some((time, Happened { kind, time: happened, place, .. })) => {
                    writeln!(f, "as of {time}: number {until} was the last event by then, a {kind} of {happened} at {place}")?;
                }
                None => writeln!(f, "as of number {until}")?,
            }
            writeln!(f, "the topic goes up to number {}", self.last)?;
        }
        for (table, rows) in &self.rows {
            writeln!(f, "  {table}: {rows} rows")?;
        }
        tables(f, &self.tables)?;
        if let Some(pause) = self.pause {
            writeln!(f, "deciding was paused for {pause:.0} ms at most: requests and events waited")?;
        }
        let Connections { used, allowed } = self.connections;
        writeln!(f, "{used} connections to the database, of {allowed} allowed: a quarter of those of a replica")?;
        match (&self.replaced, self.until) {
            (Some(replaced), _) if self.kept.iter().any(|kept| kept.schema == *replaced) => {
                writeln!(f, "the rebuilt tables are live; those before are in schema {replaced}. Kept:")?;
                self.kept.iter().try_for_each(|kept| writeln!(f, "  {kept}"))
            }
            (Some(_), _) => writeln!(f, "the rebuilt tables are live; those before weren't kept"),
            (None, Some(_)) => {
                writeln!(f, "the tables are in schema {0}; `{1} rebuild --clean --execute` drops them", self.schema, self.service)
            }
            (None, None) => {
                let Self { service, schema, .. } = self;
                if self.differences() > 0 {
                    // A row that events of several aggregates make can't be made anew from one's.
                    if self.tables.iter().flat_map(|table| &table.examples).any(|row| row.last.is_some()) {
                        write!(f, "mend one aggregate: `{service} rebuild --aggregate ID --execute`; ")?;
                    }
                    writeln!(f, "mend all: `{service} rebuild --execute`")?;
                }
                writeln!(
                    f,
                    "the live tables are as they were; the rebuilt ones are in schema {schema}, `{service} rebuild --clean --execute` drops them"
                )
            }
        }
    }
}

/// What was made of one aggregate's events.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AggregateReport {
    /// Whose tables.
    pub service: String,
    /// Its topic.
    pub topic: String,
    /// Which aggregate.
    pub aggregate: String,
    /// The partition that its events are in.
    pub partition: i32,
    /// How many they are.
    pub events: u64,
    /// Tables that hold rows of it, live or rebuilt.
    pub tables: Vec<TableReport>,
    /// Tables in which events change rows of other keys than their aggregate's: not compared.
    pub shared: Vec<String>,
    /// How long those who decide had to wait, in milliseconds; none if they hadn't.
    #[serde(rename = "pause_ms")]
    pub pause: Option<f64>,
    /// The live rows are now those that its events make.
    pub mended: bool,
}

impl AggregateReport {
    /// How many rows differ, or did before they were mended.
    pub fn differences(&self) -> i64 {
        self.tables.iter().map(|table| table.different).sum()
    }
}

impl AggregateReport {
    /// Whether a table was compared: none is, where several aggregates change all those in which it has rows.
    pub fn has_compared(&self) -> bool {
        !self.tables.is_empty()
    }
}

impl fmt::Display for AggregateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, topic, aggregate, partition, events, .. } = self;
        writeln!(f, "{service}: {events} event(s) of {aggregate} folded, from {topic}/{partition}")?;
        tables(f, &self.tables)?;
        for table in &self.shared {
            writeln!(
                f,
                "  {table}: not compared, since events of several aggregates change its rows; `{service} rebuild --verify` does"
            )?;
        }
        if let Some(pause) = self.pause {
            writeln!(f, "deciding was paused for {pause:.0} ms, to look at the difference again")?;
        }
        match (self.differences(), self.mended) {
            (0, _) if !self.has_compared() => writeln!(f, "nothing was compared"),
            (0, _) => writeln!(f, "nothing to mend in what was compared"),
            (_, true) => writeln!(f, "mended: the live rows are those that its events make"),
            (_, false) => writeln!(f, "nothing was changed; to mend it, add --execute --reason '…'"),
        }
    }
}

/// What a comparison found.
fn tables(f: &mut fmt::Formatter<'_>, tables: &[TableReport]) -> fmt::Result {
    for table in tables {
        let TableReport { table, live, rebuilt, different, .. } = table;
        if *different == 0 {
            writeln!(f, "  {table}: {live} rows, equal")?;
        } else {
            writeln!(f, "  {table}: {live} live, {rebuilt} rebuilt, {different} differ")?;
        }
    }
    for table in tables {
        for Difference { key, live, rebuilt, last, .. } in &table.examples {
            match (live, rebuilt) {
                (Some(live), Some(rebuilt)) => {
                    writeln!(f, "{} {key}", table.table)?;
                    columns(live, rebuilt)
                        .into_iter()
                        .try_for_each(|(column, live, rebuilt)| writeln!(f, "  {column}: live {live}, rebuilt {rebuilt}"))?;
                }
                (live, rebuilt) => {
                    let text = |row: &Option<serde_json::Value>| row.as_ref().map_or_else(|| "none".to_owned(), short);
                    writeln!(f, "{} {key}\n  live    {}\n  rebuilt {}", table.table, text(live), text(rebuilt))?;
                }
            }
            match last {
                Some(Happened { kind, number, time, place }) => {
                    writeln!(f, "  last event of its aggregate: {kind}, number {number}, {time}, {place}")?;
                }
                None => writeln!(f, "  no event is of an aggregate of this key")?,
            }
        }
        let more = table.different - i64::try_from(table.examples.len()).unwrap_or(0);
        if more > 0 {
            writeln!(f, "{}: {more} more", table.table)?;
        }
        if !table.left_out.is_empty() {
            writeln!(f, "{}: not compared, since no event fills it: {}", table.table, table.left_out.join(", "))?;
        }
    }
    Ok(())
}

/// The columns in which two rows differ, with both values.
fn columns(live: &serde_json::Value, rebuilt: &serde_json::Value) -> Vec<(String, String, String)> {
    let none = serde_json::Map::new();
    let (live, rebuilt) = (live.as_object().unwrap_or(&none), rebuilt.as_object().unwrap_or(&none));
    let value = |row: &serde_json::Map<String, serde_json::Value>, column: &str| row.get(column).map_or_else(String::new, short);
    let differing = live.keys().filter(|column| live.get(*column) != rebuilt.get(*column));
    differing.map(|column| (column.clone(), value(live, column), value(rebuilt, column))).collect()
}

/// A value, as much of it as a line has room for; all of it is in the JSON.
fn short(value: &serde_json::Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHORT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
