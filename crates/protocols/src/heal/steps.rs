//! What happens in it.

use farandole_outbox::chain::Place;
use farandole_outbox::publish::relay::walk::RecordClass;

use crate::explore::Seen;
use crate::heal::topic::{Consumer, Event, Record, walk};
use crate::heal::world::{AGAIN, CHANGED, FOLDED, Guards, Heal, KNOWN, STRUCK, Scene, World};

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
    pub guards: Guards,
    pub scene: Scene,
    pub seen: Seen,
}

impl Heals {
    /// The chain's last record, by the kit's walk.
    pub fn end(world: &World) -> Option<(Place, Event)> {
        let mut consumer = Consumer::default();
        consumer.read_all(&world.topic);
        let head = consumer.head?.place;
        world.topic.iter().find(|record| record.place == head).map(|record| (record.place, record.event))
    }

    /// Whether topic and database have parted: `continuity::check`.
    pub fn is_apart(world: &World) -> bool {
        let (end, relay) = (Self::end(world), &world.db.relay);
        end != relay.head && end.is_none_or(|(_, event)| !relay.in_flight.contains(&event))
    }

    pub fn take_step(world: &mut World) {
        world.steps += 1;
        world.db.step = world.steps;
        if let Some(process) = &mut world.process {
            process.step = world.steps;
        }
    }

    pub fn decide(&self, world: &mut World) {
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
    pub fn beyond(world: &World, length: usize) -> Option<Record> {
        let mut walk = walk(world.db.relay.head);
        let is_next = |record: &&Record| matches!(walk.next(&record.kit()), Ok(RecordClass::Beyond(_)));
        world.topic[..length].iter().find(is_next).copied()
    }

    pub fn fold(&self, world: &mut World, moves: bool) -> Option<()> {
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

    pub fn process(&self, world: &mut World, act: &Act) -> Option<()> {
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
                world.landed = world.healed;
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

    pub fn healing(&self, world: &mut World, act: &Act) -> Option<()> {
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
                let of_topic = heal.end.map_or(0, |(place, _)| place.lineage);
                let given = if self.guards.fresh_lineage { world.given } else { 0 };
                let last = relay.lineage.max(of_topic).max(given);
                relay.lineage = if self.guards.new_lineage { last + 1 } else { last };
                world.given = world.given.max(relay.lineage);
                relay.next = relay.next.max(heal.end.map_or(1, |(place, _)| place.number + 1));
                (relay.head, relay.healing) = (heal.end, false);
                relay.in_flight.clear();
                (world.healed, world.landed) = (true, false);
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

    pub fn is_startable(&self, world: &World) -> bool {
        let is_marked = self.guards.mark && world.db.relay.healing;
        world.process.is_none() && world.heal.is_none() && !is_marked && !(self.guards.continuity && Self::is_apart(world))
    }
}
