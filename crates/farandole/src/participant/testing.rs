//! Participants told as stories, with neither Kafka nor PostgreSQL: `given(events).when(input).then(events)`.
//!
//! A [`Story`] loads for each input exactly the rows that `touches` and `touches_more` name, as the engine does, so a decision
//! that reads another row fails here too. [`state_table`] tells every state every input and writes the answers down.
//!
//! For tests only: everything here panics when a story goes another way than told.

use std::fmt::Write as _;
use std::path::Path;

use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::participant::table::{Keys, Tables as _};
use crate::participant::{Body, Decision, Input, Participant, Refusal, Task};
use crate::wire::message::Message;

/// Copies one row, or its absence, from stored tables into loaded ones.
pub type Copy<T> = Box<dyn Fn(&T, &mut T)>;
/// Makes one row known and absent.
pub type Admit<T> = Box<dyn Fn(&mut T)>;

/// A row that stories may speak of, there or not. Written by [`rows!`](crate::rows).
pub struct Known<T> {
    /// Its table and key.
    pub keys: Keys,
    /// Loads it.
    pub copy: Copy<T>,
    /// Begins a story without it.
    pub admit: Admit<T>,
}

/// Names the rows that a story may speak of: `rows![Tables; orders: Order[ID], stock: Stock["tea".to_owned()]]`.
#[macro_export]
macro_rules! rows {
    ($tables:ty; $($field:ident : $row:ty [$key:expr]),* $(,)?) => { vec![$({
        let (key, again) = ($key, $key);
        $crate::testing::Known::<$tables> {
            keys: $crate::Keys::of::<$row, _>([$key]),
            copy: Box::new(move |from: &$tables, to: &mut $tables| to.$field.given(&key, from.$field.get(&key).cloned())),
            admit: Box::new(move |tables: &mut $tables| tables.$field.given(&again, None)),
        }
    }),*] };
}

/// A participant, the rows it may speak of, and what has happened so far.
pub struct Story<P: Participant> {
    participant: P,
    known: Vec<Known<P::Tables>>,
    /// What is stored.
    pub tables: P::Tables,
    /// The next input's id.
    pub id: Uuid,
    /// The next input's time.
    pub at: Timestamp,
}

/// What an input led to.
#[derive(Debug)]
pub struct Told<P: Participant> {
    /// What was decided.
    pub decided: Result<Decision<P::Event>, Refusal>,
    /// Deadlines and effects that its events open and close.
    pub tasks: Vec<Task<P::Effect>>,
}

impl<P: Participant> Story<P> {
    /// Nothing has happened yet.
    pub fn new(participant: P, known: Vec<Known<P::Tables>>) -> Self {
        let mut tables = P::Tables::default();
        known.iter().for_each(|row| (row.admit)(&mut tables));
        Self { participant, known, tables, id: Uuid::from_u128(1), at: Timestamp::from_micros(0) }
    }

    /// These events have happened.
    #[must_use]
    pub fn given(mut self, events: impl IntoIterator<Item = P::Event>) -> Self {
        for event in events {
            self.participant.evolve(&mut self.tables, &event);
            assert_eq!(self.tables.take_missed(), None, "evolve() touched a row that the story doesn't name, on {event:?}");
        }
        self
    }

    /// Decides `body` and lets its events happen.
    pub fn when(&mut self, body: Body<P>) -> Told<P> {
        let input = Input { id: self.id, at: self.at, body };
        let mut wanted = self.participant.touches(&input);
        let mut loaded = self.load(&wanted);
        wanted.merge(self.participant.touches_more(&loaded, &input));
        loaded = self.load(&wanted);
        let decided = self.participant.decide(&loaded, &input);
        let events = decided.as_ref().map(|d| d.events.clone()).unwrap_or_default();
        for event in &events {
            self.participant.evolve(&mut loaded, event);
            self.participant.evolve(&mut self.tables, event);
        }
        assert_eq!(loaded.take_missed(), None, "a row that touches() doesn't name, on {input:?}");
        assert!(self.tables.take_missed().is_none(), "a row that the story doesn't name, on {input:?}");
        Told { decided, tasks: events.iter().flat_map(|e| self.participant.follow_up(e)).collect() }
    }

    fn load(&self, wanted: &Keys) -> P::Tables {
        let mut loaded = P::Tables::default();
        for row in &self.known {
            let mut both = wanted.clone();
            both.merge(row.keys.clone());
            if both == *wanted {
                (row.copy)(&self.tables, &mut loaded);
            }
        }
        loaded
    }
}

impl<P: Participant> Told<P>
where
    P::Event: PartialEq,
    P::Effect: PartialEq,
{
    /// It led to exactly these events.
    #[track_caller]
    pub fn then(&self, events: impl IntoIterator<Item = P::Event>) -> &Self {
        let events: Vec<_> = events.into_iter().collect();
        match &self.decided {
            Ok(decision) => assert_eq!(decision.events, events),
            Err(refusal) => panic!("refused: {refusal:?}; expected {events:?}"),
        }
        self
    }

    /// Its events open and close exactly these.
    #[track_caller]
    pub fn tasks(&self, tasks: impl IntoIterator<Item = Task<P::Effect>>) -> &Self {
        assert_eq!(self.tasks, tasks.into_iter().collect::<Vec<_>>());
        self
    }

    /// Its caller is refused with this status.
    #[track_caller]
    pub fn refused(&self, status: u16) -> &Self {
        match &self.decided {
            Err(Refusal::Answer(problem)) => assert_eq!(problem.status, status, "{problem}"),
            other => panic!("expected a problem with status {status}, got {other:?}"),
        }
        self
    }
}

/// Tells every state every input: a Markdown table, a row an input, a column a state.
///
/// # Panics
/// When a type that the participant hears is missing among the inputs.
pub fn state_table<P: Participant>(
    story: impl Fn() -> Story<P>,
    states: &[(&str, Vec<P::Event>)],
    inputs: &[(&str, &dyn Fn() -> Body<P>)],
) -> String {
    for (i, heard) in P::Heard::TYPES.iter().enumerate() {
        let there = inputs.iter().any(|(_, body)| matches!(body(), Body::Heard(h) if h.index() == i));
        assert!(there, "{} is heard, and missing among the inputs of the table", heard.name);
    }
    let mut table = format!("# {}: every state, every input\n\nWritten by a test. –: nothing happens.\n\n| input |", P::NAME);
    for (name, _) in states {
        let _ = write!(table, " {name} |");
    }
    let _ = writeln!(table, "\n|---|{}", "---|".repeat(states.len()));
    for (name, body) in inputs {
        let _ = write!(table, "| {name} |");
        for (_, events) in states {
            let told = story().given(events.clone()).when(body());
            let _ = write!(table, " {} |", cell(&told));
        }
        table.push('\n');
    }
    table
}

fn cell<P: Participant>(told: &Told<P>) -> String {
    let decision = match &told.decided {
        Err(Refusal::Answer(p)) => return format!("refused: {} {}", p.status, p.title),
        Err(Refusal::Retry(_)) => return "waits, tried again".to_owned(),
        Err(Refusal::Park(_)) => return "parks".to_owned(),
        Ok(decision) => decision,
    };
    let mut words: Vec<String> = decision.events.iter().map(|e| short(e.name()).to_owned()).collect();
    if let Some(answer) = &decision.answer {
        words.push(format!("answered {}", answer.status));
    }
    if words.is_empty() {
        return "–".to_owned();
    }
    let mut text = words.join(", ");
    for task in &told.tasks {
        let _ = match task {
            Task::Deadline { name, .. } | Task::Effect { name, .. } => write!(text, "; opens `{name}`"),
            Task::Close { name, .. } => write!(text, "; closes `{name}`"),
        };
    }
    text
}

/// The last part of a full name: `OrderPlaced` of `farandole.orders.OrderPlaced`.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Compares `text` with the committed file, or writes the file when `UPDATE_FILES` is set.
///
/// # Panics
/// When they differ, or the file can't be written.
#[track_caller]
pub fn committed(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    if std::env::var_os("UPDATE_FILES").is_some()
        && let Err(error) = std::fs::write(path, text)
    {
        panic!("writing {}: {error}", path.display());
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(there == text, "{} differs; run the test with UPDATE_FILES=1 and look at what changed. Now:\n{text}", path.display());
}
