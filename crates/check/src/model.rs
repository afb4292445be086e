//! The transition function: what a step makes of a state. What it does to a participant, the engine's own plan decides; what follows for
//! positions, tasks, parked inputs and answers is as the kit stores it.

use std::sync::Arc;

use farandole::Keys;
use farandole::engine::Verdict;
use uuid::Uuid;

use crate::actor::{Ground, Happened, Ran};
use crate::ask::Command;
use crate::fault::Fault;
use crate::prints::{Prints, add, hash};
use crate::state::{Asked, Changed, Entry, Given, Known, Local, Place, Read, State, Stored, Task};
use crate::step::Step;
use crate::typed::{guarded, input_id};
use crate::world::{Past, World};

/// What a step came to, beside the new state.
pub(crate) struct Happening {
    pub of: usize,
    pub ran: Ran,
}

impl World {
    /// The state in which the world begins.
    pub(crate) fn begin(&self) -> State {
        let left = |command: &Command| Asked { left: command.times, repeats: command.repeats };
        let mut state = State {
            at: 0,
            locals: self.actors.iter().map(|_| Arc::new(Local::new(self.exchanges.none()))).collect(),
            commands: self.commands.iter().map(left).collect(),
            redeliveries: self.redeliveries,
            drops: self.drops,
            fault: None,
            print: 0,
        };
        for (of, about, past) in &self.given {
            let taken = guarded(|| self.past(&mut state, *of, about, past)).and_then(|taken| taken);
            if let Err(fault) = taken {
                state.fault = Some(Arc::new(fault));
                break;
            }
        }
        if self.is_heard {
            self.hear_all(&mut state);
        }
        self.print(&mut state);
        state
    }

    /// All have read what there is.
    fn hear_all(&self, state: &mut State) {
        for to in 0..state.locals.len() {
            for from in 0..state.locals.len() {
                for log in state.locals[from].logs.clone() {
                    let there = log.entries.iter().filter(|entry| entry.heard_by & (1 << to) != 0).count();
                    if there > 0 {
                        let read = self.read(to, from, &log.key, there);
                        Arc::make_mut(&mut state.locals[to]).read_to(read);
                    }
                }
            }
        }
    }

    fn past(&self, state: &mut State, of: usize, about: &str, past: &Past) -> Result<(), Fault> {
        let actor = &self.actors[of];
        let unreadable = || Fault::Engine { words: format!("{} can't be read back", past.kind) };
        let event = actor.read(past.kind, &past.payload, &self.codec).ok_or_else(unreadable)?;
        let text = String::from_utf8_lossy(&past.payload).into_owned();
        let happened = Happened { kind: past.kind, payload: past.payload.clone(), event, text };
        // Of which names can be exchanged.
        let cause = format!("given {about}/{}", state.locals[of].log(about).map_or(0, |log| log.entries.len()));
        self.take(of, Arc::make_mut(&mut state.locals[of]), about, happened, &cause)
    }

    /// Takes an event as it is: rows, tasks, and its place in the log.
    pub(crate) fn take(&self, of: usize, local: &mut Local, about: &str, mut event: Happened, cause: &str) -> Result<(), Fault> {
        let actor = &self.actors[of];
        let at = local.log(about).map_or(0, |log| log.entries.len());
        let id = crate::typed::event_id(actor.name(), about, at);
        let (rows, keys) = actor.evolve(&*event.event, &Keys::default(), &|table, key| local.stored(table, key))?;
        let net = actor.follow(&*event.event, about, id)?;
        self.store(of, local, rows);
        self.append(of, local, about, &mut event, cause, (None, &Arc::new(keys.unwrap_or_default())));
        self.agenda(of, local, net, about);
        Ok(())
    }

    /// What the step makes of the state; none if nothing changes. It is decided so many times, and each must give the same.
    pub(crate) fn next(&self, state: &State, step: &Step, times: u8, cases: bool) -> Option<(State, Option<Happening>)> {
        let mut next = state.clone();
        // Whatever of a participant or of the world's own functions panics, it is this step that it panics at.
        let happened = guarded(|| self.happen(state, &mut next, step, times, cases)).and_then(|happened| happened);
        let happening = match happened {
            Ok(Some(happening)) => happening,
            Ok(None) => return None,
            Err(fault) => {
                next.fault = Some(Arc::new(fault));
                next.print = hash(&format!("fault after {:x} {step:?}", state.print));
                return Some((next, None));
            }
        };
        self.print(&mut next);
        if let Some(happening) = &happening
            && let Some(fault) = self.is_endless(&next, happening)
        {
            next.fault = Some(Arc::new(fault));
        }
        (next.print != state.print).then_some((next, happening))
    }

    /// `Ok(None)`: nothing. `Ok(Some(None))`: something, to no participant.
    fn happen(
        &self,
        state: &State,
        next: &mut State,
        step: &Step,
        times: u8,
        cases: bool,
    ) -> Result<Option<Option<Happening>>, Fault> {
        let given = match step {
            Step::Clock { to } => {
                next.at = *to;
                return Ok(Some(None));
            }
            Step::Start { of, task } => {
                let local = Arc::make_mut(&mut next.locals[*of]);
                let changed = self.change(*of, local, task, |asking| asking.started = true);
                return Ok(changed.then_some(None));
            }
            Step::Again { to, from, key, at } => {
                let local = Arc::make_mut(&mut next.locals[*to]);
                local.read_to(self.read(*to, *from, key, *at));
                next.redeliveries -= 1;
                return Ok(Some(None));
            }
            Step::AgainAll { to, from } => {
                let keys: Vec<Arc<str>> = state.locals[*from].logs.iter().map(|log| Arc::clone(&log.key)).collect();
                let local = Arc::make_mut(&mut next.locals[*to]);
                keys.iter().filter(|key| state.locals[*to].had(*from, key) > 0).for_each(|key| {
                    local.read_to(self.read(*to, *from, key, 0));
                });
                next.redeliveries -= 1;
                return Ok(Some(None));
            }
            Step::Drop { of, at } => {
                self.unpark(*of, Arc::make_mut(&mut next.locals[*of]), *at);
                next.drops -= 1;
                return Ok(Some(None));
            }
            Step::Lost { of, task, outcome } => {
                let local = Arc::make_mut(&mut next.locals[*of]);
                let Some(booked) = self.book(*of, local, task, *outcome, false)? else { return Ok(None) };
                local.book(Arc::new(booked));
                self.change(*of, local, task, |asking| asking.lost += 1);
                return Ok(Some(None));
            }
            Step::Answer { of, task, outcome } => {
                let local = Arc::make_mut(&mut next.locals[*of]);
                let Some(booked) = self.book(*of, local, task, *outcome, true)? else { return Ok(None) };
                let Some(ended) = local.end(&task.name, &task.key, task.cause) else { return Ok(None) };
                let booked = Arc::new(booked);
                local.book(Arc::clone(&booked));
                Some((*of, Given::Outcome { task: ended, booked }))
            }
            _ => self.input(state, step),
        };
        let Some((of, given)) = given else { return Ok(None) };
        if self.only_undecided && self.is_known(state, of, step, &given) {
            // Recognised by its cause, as after a loss.
            self.had(next, of, &given);
            return Ok(Some(None));
        }
        let releases = matches!(step, Step::Release { .. });
        let cause = self.cause(&given);
        let (left, commands, codec) = (self.left(state, step, &given), &*self.commands, &self.codec);
        let id = input_id(&cause, left, state.at);
        let ground = Ground { state, commands, codec, me: of, releases, cause: cause.clone(), id, cases };
        let ran = self.actors[of].run(&ground, &given)?;
        for _ in 1..times {
            ran.same(&self.actors[of].run(&ground, &given)?)?;
        }
        if self.exchanges.len() > 1 {
            let text = id.to_string();
            let holds = |event: &Happened| event.payload.windows(text.len()).any(|part| part == text.as_bytes());
            if ran.events.iter().any(holds) {
                self.exchanges.learn(id, &format!("{cause} {left} {}", state.at / 1000));
            }
        }
        match step {
            Step::Ask { which } => {
                next.commands[*which].left -= 1;
            }
            Step::Repeat { which } => next.commands[*which].repeats -= 1,
            Step::AnswerAgain { .. } => next.redeliveries -= 1,
            Step::Release { of, at } if matches!(ran.verdict, Verdict::Done(_)) => {
                self.unpark(*of, Arc::make_mut(&mut next.locals[*of]), *at);
            }
            Step::Release { .. } => return Ok(None),
            Step::Due { of, task } => {
                Arc::make_mut(&mut next.locals[*of]).end(&task.name, &task.key, task.cause);
            }
            _ => {}
        }
        if !releases {
            // A parked record is behind the position already.
            self.had(next, of, &given);
        }
        let ran = self.apply(Arc::make_mut(&mut next.locals[of]), of, &given, ran, &cause);
        Ok(Some(Some(Happening { of, ran })))
    }

    /// A record counts as read, whatever became of it.
    pub(crate) fn had(&self, next: &mut State, of: usize, given: &Given) {
        let Given::Record { from, key, at } = given else { return };
        let log = next.locals[*from].log(key).cloned();
        let Some(entries) = log.as_ref().and_then(|log| log.entries.get(..=*at)) else { return };
        let had = entries.iter().filter(|entry| entry.heard_by & (1 << of) != 0).count();
        let local = &next.locals[of];
        if had == local.had(*from, key) + 1 {
            let read = self.read(of, *from, key, had);
            Arc::make_mut(&mut next.locals[of]).read_to(read);
        }
    }

    /// Whether events of the participant name this input as their cause.
    fn is_known(&self, state: &State, of: usize, step: &Step, given: &Given) -> bool {
        if !matches!(step, Step::Deliver { .. } | Step::AnswerAgain { .. }) {
            return false;
        }
        let cause = self.cause(given);
        state.locals[of].logs.iter().flat_map(|log| &log.entries).any(|entry| entry.cause == cause)
    }

    /// Stores what an input led to.
    pub(crate) fn apply(&self, local: &mut Local, of: usize, given: &Given, mut ran: Ran, cause: &str) -> Ran {
        let name = self.actors[of].name();
        let parent = self.parent(of, given);
        let why = match &ran.verdict {
            // A caller is told.
            _ if matches!(given, Given::Command { .. }) => None,
            Verdict::Parked(fault) => Some(fault.reason.clone()),
            Verdict::Held { behind } => Some(format!("waits behind {behind}")),
            Verdict::Done(_) | Verdict::Refused(_) | Verdict::Lost => None,
        };
        if let Some(why) = why {
            self.park(of, local, given, (&ran.aggregate, &ran.key, why), cause);
        }
        self.store(of, local, std::mem::take(&mut ran.rows));
        for (at, (hash, answer)) in std::mem::take(&mut ran.known) {
            let prints = self.exchanges.prints(&format!("{name} known {at:?} {answer:?}"));
            local.know(Known { at, hash, answer, prints });
        }
        for event in &mut ran.events {
            self.append(of, local, &ran.aggregate, event, cause, (parent.as_ref(), &ran.keys));
        }
        let net = std::mem::take(&mut ran.net);
        self.agenda(of, local, net, &ran.aggregate);
        ran
    }

    pub(crate) fn store(&self, of: usize, local: &mut Local, rows: Vec<Changed>) {
        for (table, key, row) in rows {
            let stored = row.map(|row| {
                let prints = self.exchanges.prints(&format!("{of} row {table} {key} {row:?}"));
                Stored { table, key: key.clone(), row, prints }
            });
            local.put(table, &key, stored);
        }
    }

    /// Puts an event into its log. Of what led to it, and of the rows that deciding had, later checks want to know.
    pub(crate) fn append(
        &self,
        of: usize,
        local: &mut Local,
        aggregate: &str,
        event: &mut Happened,
        cause: &str,
        (parent, keys): (Option<&Place>, &Arc<Keys>),
    ) {
        let at = local.log(aggregate).map_or(0, |log| log.entries.len());
        let prints = self.exchanges.prints(&format!(
            "{of} event {aggregate} {at} {} {} {cause}",
            event.kind,
            String::from_utf8_lossy(&event.payload)
        ));
        let heard_by = self.actors.iter().enumerate().filter(|(_, actor)| actor.hears(event.kind)).map(|(i, _)| 1 << i).sum();
        let entry = Entry {
            kind: event.kind,
            payload: std::mem::take(&mut event.payload),
            event: Arc::clone(&event.event),
            cause: cause.to_owned(),
            parent: parent.cloned(),
            keys: Arc::clone(keys),
            heard_by,
            prints,
        };
        local.append(aggregate, entry);
    }

    fn read(&self, to: usize, from: usize, key: &Arc<str>, had: usize) -> Read {
        let prints = self.exchanges.prints(&format!("{to} read {from} {key} {had}"));
        Read { from, key: Arc::clone(key), had, prints }
    }

    /// What an event's header would say led to it.
    pub(crate) fn cause(&self, given: &Given) -> String {
        match given {
            Given::Record { from, key, at } => format!("{}/{key}/{at}", self.actors[*from].name()),
            Given::Command { which, nth } => {
                let command = &self.commands[*which];
                format!("command/{}/{}/{nth}", command.about, command.label)
            }
            Given::Deadline { task } => format!("deadline/{}/{}/{}", task.name, task.key, task.from),
            Given::Outcome { task, .. } => format!("outcome/{}/{}/{}", task.name, task.key, task.from),
        }
    }

    /// The event that an input comes from.
    fn parent(&self, of: usize, given: &Given) -> Option<Place> {
        match given {
            Given::Record { from, key, at } => Some(Place { of: *from, key: Arc::clone(key), at: *at }),
            Given::Command { .. } => None,
            Given::Deadline { task } | Given::Outcome { task, .. } => {
                let Task { from, cause, .. } = &**task;
                let (key, _) = from.rsplit_once('/')?;
                Some(Place { of, key: key.into(), at: usize::try_from(cause.as_u64_pair().1).ok()? })
            }
        }
    }

    /// The input's id: another each time that it comes.
    pub(crate) fn id(&self, state: &State, step: &Step, given: &Given, cause: &str) -> Uuid {
        input_id(cause, self.left(state, step, given), state.at)
    }

    /// How often it may still come.
    fn left(&self, state: &State, step: &Step, given: &Given) -> u8 {
        match (step, given) {
            (Step::AnswerAgain { .. }, _) => state.redeliveries.saturating_sub(1),
            (Step::Repeat { which }, _) => state.commands[*which].repeats.saturating_sub(1),
            (_, Given::Command { which, .. }) => state.commands[*which].repeats,
            (_, Given::Record { .. } | Given::Outcome { .. }) => state.redeliveries,
            (_, Given::Deadline { .. }) => 0,
        }
    }

    /// The sum of the state's parts.
    pub(crate) fn parts(&self, state: &State) -> Prints {
        let mut all = self.exchanges.none();
        state.locals.iter().for_each(|local| add(&mut all, &local.prints));
        let commands = self.command_prints.get_or_init(|| self.commands.iter().map(|command| self.prints_of(command)).collect());
        for ((command, prints), asked) in self.commands.iter().zip(commands).zip(&state.commands) {
            let at = usize::from(asked.left) * (usize::from(command.repeats) + 1) + usize::from(asked.repeats);
            add(&mut all, &prints[at]);
        }
        all
    }

    /// Of all that may be left of a command.
    fn prints_of(&self, command: &Command) -> Vec<Prints> {
        let made = (command.text)();
        let left = (0..=command.times).flat_map(|left| (0..=command.repeats).map(move |repeats| (left, repeats)));
        let text = |(left, repeats)| format!("command {} {} {made} {left} {repeats}", command.about, command.label);
        left.map(|left| self.exchanges.prints(&text(left))).collect()
    }

    /// The state's fingerprint: the least of those with names exchanged.
    fn print(&self, state: &mut State) {
        let rest = hash(&format!("{} {} {}", state.at, state.redeliveries, state.drops));
        let parts = self.parts(state);
        state.print = parts.iter().map(|print| print.wrapping_add(rest)).min().unwrap_or(rest).max(1);
    }
}

/// The last part of a type's name.
pub(crate) fn short(kind: &str) -> &str {
    kind.rsplit('.').next().unwrap_or(kind)
}
