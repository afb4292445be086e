//! Deadlines and effects, as the kit stores them.

use std::sync::Arc;

use farandole::IdempotencyKey;
use farandole::agenda::Kind;
use farandole::engine::Net;

use crate::actor::Answered;
use crate::fault::{FICKLE, Fault};
use crate::prints::{add, take};
use crate::state::{Asking, Booked, Given, Local, Parked, Task};
use crate::step::TaskId;
use crate::world::World;

impl World {
    /// Opens and closes tasks. What is closed and hasn't started is gone; what has started stays until it is answered. A closed deadline that
    /// is parked is given up.
    pub(crate) fn agenda(&self, of: usize, local: &mut Local, net: Net, aggregate: &str) {
        for (name, key) in &net.close {
            let open: Vec<Arc<Task>> =
                local.tasks.iter().filter(|task| task.name == *name && task.key == *key).map(Arc::clone).collect();
            for task in open {
                if task.effect.as_ref().is_some_and(|asking| asking.started) {
                    self.change(of, local, &TaskId::of(&task), |asking| asking.closed = true);
                } else {
                    local.end(&task.name, &task.key, task.cause);
                }
            }
            let is_closed = |parked: &Arc<Parked>| match &parked.given {
                Given::Deadline { task } => task.name == *name && task.key == *key,
                _ => false,
            };
            while let Some(i) = local.parked.iter().position(is_closed) {
                self.unpark(of, local, i);
            }
        }
        for (((name, key), cause), opening) in net.open {
            let effect = (opening.kind == Kind::Effect).then(|| {
                let effect = opening.effect.unwrap_or_default();
                let outcomes = self.actors[of].outcomes(&name, &effect);
                let idempotency = opening.idempotency_key.unwrap_or(cause);
                Asking { effect, idempotency, outcomes, started: false, closed: false, lost: 0 }
            });
            let from = format!("{aggregate}/{}", cause.as_u64_pair().1);
            // A deadline in the past is due at once.
            let due = opening.due.micros();
            let mut task = Task { name, key, cause, from, due, effect, prints: self.exchanges.none() };
            self.reprint(of, &mut task);
            local.open(task);
        }
    }

    fn reprint(&self, of: usize, task: &mut Task) {
        let Task { name, key, from, due, .. } = &task;
        let how = match &task.effect {
            None => format!("due {due}"),
            Some(a) => format!("{} {} {} {}", a.effect, a.started, a.closed, a.lost),
        };
        task.prints = self.exchanges.prints(&format!("{of} task {name} {key} {from} {how}"));
    }

    /// Changes how far an effect has come; says whether it is there.
    pub(crate) fn change(&self, of: usize, local: &mut Local, id: &TaskId, change: impl FnOnce(&mut Asking)) -> bool {
        let Some(i) = local.tasks.iter().position(|task| TaskId::of(task) == *id) else { return false };
        let Local { tasks, prints, .. } = local;
        let task = Arc::make_mut(&mut tasks[i]);
        take(prints, &task.prints);
        if let Some(asking) = &mut task.effect {
            change(asking);
        }
        self.reprint(of, task);
        add(prints, &task.prints);
        true
    }

    /// What the outside world does about a task, as its books have it: who asks under a key that it knows is told what it did then.
    pub(crate) fn book(
        &self,
        of: usize,
        local: &Local,
        id: &TaskId,
        outcome: usize,
        told: bool,
    ) -> Result<Option<Booked>, Fault> {
        let Some(task) = id.find(&local.tasks) else { return Ok(None) };
        let Some(asking) = &task.effect else { return Ok(None) };
        let actor = &self.actors[of];
        let known = local.booked(asking.idempotency);
        let first = known.map_or(task, |booked| &booked.first);
        let asked = first.effect.as_ref().map_or(&asking.effect, |first| &first.effect);
        let Some(Answered { both, text, value }) = actor.outcome(&first.name, asked, outcome) else {
            return Err(Fault::Engine { words: FICKLE.to_owned() });
        };
        // By what it is asked for, and not by the key itself, which says nothing of the names in it.
        let under = match actor.idempotency(&first.name, asked) {
            Some(IdempotencyKey::Stable) => "stable",
            Some(IdempotencyKey::Of(text)) => &format!("of {text}"),
            Some(IdempotencyKey::EachEvent) | None => &first.from,
        };
        let mut heard = known.map_or_else(Vec::new, |booked| booked.told.clone());
        if told {
            let id = |task: &Task| (task.name.clone(), task.key.clone(), task.cause);
            if let Err(at) = heard.binary_search_by(|other| id(other).cmp(&id(task))) {
                heard.insert(at, Arc::clone(task));
            }
        }
        let Task { name, key, .. } = &**first;
        let mut prints = self.exchanges.prints(&format!("{of} book {name} {key} {asked} {under} {value}"));
        // Added up, since exchanged names would stand in another order.
        for Task { name: n, key: k, from: f, effect, .. } in heard.iter().map(|task| &**task) {
            let asked = effect.as_ref().map(|asking| &asking.effect);
            add(&mut prints, &self.exchanges.prints(&format!("{of} told {under}: {n} {k} {f} {asked:?}")));
        }
        let (first, told) = (Arc::clone(first), heard);
        Ok(Some(Booked { first, idempotency: asking.idempotency, outcome, both, text, told, prints }))
    }
}
