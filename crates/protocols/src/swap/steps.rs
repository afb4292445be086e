//! What happens in it.

use crate::explore::Seen;
use crate::swap::world::{BESIDE, BROKEN, Guards, NOT_ROLLED_BACK, Phase, REFUSED, RESUMED, ROLLED_BACK, Rows, Shadow, World};

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A transaction begins, with the gate: `gate::begin`.
    Begin(usize),
    /// It writes its rows.
    Write(usize),
    /// It commits, with its event in the outbox.
    Commit(usize),
    /// The relay publishes the next event.
    Publish,
    /// The topic loses its last record.
    LoseEnd,
    /// A rebuild begins, or goes on with what another left.
    Rebuild,
    /// It folds the next record: `Fold::round`.
    Fold,
    /// The same, and it ends before it is noted, where these are two transactions.
    HalfFold,
    /// It takes the gate alone: `Alone::take`.
    TakeGate,
    /// It has seen that the relay has published all: `drained`.
    Drain,
    /// It compares what it has folded with the relay's account: `complete`.
    Compare,
    /// The tables change places: `swap`.
    Swap,
    /// The second does, where they do one by one.
    SwapSecond,
    /// It gives the gate back: `Alone::give`.
    GiveGate,
    /// The rebuild ends at any point, with its session and its locks.
    Crash,
    /// An operator has the replaced tables put back: `kept::rollback`.
    RollBack,
    /// A reader's transaction reads the first table.
    Read,
    /// It reads the second, and ends.
    ReadSecond,
}

/// The model.
pub struct Swaps {
    pub guards: Guards,
    pub seen: Seen,
}

impl Swaps {
    pub fn rebuilding(&self, world: &mut World, act: &Act) -> Option<()> {
        match act {
            Act::Rebuild => {
                world.rebuilds -= 1;
                world.rebuild = Some(Phase::Following);
                if world.shadow.is_some() {
                    self.seen.note(RESUMED);
                } else {
                    world.shadow = Some(Shadow { set: world.sets.len(), folded: 0, last: None });
                    world.sets.push(Rows::default());
                }
            }
            Act::Fold if self.guards.chain && !world.is_next() => {
                self.seen.note(BROKEN);
                world.rebuild = None;
            }
            Act::Fold => world.fold(true)?,
            Act::HalfFold => {
                world.fold(false)?;
                (world.rebuild, world.crashes) = (None, world.crashes - 1);
            }
            Act::TakeGate => world.rebuild = Some(Phase::Alone),
            Act::Drain => world.rebuild = Some(Phase::Drained),
            Act::Compare => {
                let published = world.outbox[..world.published].last().copied();
                let is_whole = world.last_folded() == published;
                if !is_whole {
                    self.seen.note(REFUSED);
                }
                world.rebuild = (is_whole || !self.guards.complete).then_some(Phase::Complete);
            }
            Act::Swap => {
                if world.is_used() {
                    self.seen.note(BESIDE);
                    return None;
                }
                if self.guards.one_transaction {
                    let set = world.swap_in()?;
                    (world.live, world.rebuild) = ([set; 2], Some(Phase::Swapped));
                } else {
                    world.live[0] = world.shadow?.set;
                    world.rebuild = Some(Phase::Half);
                }
            }
            Act::SwapSecond => {
                if world.is_used() {
                    return None;
                }
                world.live[1] = world.swap_in()?;
                world.rebuild = Some(Phase::Swapped);
            }
            Act::GiveGate => world.rebuild = None,
            Act::Crash => (world.rebuild, world.crashes) = (None, world.crashes - 1),
            _ => return None,
        }
        Some(())
    }

    pub fn roll_back(&self, world: &mut World) -> Option<()> {
        let (set, before) = world.replaced?;
        if world.outbox.len() > before && self.guards.written_since {
            self.seen.note(NOT_ROLLED_BACK);
            return None;
        }
        if world.is_used() {
            return None;
        }
        self.seen.note(ROLLED_BACK);
        world.rollbacks -= 1;
        (world.live, world.replaced) = ([set; 2], Some((world.live[0], world.outbox.len())));
        Some(())
    }
}
