//! Deadlines and effects, as the kit stores them.

use std::sync::Arc;

use farandole::IdempotencyKey;
use farandole::agenda::Kind;
use farandole::engine::Net;

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
                local.unpark(i);
            }
        }
        for (((name, key), cause), opening) in net.open {
            let effect = (opening.kind == Kind::Effect).then(|| {
                let effect = opening.effect.unwrap_or_default();
                let outcomes = self.actors[of].outcomes(&name, &effect);
                let (text, _) = self.actors[of].asking(&name, &effect);
                let idempotency = opening.idempotency_key.unwrap_or(cause);
                Asking { effect, text, idempotency, outcomes, started: false, closed: false, lost: 0 }
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
            Some(a) => format!("{} {} {} {}", a.text, a.started, a.closed, a.lost),
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

    /// What the outside world does about a task, as its books have it.
    pub(crate) fn book(&self, of: usize, local: &Local, id: &TaskId, outcome: usize, told: bool) -> Option<Booked> {
        let task = id.find(&local.tasks)?;
        let asking = task.effect.as_ref()?;
        let actor = &self.actors[of];
        let (both, text) = actor.outcome(&task.name, &asking.effect, outcome)?;
        // By what it is asked for, and not by the key itself, which says nothing of the names in it.
        let under = match actor.asking(&task.name, &asking.effect).1 {
            Some(IdempotencyKey::Stable) => "stable".to_owned(),
            Some(IdempotencyKey::Of(text)) => text,
            Some(IdempotencyKey::EachEvent) | None => task.from.clone(),
        };
        let Task { name, key, .. } = &**task;
        let prints = self.exchanges.prints(&format!("{of} book {name} {key} {} {under} {text} {told}", asking.text));
        Some(Booked { task: Arc::clone(task), idempotency: asking.idempotency, outcome, both, text, told, prints })
    }
}
