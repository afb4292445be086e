//! What an invariant sees.

use std::cell::Cell;

use farandole::table::Row;
use farandole::{OutcomeOf, Participant};

use crate::state::{Local, State};

/// A state, as invariants look at it: over all tables, topics, tasks, and what the outside world did.
pub struct Seen<'a> {
    /// The participants' names, in the order of the state.
    names: &'a [&'static str],
    state: &'a State,
    pub(crate) spoke: Cell<bool>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(names: &'a [&'static str], state: &'a State) -> Self {
        Self { names, state, spoke: Cell::new(false) }
    }

    fn local<P: Participant>(&self) -> Option<&'a Local> {
        let i = self.names.iter().position(|name| *name == P::NAME)?;
        Some(&self.state.locals[i])
    }

    /// All rows of `R`'s table, by key.
    pub fn rows<R: Row>(&self) -> impl Iterator<Item = &'a R> + '_ {
        let stored = self.state.locals.iter().flat_map(|local| &local.rows).filter(|stored| stored.table == R::TABLE);
        stored.filter_map(|stored| (*stored.row).as_any().downcast_ref::<R>()).inspect(|_| self.spoke.set(true))
    }

    /// All events of `P`, those of one key in order.
    pub fn events<P: Participant>(&self) -> impl Iterator<Item = &'a P::Event> + '_ {
        let logs = self.local::<P>().into_iter().flat_map(|local| &local.logs);
        let entries = logs.flat_map(|log| &log.entries);
        entries.filter_map(|entry| entry.event.downcast_ref::<P::Event>()).inspect(|_| self.spoke.set(true))
    }

    /// What the outside world has done for `P`, once for each idempotency key, whether `P` has heard of it or not.
    pub fn done<P: Participant>(&self) -> impl Iterator<Item = (&'a P::Effect, &'a OutcomeOf<P>)> + '_ {
        let books = self.local::<P>().into_iter().flat_map(|local| &local.books);
        let both = books.filter_map(|booked| booked.both.downcast_ref::<(P::Effect, OutcomeOf<P>)>());
        both.map(|(effect, outcome)| (effect, outcome)).inspect(|_| self.spoke.set(true))
    }

    /// Open deadlines and effects of `P`: name and aggregate.
    pub fn open<P: Participant>(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        let tasks = self.local::<P>().into_iter().flat_map(|local| &local.tasks);
        tasks.map(|task| (task.name.as_str(), task.key.as_str())).inspect(|_| self.spoke.set(true))
    }

    /// Inputs that are parked, of all participants: the aggregate, and why.
    pub fn parked(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        let parked = self.state.locals.iter().flat_map(|local| &local.parked);
        parked.map(|parked| (parked.aggregate.as_str(), parked.why.as_str())).inspect(|_| self.spoke.set(true))
    }

    /// Logical time: microseconds since the world began.
    pub fn at(&self) -> i64 {
        self.spoke.set(true);
        self.state.at
    }
}
