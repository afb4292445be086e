//! PostgreSQL's transactions, as far as the relay can see them: numbers, snapshots, prepared ones, and what a crash leaves.

use std::collections::{BTreeMap, BTreeSet};

use proptest::sample::Index;

use farandole_outbox::publish::relay::state::{InFlight, Snapshot, State};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub seq: i64,
    pub xid: u64,
    pub id: u128,
    pub key: u8,
    /// Counts a key's rows.
    pub version: u32,
}

#[derive(Debug, Clone, Default)]
struct Tx {
    rows: Vec<Row>,
    /// Locked until it ends, prepared or not.
    keys: BTreeSet<u8>,
    prepared: bool,
}

/// What the write-ahead log says.
#[derive(Debug, Clone)]
enum Entry {
    Commit(u64, Vec<Row>),
    Abort(u64),
    Prepare(u64, Tx),
    Step(u64, Box<State>),
}

pub(super) struct Db {
    first_xid: u64,
    next_xid: u64,
    next_seq: i64,
    next_id: u128,
    /// The highest transaction that has ended: a snapshot's xmax is the one after it, not the next to begin.
    completed: u64,
    open: BTreeMap<u64, Tx>,
    pub committed: BTreeMap<i64, Row>,
    log: Vec<Entry>,
    flushed: usize,
}

/// As `read::Unsent`.
pub(super) enum Unsent {
    Whole(Snapshot, Vec<Row>),
    Many(Snapshot),
}

impl Db {
    pub(super) fn new(first_xid: u64) -> Self {
        let (open, committed) = (BTreeMap::new(), BTreeMap::new());
        let completed = first_xid - 1;
        Self { first_xid, next_xid: first_xid, next_seq: 1, next_id: 1, completed, open, committed, log: Vec::new(), flushed: 0 }
    }

    pub(super) fn begin(&mut self) {
        self.open.insert(self.next_xid, Tx::default());
        self.next_xid += 1;
    }

    /// One of the open transactions, prepared or not.
    fn pick(&self, tx: &Index, prepared: Option<bool>) -> Option<u64> {
        let open: Vec<u64> =
            self.open.iter().filter(|(_, tx)| prepared.is_none_or(|p| p == tx.prepared)).map(|(xid, _)| *xid).collect();
        (!open.is_empty()).then(|| open[tx.index(open.len())])
    }

    /// Appends a row of `key`, which is locked first; nothing happens when another has it.
    pub(super) fn insert(&mut self, tx: &Index, key: u8) {
        let Some(xid) = self.pick(tx, Some(false)) else { return };
        if self.open.iter().any(|(other, tx)| *other != xid && tx.keys.contains(&key)) {
            return;
        }
        let committed = self.committed.values().filter(|row| row.key == key).count();
        let Some(tx) = self.open.get_mut(&xid) else { return };
        let own = tx.rows.iter().filter(|row| row.key == key).count();
        let row = Row { seq: self.next_seq, xid, id: self.next_id, key, version: (committed + own) as u32 + 1 };
        (self.next_seq, self.next_id) = (self.next_seq + 1, self.next_id + 1);
        tx.keys.insert(key);
        tx.rows.push(row);
    }

    /// `durable`: as with `synchronous_commit = on`. A prepared one's end always is.
    pub(super) fn end(&mut self, tx: &Index, commit: bool, durable: bool) {
        if let Some(xid) = self.pick(tx, None) {
            self.end_one(xid, commit, durable);
        }
    }

    fn end_one(&mut self, xid: u64, commit: bool, durable: bool) {
        let Some(tx) = self.open.remove(&xid) else { return };
        self.completed = self.completed.max(xid);
        if commit {
            self.committed.extend(tx.rows.iter().map(|row| (row.seq, row.clone())));
        }
        self.log.push(if commit { Entry::Commit(xid, tx.rows) } else { Entry::Abort(xid) });
        if durable || tx.prepared {
            self.flushed = self.log.len();
        }
    }

    pub(super) fn end_all(&mut self, commit: bool) {
        let open: Vec<u64> = self.open.keys().copied().collect();
        open.into_iter().for_each(|xid| self.end_one(xid, commit, true));
    }

    pub(super) fn prepare(&mut self, tx: &Index) {
        let Some(xid) = self.pick(tx, Some(false)) else { return };
        let Some(tx) = self.open.get_mut(&xid) else { return };
        tx.prepared = true;
        self.log.push(Entry::Prepare(xid, tx.clone()));
        self.flushed = self.log.len();
    }

    pub(super) fn take_step(&mut self, state: &State, durable: bool) {
        // A step is a transaction, too.
        self.log.push(Entry::Step(self.next_xid, Box::new(state.clone())));
        self.completed = self.completed.max(self.next_xid);
        self.next_xid += 1;
        if durable {
            self.flushed = self.log.len();
        }
    }

    pub(super) fn step(&self) -> Option<State> {
        self.log.iter().rev().find_map(|entry| if let Entry::Step(_, state) = entry { Some((**state).clone()) } else { None })
    }

    /// What wasn't flushed is gone, and its numbers are given again.
    pub(super) fn crash(&mut self) {
        let first_xid = self.first_xid;
        let (log, next_id) = (self.log[..self.flushed].to_vec(), self.next_id);
        *self = Self { next_id, ..Self::new(first_xid) };
        for entry in &log {
            let (xid, rows) = match entry {
                Entry::Commit(xid, rows) => {
                    self.committed.extend(rows.iter().map(|row| (row.seq, row.clone())));
                    self.open.remove(xid);
                    (*xid, &rows[..])
                }
                Entry::Abort(xid) => {
                    self.open.remove(xid);
                    (*xid, &[][..])
                }
                Entry::Prepare(xid, tx) => {
                    self.open.insert(*xid, tx.clone());
                    (*xid, &tx.rows[..])
                }
                Entry::Step(xid, _) => (*xid, &[][..]),
            };
            self.next_xid = self.next_xid.max(xid + 1);
            self.next_seq = self.next_seq.max(rows.iter().map(|row| row.seq + 1).max().unwrap_or(1));
        }
        (self.completed, self.flushed, self.log) = (self.next_xid - 1, log.len(), log);
    }

    /// `pg_current_snapshot()::text`.
    fn snapshot(&self) -> Snapshot {
        let xmax = self.completed + 1;
        let xip: Vec<String> = self.open.range(..xmax).map(|(xid, _)| xid.to_string()).collect();
        let xmin = self.open.keys().next().map_or(xmax, |xid| xmax.min(*xid));
        Snapshot(format!("{xmin}:{xmax}:{}", xip.join(",")))
    }

    /// `xid >= xmax or xid = any(xip)`, as `HEAD`, `FIRST` and `AMONG` have it.
    fn since<'a>(&'a self, a: &Snapshot) -> impl Iterator<Item = &'a Row> {
        let xmax: u64 = a.xmax().parse().unwrap();
        let open = a.xip();
        let open = open.trim_matches(['{', '}']).split_terminator(',');
        let xip: Vec<u64> = open.map(|xid| xid.parse().unwrap()).collect();
        self.committed.values().filter(move |row| row.xid >= xmax || xip.contains(&row.xid))
    }

    /// As `read::unsent`.
    pub(super) fn unsent(&self, a: &Snapshot, limit: usize) -> Option<Unsent> {
        let rows: Vec<Row> = self.since(a).cloned().collect();
        match rows.len() {
            0 => None,
            n if n <= limit => Some(Unsent::Whole(self.snapshot(), rows)),
            _ => Some(Unsent::Many(self.snapshot())),
        }
    }

    /// As `read::before_first`.
    pub(super) fn before_first(&self, a: &Snapshot, b: &Snapshot) -> i64 {
        self.since(a).filter(|row| visible(row.xid, b)).map(|row| row.seq).min().unwrap_or(1) - 1
    }

    /// As `read::page`.
    pub(super) fn page(&self, a: &Snapshot, batch: &InFlight, limit: usize) -> Vec<Row> {
        let rows = self.committed.range(batch.after + 1..).map(|(_, row)| row);
        rows.filter(|row| !visible(row.xid, a) && visible(row.xid, &batch.upto)).take(limit).cloned().collect()
    }
}

/// `pg_visible_in_snapshot`.
fn visible(xid: u64, snapshot: &Snapshot) -> bool {
    let [xmin, xmax, xip] = snapshot.0.splitn(3, ':').collect::<Vec<_>>()[..] else { panic!("{snapshot:?}") };
    let (xmin, xmax): (u64, u64) = (xmin.parse().unwrap(), xmax.parse().unwrap());
    xid < xmin || (xid < xmax && !xip.split(',').any(|open| open == xid.to_string()))
}
