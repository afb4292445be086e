//! Heal: a backup is restored at any point, while a process of the life before still runs, and the heal itself is broken off.
//!
//! What a record of the topic is for a heal, and where the chain ends, the kit's [`Walk`] says; a consumer judges by the kit's `judge`.
//! One partition; each input leads to one event; the state is the list of events that were folded.

mod topic;

use stateright::{Model, Property};

use farandole_outbox::chain::Place;
use farandole_outbox::publish::relay::walk::RecordClass;

use crate::explore::{self, Found, Protocol, Seen, guards};
use topic::{Consumer, Event, Record, walk};

/// The kit's lines that the steps stand for.
pub const STANDS_FOR: &[(&str, &str)] = &[
    ("crates/farandole/src/engine/transaction.rs", "return Err(Error::Parted(history.doubt(seen)));"),
    ("crates/outbox/src/publish/relay/history.rs", "and not newest.healing"),
    ("crates/outbox/src/publish/relay/log.rs", "Purpose::Heal => state.healing = true"),
    ("crates/outbox/src/publish/relay/log.rs", "Purpose::Publish if state.healing => return Err(Error::Healing"),
    ("crates/outbox/src/publish/relay/continuity.rs", "(End::Record(found), Some(head)) => *found != head"),
    ("crates/outbox/src/publish/relay/continuity.rs", "AllowedRows::InFlight => state.in_flight.as_ref()"),
    ("crates/farandole/src/heal/survey.rs", "let lineage = 1 + ends()"),
    ("crates/farandole/src/heal/survey.rs", "let met = rows::meet(conn, &ids).await?;"),
    ("crates/farandole/src/heal/act.rs", "let applied = self.surveyor.fold.fold(&mut tx, &missing).await?;"),
    ("crates/farandole/src/heal/act.rs", "rows::are_out(&mut tx, &out).await?;"),
    ("crates/farandole/src/heal/act.rs", "return Err(Error::Changed);"),
    ("crates/farandole/src/heal/act.rs", "state.healing = false;"),
    ("crates/farandole/src/heal/fold.rs", "applied(conn, P::NAME"),
    ("crates/farandole/src/consume/intake/healed_inputs.rs", "join farandole.applied a using (topic, partition, record_offset)"),
];

guards! {
    /// Nothing is decided in a database that isn't the one that was compared (`relay/history.rs`).
    holds,
    /// Nobody publishes where topic and database have parted (`relay/continuity.rs`).
    continuity,
    /// Inputs that the topic's events name as their causes are passed over (`heal/fold.rs`).
    causes,
    /// Records that are rows of the database are known by their ids, and neither folded nor published again (`heal/rows.rs`).
    ids,
    /// A heal that was broken off has left its mark, and nobody starts (`heal/act.rs`, `relay/log.rs`).
    mark,
    /// What is folded and the heads are one transaction (`heal/act.rs`, `batch`).
    one_transaction,
    /// A heal opens a new lineage (`heal/survey.rs`).
    new_lineage,
    /// Not the kit's but assumed: records that the life before had sent land before a process starts on the restored database, or behind the
    /// first record that follows a heal.
    settled,
}

/// Inputs that come.
const INPUTS: usize = 3;

/// The relay's state, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Relay {
    lineage: i64,
    next: i64,
    head: Option<(Place, Event)>,
    in_flight: Vec<Event>,
    healing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Db {
    /// Inputs that the position is behind, and those beyond that are noted as applied.
    position: usize,
    applied: Vec<usize>,
    state: Vec<Event>,
    unsent: Vec<Event>,
    relay: Relay,
    /// The relay's newest step: no two are alike in all lives.
    step: u8,
}

/// A process of the service: relay and deciders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    /// The step that it saw last.
    step: u8,
    /// Of the batch in flight, what was sent, and what of this hasn't landed.
    sent: usize,
    flying: Vec<Record>,
}

/// A heal under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Heal {
    /// What the survey found: the topic's length, and the chain's last record.
    length: usize,
    end: Option<(Place, Event)>,
    is_marked: bool,
}

/// Database, topic, and who is at them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    db: Db,
    backup: Option<Db>,
    topic: Vec<Record>,
    process: Option<Process>,
    /// What the life before had sent, or goes on sending.
    late: Vec<Record>,
    /// A process of the life before goes on deciding, if nothing keeps it from it.
    old: bool,
    heal: Option<Heal>,
    steps: u8,
    events: u8,
    /// A heal has ended since the database was set back; and since the process started a record has landed.
    healed: bool,
    landed: bool,
    restored: bool,
    /// A process has started since then.
    started: bool,
    ends: u8,
    breaks: u8,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A process starts: it takes the lease, compares database and topic, and takes a step (`Term::begin`).
    Start,
    /// It decides the next input, or passes over it.
    Decide,
    /// The same, by a process of the life before.
    DecideStill,
    /// The relay takes the step that names what is unsent.
    Step,
    /// It sends the next record.
    Send,
    /// A record lands.
    Land,
    /// All are acknowledged.
    Acknowledged,
    /// The process ends.
    End,
    /// A record of the life before lands.
    Late,
    /// It never does.
    Never,
    /// A backup is taken.
    Backup,
    /// It is restored; sessions end.
    Restore,
    /// A heal compares both sides: `Surveyor::survey`.
    Survey,
    /// It marks the state, under the lease: `act::lease`.
    Mark,
    /// It folds the next record, or notes that its row is out: `Healer::batch`.
    Fold,
    /// It folds it, and is broken off before the heads move, where these are two transactions.
    HalfFold,
    /// It ends: `Healer::end`.
    EndHeal,
    /// It is broken off.
    Break,
}

/// The model.
pub struct Heals {
    guards: Guards,
    seen: Seen,
}

/// Explores it.
pub fn explore(guards: Guards) -> Found {
    explore::explore(|| Heals { guards, seen: Seen::new(&[FOLDED, KNOWN, STRUCK, GHOST, AGAIN, CHANGED, IN_TIME]) })
}

const FOLDED: &str = "a record that the database lacked was folded";
const KNOWN: &str = "a record was a row of the database";
const STRUCK: &str = "an input that was applied came again and was passed over";
const GHOST: &str = "a record of the life before landed behind the new lineage, and was dropped";
const AGAIN: &str = "a heal that was broken off was run again";
const CHANGED: &str = "a record landed behind the survey of a heal";
const IN_TIME: &str = "a record of the life before landed and was folded";

impl Heals {
    /// The chain's last record, by the kit's walk.
    fn end(world: &World) -> Option<(Place, Event)> {
        let mut consumer = Consumer::default();
        consumer.read_all(&world.topic);
        let head = consumer.head?.place;
        world.topic.iter().find(|record| record.place == head).map(|record| (record.place, record.event))
    }

    /// Whether topic and database have parted: `continuity::check`.
    fn is_apart(world: &World) -> bool {
        let (end, relay) = (Self::end(world), &world.db.relay);
        end != relay.head && end.is_none_or(|(_, event)| !relay.in_flight.contains(&event))
    }

    fn take_step(world: &mut World) {
        world.steps += 1;
        world.db.step = world.steps;
        if let Some(process) = &mut world.process {
            process.step = world.steps;
        }
    }

    fn decide(&self, world: &mut World) {
        let input = world.db.position;
        world.db.position += 1;
        if self.guards.causes && world.db.applied.contains(&input) {
            self.seen.note(STRUCK);
            return;
        }
        world.events += 1;
        let event = Event { id: world.events, input };
        world.db.state.push(event);
        world.db.unsent.push(event);
    }

    /// The first record beyond the head, up to where the survey ended.
    fn beyond(world: &World, length: usize) -> Option<Record> {
        let mut walk = walk(world.db.relay.head);
        let is_next = |record: &&Record| matches!(walk.next(&record.kit()), Ok(RecordClass::Beyond(_)));
        world.topic[..length].iter().find(is_next).copied()
    }

    fn fold(&self, world: &mut World, moves: bool) -> Option<()> {
        let record = Self::beyond(world, world.heal.as_ref()?.length)?;
        if self.guards.ids && world.db.unsent.contains(&record.event) {
            self.seen.note(KNOWN);
            world.db.unsent.retain(|event| *event != record.event);
        } else {
            self.seen.note(FOLDED);
            world.db.state.push(record.event);
            world.db.applied.push(record.event.input);
        }
        if moves {
            world.db.relay.head = Some((record.place, record.event));
            world.db.relay.next = world.db.relay.next.max(record.place.number + 1);
        }
        Self::take_step(world);
        Some(())
    }

    fn process(&self, world: &mut World, act: &Act) -> Option<()> {
        let process = world.process.clone()?;
        let relay = world.db.relay.clone();
        match act {
            Act::Decide => self.decide(world),
            Act::Step => {
                world.db.relay.in_flight.clone_from(&world.db.unsent);
                Self::take_step(world);
            }
            Act::Send => {
                let event = *relay.in_flight.get(process.sent)?;
                let nth = i64::try_from(process.sent).unwrap_or(0);
                let at = |number| Place { lineage: relay.lineage, number };
                let previous = if nth == 0 { relay.head.map(|head| head.0) } else { Some(at(relay.next + nth - 1)) };
                let process = world.process.as_mut()?;
                process.flying.push(Record { event, place: at(relay.next + nth), previous });
                process.sent += 1;
            }
            Act::Land => {
                let record = world.process.as_mut()?.flying.remove(0);
                world.topic.push(record);
                world.landed = true;
            }
            Act::Acknowledged => {
                let count = i64::try_from(relay.in_flight.len()).unwrap_or(0);
                let last = Place { lineage: relay.lineage, number: relay.next + count - 1 };
                world.db.relay.head = relay.in_flight.last().map(|event| (last, *event));
                world.db.relay.next += count;
                world.db.unsent.retain(|event| !relay.in_flight.contains(event));
                world.db.relay.in_flight.clear();
                world.process.as_mut()?.sent = 0;
                Self::take_step(world);
            }
            Act::End => {
                world.ends -= 1;
                world.late.extend(process.flying);
                world.process = None;
            }
            _ => return None,
        }
        Some(())
    }

    fn healing(&self, world: &mut World, act: &Act) -> Option<()> {
        match act {
            Act::Survey => {
                if world.db.relay.healing {
                    self.seen.note(AGAIN);
                }
                world.heal = Some(Heal { length: world.topic.len(), end: Self::end(world), is_marked: false });
            }
            Act::Mark => {
                world.heal.as_mut()?.is_marked = true;
                world.db.relay.healing = true;
                Self::take_step(world);
            }
            Act::Fold => self.fold(world, true)?,
            Act::HalfFold => {
                self.fold(world, false)?;
                world.heal = None;
                world.breaks -= 1;
            }
            Act::EndHeal => {
                let heal = world.heal.take()?;
                if world.topic.len() > heal.length {
                    self.seen.note(CHANGED);
                }
                let relay = &mut world.db.relay;
                let last = heal.end.map_or(relay.lineage, |(place, _)| place.lineage.max(relay.lineage));
                relay.lineage = if self.guards.new_lineage { last + 1 } else { last };
                relay.next = relay.next.max(heal.end.map_or(1, |(place, _)| place.number + 1));
                (relay.head, relay.healing) = (heal.end, false);
                relay.in_flight.clear();
                world.healed = true;
                Self::take_step(world);
            }
            Act::Break => {
                world.heal = None;
                world.breaks -= 1;
            }
            _ => return None,
        }
        Some(())
    }

    fn is_startable(&self, world: &World) -> bool {
        let is_marked = self.guards.mark && world.db.relay.healing;
        world.process.is_none() && world.heal.is_none() && !is_marked && !(self.guards.continuity && Self::is_apart(world))
    }
}

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
            healed: false,
            landed: false,
            restored: false,
            started: false,
            ends: 1,
            breaks: 1,
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
        if !world.restored {
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
                world.landed = false;
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
                // What the process has in its batch it goes on sending.
                let mut before = world.clone();
                while self.process(&mut before, &Act::Send).is_some() {}
                world.late.extend(before.process.take().map(|process| process.flying).unwrap_or_default());
                world.old = world.process.take().is_some();
                (world.db, world.restored, world.heal) = (world.backup.take()?, true, None);
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

/// No consumer stops.
pub const GOES_ON: &str = "no consumer stops";
/// No input leads to two events that are folded.
pub const ONCE: &str = "no input is applied twice";
/// In the end the state is the fold of the topic, as a consumer has it.
pub const FOLD: &str = "whenever all is published, the state is the fold of the topic";

impl World {
    fn consumer(&self) -> Consumer {
        let mut consumer = Consumer::default();
        consumer.read_all(&self.topic);
        consumer
    }

    fn is_quiet(&self) -> bool {
        let whole = self.process.as_ref().is_some_and(|process| process.flying.is_empty() && process.step == self.db.step);
        whole && self.db.unsent.is_empty()
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
