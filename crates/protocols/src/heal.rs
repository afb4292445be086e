//! Heal: a backup is restored at any point, while a process of the life before still runs, and the heal itself is broken off.
//!
//! What a record of the topic is for a heal, and where the chain ends, the kit's
//! [`Walk`](farandole_outbox::publish::relay::walk::Walk) says; a consumer judges by the kit's `judge`.
//! One partition; each input leads to one event; the state is the list of events that were folded.

mod steps;
mod topic;
mod world;

use stateright::{Model, Property};

use crate::explore;
use crate::explore::{Found, Protocol, Seen};
use topic::Event;
use world::{Db, GHOST, IN_TIME, INPUTS, Process, Relay};

pub use steps::{Act, Heals};
pub use world::{CRASHES, Guards, Scene, TWICE, World};

/// The kit's lines that the steps stand for.
pub const STANDS_FOR: &[(&str, &str)] = &[
    ("crates/farandole/src/engine/transaction.rs", "return Err(Error::Parted(history.doubt(seen)));"),
    ("crates/outbox/src/publish/relay/history.rs", "and not newest.healing"),
    ("crates/outbox/src/publish/relay/log.rs", "Purpose::Heal => state.healing = true"),
    ("crates/outbox/src/publish/relay/log.rs", "Purpose::Publish if state.healing => return Err(Error::Healing"),
    ("crates/outbox/src/publish/relay/continuity.rs", "(End::Record(found), Some(head)) => *found != head"),
    ("crates/outbox/src/publish/relay/continuity.rs", "AllowedRows::InFlight => state.in_flight.as_ref()"),
    ("crates/farandole/src/heal/survey.rs", "let lineage = rows::seconds(conn).await?.max(known + 1);"),
    ("crates/farandole/src/heal/survey.rs", "let met = rows::meet(conn, &ids).await?;"),
    ("crates/farandole/src/heal/act.rs", "let applied = self.surveyor.fold.fold(&mut tx, &missing).await?;"),
    ("crates/farandole/src/heal/act.rs", "rows::are_out(&mut tx, &out).await?;"),
    ("crates/farandole/src/heal/act.rs", "return Err(Error::Changed);"),
    ("crates/farandole/src/heal/act.rs", "state.healing = false;"),
    ("crates/farandole/src/heal/fold.rs", "applied(conn, P::NAME"),
    ("crates/farandole/src/consume/intake/healed_inputs.rs", "join farandole.applied a using (topic, partition, record_offset)"),
];

/// Explores one world of it.
pub fn explore(guards: Guards, scene: Scene) -> Found {
    explore::explore(|| Heals { guards, scene, seen: Seen::new(scene.happens) })
}

/// No consumer stops.
pub const GOES_ON: &str = "no consumer stops";

/// No input leads to two events that are folded.
pub const ONCE: &str = "no input is applied twice";

/// In the end the state is the fold of the topic, as a consumer has it.
pub const FOLD: &str = "whenever all is published, the state is the fold of the topic";

impl Model for Heals {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let relay = Relay { lineage: 1, next: 1, head: None, in_flight: Vec::new(), healing: false };
        let db = Db { position: 0, applied: Vec::new(), state: Vec::new(), unsent: Vec::new(), relay, step: 0 };
        vec![World {
            db,
            backup: None,
            topic: Vec::new(),
            process: None,
            late: Vec::new(),
            old: false,
            heal: None,
            steps: 0,
            events: 0,
            restored: false,
            started: false,
            healed: false,
            landed: false,
            restores: self.scene.restores,
            ends: self.scene.ends,
            breaks: self.scene.breaks,
            given: 1,
        }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        if self.is_startable(world) {
            acts.push(Act::Start);
        } else if world.process.is_none() && world.heal.is_none() {
            acts.push(Act::Survey);
        }
        if let Some(process) = &world.process {
            let in_flight = world.db.relay.in_flight.len();
            if world.db.position < INPUTS {
                acts.push(Act::Decide);
            }
            if in_flight == 0 && !world.db.unsent.is_empty() {
                acts.push(Act::Step);
            }
            if process.sent < in_flight {
                acts.push(Act::Send);
            } else if in_flight > 0 && process.flying.is_empty() {
                acts.push(Act::Acknowledged);
            }
            acts.extend((!process.flying.is_empty()).then_some(Act::Land));
            acts.extend((world.ends > 0).then_some(Act::End));
        }
        if world.old && !self.guards.holds && world.db.position < INPUTS {
            acts.push(Act::DecideStill);
        }
        if !world.late.is_empty() {
            let is_settled = !world.restored || !world.started || world.healed && world.landed;
            acts.extend((is_settled || !self.guards.settled).then_some(Act::Late));
            acts.push(Act::Never);
        }
        if world.restores > 0 {
            acts.push(if world.backup.is_none() { Act::Backup } else { Act::Restore });
        }
        if let Some(heal) = &world.heal {
            let is_left = heal.is_marked && Self::beyond(world, heal.length).is_some();
            acts.push(match (heal.is_marked, is_left) {
                (false, _) => Act::Mark,
                (true, true) => Act::Fold,
                (true, false) => Act::EndHeal,
            });
            acts.extend((world.breaks > 0).then_some(Act::Break));
            acts.extend((world.breaks > 0 && is_left && !self.guards.one_transaction).then_some(Act::HalfFold));
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Start => {
                world.process = Some(Process { step: 0, sent: 0, flying: Vec::new() });
                world.started = world.restored;
                Self::take_step(&mut world);
            }
            Act::DecideStill => self.decide(&mut world),
            Act::Late => {
                let record = world.late.remove(0);
                world.topic.push(record);
                if world.restored && world.process.is_none() {
                    self.seen.note(IN_TIME);
                }
                if world.healed
                    && world.landed
                    && Self::end(&world).is_some_and(|(place, _)| place.lineage > record.place.lineage)
                {
                    self.seen.note(GHOST);
                }
            }
            Act::Never => world.late.clear(),
            Act::Backup => world.backup = Some(world.db.clone()),
            Act::Restore => {
                // By what is assumed: of a life before that nothing lands any more.
                if world.restored && world.started && !(world.healed && world.landed) && self.guards.settled {
                    world.late.clear();
                }
                // What the process has in its batch it goes on sending.
                let mut before = world.clone();
                while self.process(&mut before, &Act::Send).is_some() {}
                world.late.extend(before.process.take().map(|process| process.flying).unwrap_or_default());
                world.old = world.process.take().is_some();
                (world.db, world.heal) = (world.backup.clone()?, None);
                world.restores -= 1;
                (world.restored, world.started, world.healed, world.landed) = (true, false, false, false);
                if world.restores == 0 {
                    world.backup = None;
                }
            }
            ref act @ (Act::Survey | Act::Mark | Act::Fold | Act::HalfFold | Act::EndHeal | Act::Break) => {
                self.healing(&mut world, act)?;
            }
            ref act => self.process(&mut world, act)?,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        explore::properties()
    }
}

impl Protocol for Heals {
    fn invariants() -> Vec<Property<Self>> {
        vec![
            Property::always(GOES_ON, |_, world: &World| !world.consumer().stopped),
            Property::always(ONCE, |_, world: &World| {
                let is_once = |events: &[Event]| {
                    events.iter().all(|event| events.iter().filter(|other| other.input == event.input).count() == 1)
                };
                is_once(&world.db.state) && is_once(&world.consumer().applied)
            }),
            Property::always(FOLD, |_, world: &World| !world.is_quiet() || world.consumer().applied == world.db.state),
        ]
    }

    fn is_finished(&self, world: &World) -> bool {
        world.is_quiet() && world.db.position == INPUTS && world.db.state.len() == INPUTS && world.late.is_empty()
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}
