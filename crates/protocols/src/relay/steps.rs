//! What happens in it.

use farandole_outbox::publish::relay::numbers::Numbers;
use farandole_outbox::publish::relay::state::{InFlight, Snapshot};

use crate::explore::Seen;
use crate::relay::step::Step;
use crate::relay::world::{
    Doing, Entry, FENCED, FIRST_XID, Guards, LATE_COMMIT, LOST_COMMIT, PAGES, Record, Relay, Scene, Snap, TOPIC, Tx, World,
    is_visible, open_in,
};

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A transaction gets its number.
    Begin(usize),
    /// It appends its next row, under the key's lock: `outbox::append_all`.
    Append(usize),
    /// It commits, and is visible; it is durable with the next flush.
    Commit(usize),
    /// It rolls back.
    Abort(usize),
    /// A relay reads the newest step and takes the next: `log::take`. The one before may go on.
    Take(usize),
    /// A relay's next move: `Term::round`.
    Move(usize),
    /// A record of a relay's lands.
    Land(usize, usize, usize),
    /// A broker takes the second record of a producer that it doesn't know, and the first is lost.
    LoseFirst(usize, usize),
    /// A relay ends, with whatever acknowledgements were on their way.
    Kill(usize),
    /// A dead producer's record lands.
    Late(usize, usize),
    /// What a dead producer had sent never lands.
    Never(usize),
    /// The server is killed; of what wasn't flushed so much is left.
    Crash(usize),
}

/// The model.
pub struct Relays {
    pub guards: Guards,
    pub scene: Scene,
    pub seen: Seen,
}

impl Relays {
    /// `step::append_at`: the step after the one that the relay knows, if that is the newest. Ends its term if it isn't.
    pub fn append(&self, world: &mut World, relay: usize, is_durable: bool) -> bool {
        let Some(Relay { step, state, .. }) = world.relays[relay].as_ref() else { return false };
        let (expected, state, newest) = (*step, state.clone(), world.newest().0);
        if expected != newest {
            if self.guards.fence {
                self.seen.note(FENCED);
                world.end(relay);
                return false;
            }
            world.forked = true;
        }
        world.log.push(Entry::Step(newest + 1, Box::new(state)));
        if is_durable && self.guards.flush {
            world.flush();
        }
        if let Some(relay) = &mut world.relays[relay] {
            relay.step = newest + 1;
        }
        true
    }

    /// Takes the step (A, B): `Term::take`.
    pub fn take(&self, world: &mut World, at: usize, b: &Snap, after: i64) {
        let batch = InFlight { upto: Snapshot(b.clone()), after };
        if let Some(relay) = &mut world.relays[at] {
            relay.state.0.in_flight = Some(batch);
            relay.handed = relay.state.clone();
            relay.unnoted = false;
        }
        if self.guards.step_first {
            self.append(world, at, true);
        }
    }

    /// `read::unsent`.
    pub fn unsent(&self, world: &World, a: &Snapshot) -> Vec<usize> {
        let since: u64 = a.xmax().parse().unwrap_or(0);
        let is_unsent = |xid: u64| xid >= since || self.guards.open_in_a && open_in(a, xid);
        let mut rows: Vec<usize> =
            (0..world.rows.len()).filter(|row| world.is_committed(*row) && is_unsent(world.rows[*row].xid)).collect();
        if rows.iter().any(|row| open_in(a, world.rows[*row].xid)) {
            self.seen.note(LATE_COMMIT);
        }
        self.sort(world, &mut rows);
        rows
    }

    /// `read::page`.
    pub fn page(&self, world: &World, a: &Snapshot, batch: &InFlight) -> Vec<usize> {
        let is_in = |row: &usize| {
            let xid = world.rows[*row].xid;
            world.is_committed(*row) && !is_visible(a, xid) && is_visible(&batch.upto, xid)
        };
        let mut rows: Vec<usize> = (0..world.rows.len()).filter(is_in).collect();
        self.sort(world, &mut rows);
        let after = rows.iter().position(|row| *row as i64 + 1 == batch.after).map_or(0, |at| at + 1);
        rows.into_iter().skip(after).take(self.scene.rows.1).collect()
    }

    pub fn sort(&self, world: &World, rows: &mut [usize]) {
        if !self.guards.seq_order {
            rows.sort_by_key(|row| (world.rows[*row].xid, *row));
        }
    }

    /// One move of a round.
    pub fn go(&self, world: &mut World, at: usize) -> Option<()> {
        let newest = world.newest().0;
        let relay = world.relays[at].clone()?;
        match relay.doing {
            Doing::Nothing => match &relay.state.0.in_flight {
                Some(batch) => {
                    let rows = self.page(world, &relay.state.0.acked, batch);
                    self.seen.note(PAGES);
                    world.relays[at].as_mut()?.doing = Doing::Publishing(rows, 0, true);
                }
                None => {
                    let rows = self.unsent(world, &relay.state.0.acked);
                    if rows.is_empty() {
                        // A note when there is nothing more to do; and a lease is renewed, by which a zombie notices.
                        if !relay.unnoted && relay.step == newest {
                            return None;
                        }
                        if self.append(world, at, !relay.unnoted) {
                            world.relays[at].as_mut()?.unnoted = false;
                        }
                    } else {
                        let b = world.snapshot();
                        world.relays[at].as_mut()?.doing = Doing::Read(b, (rows.len() <= self.scene.rows.0).then_some(rows));
                    }
                }
            },
            Doing::Read(b, whole) => {
                let after = whole.as_ref().map_or(0, |rows| rows[0] as i64);
                world.relays[at].as_mut()?.doing = whole.map_or(Doing::Nothing, |rows| Doing::Publishing(rows, 0, false));
                self.take(world, at, &b, after);
            }
            Doing::Publishing(rows, next, paged) if next < rows.len() => {
                let row = world.rows[rows[next]];
                let mut numbers = Numbers::of(&relay.handed.0);
                let given = numbers.peek(TOPIC, row.key(&self.scene).as_bytes(), Step::id(rows[next]))?;
                let lane = given.lane();
                if self.guards.first_alone && !relay.warm[lane] && !relay.sent[lane].is_empty() {
                    return None;
                }
                numbers.give(&given, rows[next] as i64 + 1);
                let record = Record { row: rows[next], place: given.head.into(), previous: given.previous.map(Into::into) };
                let relay = world.relays[at].as_mut()?;
                relay.handed = Step(numbers.state_at(&relay.state.0, rows[next] as i64 + 1));
                relay.sent[lane].push(record);
                relay.doing = Doing::Publishing(rows, next + 1, paged);
            }
            Doing::Publishing(rows, _, paged) => {
                if self.guards.acknowledged && relay.sent.iter().any(|sent| !sent.is_empty()) {
                    return None;
                }
                let is_full = paged && rows.len() == self.scene.rows.1;
                let relay = world.relays[at].as_mut()?;
                relay.doing = Doing::Nothing;
                relay.state = relay.handed.clone();
                if is_full && self.guards.whole_batch {
                    self.append(world, at, true);
                } else {
                    relay.state.0.finish();
                    relay.handed = relay.state.clone();
                    relay.unnoted = true;
                }
            }
        }
        Some(())
    }

    pub fn crash(&self, world: &mut World, left: usize) {
        let lost = world.log.split_off(left);
        if lost.iter().any(|entry| matches!(entry, Entry::Commit(_))) {
            self.seen.note(LOST_COMMIT);
        }
        for entry in lost {
            if let Entry::Commit(tx) = entry {
                world.txs[tx] = Tx::Gone;
                world.commits.retain(|committed| *committed != tx);
            }
        }
        world.txs.iter_mut().filter(|tx| matches!(tx, Tx::Open(..))).for_each(|tx| *tx = Tx::Gone);
        // Numbers that nothing durable has are given again.
        let last = world.txs.iter().filter_map(|tx| if let Tx::Committed(xid) = tx { Some(*xid) } else { None }).max();
        world.completed = last.unwrap_or(FIRST_XID - 1);
        world.next_xid = world.completed + 1;
        world.flush();
        (0..world.relays.len()).for_each(|relay| world.end(relay));
    }
}
