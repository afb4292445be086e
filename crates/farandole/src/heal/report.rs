//! What a heal found and did.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// What was found, what is to be done about it, and whether it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whose database.
    pub service: String,
    /// The system identifier in the relay's state and the server's, if they differ.
    pub moved: Option<(String, String)>,
    /// An earlier heal was broken off.
    pub broken_off: bool,
    /// By partition, where database and topic differ.
    pub partitions: Vec<Partition>,
    /// Rows of the outbox that are in no topic and will be published.
    pub unpublished: i64,
    /// Of these, rows that had been acknowledged: the topics lost them.
    pub lost: i64,
    /// Records that topics lost for good, since the outbox no longer has their rows: of a journal, or given up knowingly.
    pub gone: i64,
    /// Inputs of which the topic holds some events only; the others are lost.
    pub torn: Vec<String>,
    /// Records in the service's name that are skipped: nothing of them is folded.
    pub passed: Vec<String>,
    /// The offset from which each partition is heard again.
    pub positions: BTreeMap<String, i64>,
    /// Inputs after those positions that the folded events say are applied. Known once it is done.
    pub applied: Option<u64>,
    /// Effects that may have been started since the backup: each is run again under its key. Known once it is done.
    pub effects: Option<u64>,
    /// The lineage before, and the one that it opens.
    pub lineage: (i64, i64),
    /// Whether it was done.
    pub done: bool,
}

/// A partition that isn't as the database has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Topic.
    pub topic: String,
    /// Number.
    pub partition: i32,
    /// Records that the database lacks.
    pub missing: u64,
    /// Whether they are folded: they are of the service's own topic.
    pub folded: bool,
    /// Records that it holds as rows which it thinks unpublished.
    pub known: u64,
    /// The topic lacks the database's last record there.
    pub shorter: bool,
    /// The topic lacks what came before its first record there.
    pub lost_beginning: bool,
}

impl Report {
    /// Whether database and topics agree.
    pub fn is_whole(&self) -> bool {
        self.moved.is_none() && !self.broken_off && self.partitions.is_empty() && self.passed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.done { "done" } else { "to do" };
        if self.is_whole() {
            return writeln!(f, "{}: database and topics agree; nothing to do", self.service);
        }
        writeln!(f, "{}: found", self.service)?;
        if let Some((stored, found)) = &self.moved {
            writeln!(f, "  the relay's state is from cluster {stored}, this is {found}: a dump was restored elsewhere")?;
        }
        if self.broken_off {
            writeln!(f, "  an earlier heal was interrupted")?;
        }
        for p in &self.partitions {
            let at = format!("{}/{}", p.topic, p.partition);
            if p.missing > 0 {
                writeln!(f, "  {at}: {} record(s) that this database lacks", p.missing)?;
            }
            if p.known > 0 {
                writeln!(f, "  {at}: {} record(s) that this database considers unpublished", p.known)?;
            }
            if p.lost_beginning {
                writeln!(
                    f,
                    "  {at}: the topic lacks what came before its first record: it was deleted and created again, or copied in part"
                )?;
            }
            if p.shorter {
                writeln!(f, "  {at}: the topic lacks this database's last record")?;
            }
        }
        writeln!(f, "  {} outbox row(s) missing from the topics, {} of them lost by a topic", self.unpublished, self.lost)?;
        if self.gone > 0 {
            writeln!(
                f,
                "  {} record(s) that a topic lost can't be restored: the outbox no longer holds them, so they are given up",
                self.gone
            )?;
        }
        for torn in &self.torn {
            writeln!(f, "  only {torn} reached the topic; the others are lost")?;
        }
        for at in &self.passed {
            writeln!(f, "  {at}: a record in the name of {}, to be skipped as requested", self.service)?;
        }
        writeln!(f, "{done}")?;
        if !self.passed.is_empty() {
            writeln!(f, "  skipped, not applied: {} record(s)", self.passed.len())?;
        }
        let missing = |folded| self.partitions.iter().filter(|p| p.folded == folded).map(|p| p.missing).sum::<u64>();
        writeln!(f, "  folded into the tables, with tasks and answers: {} record(s)", missing(true))?;
        if missing(false) > 0 {
            writeln!(f, "  not folded, since they hold no state: {} record(s) of other topics", missing(false))?;
        }
        writeln!(f, "  re-appended, to be published under the same ids: {} row(s)", self.unpublished)?;
        if let Some(effects) = self.effects {
            writeln!(
                f,
                "  to be run again under the same idempotency keys, since they may have started after the backup: {effects} \
                 effect(s)"
            )?;
        }
        writeln!(f, "  lineage {} opened after {}", self.lineage.1, self.lineage.0)?;
        for (partition, offset) in &self.positions {
            writeln!(f, "  {partition} will be read again from offset {offset}")?;
        }
        match self.applied {
            Some(applied) => writeln!(f, "  after that, already applied and therefore skipped: {applied} input(s)")?,
            None => writeln!(f, "  after that, inputs that are already applied are skipped")?,
        }
        if self.lost > 0 {
            writeln!(f, "  consumers that had read what the topic lost will stop at a fork, since it gets new numbers")?;
        }
        if !self.done {
            let service = &self.service;
            writeln!(
                f,
                "nothing was changed; apply with `{service} heal --execute`, or for an outbox in your own program `farandole \
                 heal --service {service} --execute`"
            )?;
        }
        Ok(())
    }
}
