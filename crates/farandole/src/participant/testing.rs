//! Tests of participants without Kafka and PostgreSQL: `story.given(events)`, `.hears(event)`, `.then(events)`.
//!
//! A [`Story`] loads for each input exactly the rows that `touches` and `touches_more` name, as in production, so a decision
//! that reads another row fails here too. [`state_table`] tries every input in every state and writes down what happens.
//!
//! For tests only: everything here panics when something else happens than was expected.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::participant::problem::{Answer, Problem};
use crate::participant::table::{Keys, Tables as _};
use crate::participant::task::{Deadline as _, Effect as _, EffectKind, Task, What, each_once};
use crate::participant::{Body, Decision, Input, OutcomeOf, Participant, Refusal, Tasks};
use crate::wire::message::Message;

/// Copies one row, or its absence, from stored tables into loaded ones.
#[doc(hidden)]
pub type Copy<T> = Box<dyn Fn(&T, &mut T)>;
/// Makes one row known and absent.
#[doc(hidden)]
pub type Admit<T> = Box<dyn Fn(&mut T)>;

/// A row that a story may speak of, whether it is there or not. Made by [`rows!`](crate::rows!).
pub struct Known<T> {
    #[doc(hidden)]
    pub keys: Keys,
    #[doc(hidden)]
    pub copy: Copy<T>,
    #[doc(hidden)]
    pub admit: Admit<T>,
}

/// Names the rows that a [`Story`](crate::testing::Story) may speak of, as field, type and key:
/// `rows![Tables; orders: Order[ID], stock: Stock["tea".to_owned()]]`. Any other row that `decide` or `evolve` touches fails the test.
#[macro_export]
macro_rules! rows {
    ($tables:ty; $($field:ident : $row:ty [$key:expr]),* $(,)?) => { vec![$({
        let (key, again) = ($key, $key);
        $crate::testing::Known::<$tables> {
            keys: $crate::Keys::of::<$row>([$key]),
            copy: Box::new(move |from: &$tables, to: &mut $tables| to.$field.given(&key, from.$field.get(&key).cloned())),
            admit: Box::new(move |tables: &mut $tables| tables.$field.given(&again, None)),
        }
    }),*] };
}

/// A participant, the aggregate that the story is about, the rows it may speak of, and what has happened so far.
///
/// ```
/// # mod loyalty { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/loyalty.rs")); }
/// # use loyalty::*;
/// use farandole::rows;
/// use farandole::testing::{Story, state_table};
///
/// fn anna() -> String { "anna".to_owned() }
/// fn points(by: i64) -> PointsChanged { PointsChanged { customer: anna(), by } }
/// fn story() -> Story<Loyalty> { Story::new(Loyalty, anna(), rows![Tables; accounts: Account[anna()]]) }
///
/// let mut story_of_anna = story().given([points(7).into()]); // has happened already
/// story_of_anna.hears(OrderPlaced { customer: anna(), total: 1_299 }).then([points(12)]).tasks([]);
/// story_of_anna.asked(Redeem { points: 20 }).refused("too-few-points");
/// assert_eq!(story_of_anna.tables.accounts.get(&anna()).map(|account| account.points), Some(19));
///
/// // Every input in every state, as a Markdown table: commit it with `testing::committed`, and each change of it is reviewed.
/// let table = state_table(
///     story,
///     &[("new", vec![]), ("has 7", vec![points(7).into()])],
///     &[
///         ("OrderPlaced", &|story| story.hears(OrderPlaced { customer: anna(), total: 100 })),
///         ("Redeem 5", &|story| story.asked(Redeem { points: 5 })),
///     ],
/// );
/// assert!(table.contains("| Redeem 5 | refused: 409 too few points | PointsChanged |"), "{table}");
/// ```
///
/// Another one, `farandole_check::Story`, goes a way through several participants.
pub struct Story<P: Participant> {
    participant: P,
    known: Vec<Known<P::Tables>>,
    about: P::Id,
    /// Deadlines that are open, each with what it is about.
    deadlines: Vec<(P::Id, P::Deadline)>,
    /// Effects that aren't answered yet. Closing takes none away: one that may have started is answered all the same.
    effects: Vec<(P::Id, P::Effect)>,
    /// The types that have arrived.
    heard: BTreeSet<usize>,
    /// The rows as they are stored now.
    pub tables: P::Tables,
    /// The next input's id; set it to test what depends on it.
    pub id: Uuid,
    /// The next input's time, at first 1970-01-01T00:00:00Z; set it to test what depends on it.
    pub at: Timestamp,
}

/// What an input led to, to be compared with what was expected.
#[derive(Debug)]
pub struct Told<P: Participant> {
    /// What was decided.
    pub decided: Result<Decision<P::Event>, Refusal>,
    /// The deadlines and effects that its events open and close.
    pub tasks: Tasks<P>,
}

impl<P: Participant> Story<P> {
    /// A story about the aggregate `about`, to which nothing has happened yet; `known` is from [`rows!`](crate::rows!).
    pub fn new(participant: P, about: P::Id, known: Vec<Known<P::Tables>>) -> Self {
        let mut tables = P::Tables::default();
        known.iter().for_each(|row| (row.admit)(&mut tables));
        let (id, at) = (Uuid::from_u128(1), Timestamp::from_micros(0));
        Self { participant, known, about, deadlines: Vec::new(), effects: Vec::new(), heard: BTreeSet::new(), tables, id, at }
    }

    /// What comes next is about this aggregate.
    pub fn about(&mut self, id: P::Id) -> &mut Self {
        self.about = id;
        self
    }

    /// These events have happened, and the deadlines and effects that they open are open.
    #[must_use]
    pub fn given(mut self, events: impl IntoIterator<Item = P::Event>) -> Self {
        for event in events {
            self.participant.evolve(&mut self.tables, &event);
            assert_eq!(self.tables.take_missed(), None, "evolve() touched a row that the story doesn't name, on {event:?}");
            self.follow(&self.about.clone(), self.participant.follow_up(&event));
        }
        self
    }

    /// An event of a subscribed topic arrives: it is decided, and what was decided happens.
    #[track_caller]
    pub fn hears(&mut self, heard: impl Into<P::Heard>) -> Told<P> {
        self.when(Body::Heard(heard.into()))
    }

    /// A caller submits a command about the story's aggregate.
    #[track_caller]
    pub fn asked(&mut self, command: P::Command) -> Told<P> {
        self.when(Body::Command(command))
    }

    /// A deadline that is open falls due.
    ///
    /// # Panics
    /// When none of that name is open.
    #[track_caller]
    pub fn due(&mut self, deadline: P::Deadline) -> Told<P> {
        let at = self.deadlines.iter().position(|(_, open)| *open == deadline);
        let Some(at) = at else { panic!("no deadline {deadline:?} is open") };
        let (about, deadline) = self.deadlines.remove(at);
        self.decide(about, Body::Deadline(deadline))
    }

    /// The outside world answers the effect of kind `K` that was opened first and isn't answered yet; also one that was closed since,
    /// for it may have started.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn answered<K: EffectKind<P::Effect>>(&mut self, outcome: OutcomeOf<P>) -> Told<P> {
        let at = self.effects.iter().position(|(_, effect)| effect.name() == K::NAME);
        let Some(at) = at else { panic!("no effect `{}` is open", K::NAME) };
        let (about, effect) = self.effects.remove(at);
        self.decide(about, Body::Outcome { effect, outcome })
    }

    /// An input of any kind arrives; [`hears`](Self::hears), [`asked`](Self::asked), [`due`](Self::due) and [`answered`](Self::answered) are
    /// shorter.
    #[track_caller]
    pub fn when(&mut self, body: Body<P>) -> Told<P> {
        let mut elsewhere = None;
        if let Body::Heard(heard) = &body {
            self.heard.insert(heard.index());
            elsewhere = self.participant.aggregate(heard);
        }
        self.decide(elsewhere.unwrap_or_else(|| self.about.clone()), body)
    }

    #[track_caller]
    fn decide(&mut self, about: P::Id, body: Body<P>) -> Told<P> {
        let input = Input { id: self.id, at: self.at, body };
        let mut wanted = self.participant.touches(&about, &input);
        let mut loaded = self.load(&wanted);
        wanted.merge(self.participant.touches_more(&loaded, &about, &input));
        loaded = self.load(&wanted);
        let decided = self.participant.decide(&loaded, &about, &input);
        let events = decided.as_ref().map(|d| d.events.clone()).unwrap_or_default();
        let mut tasks = Vec::new();
        for event in &events {
            self.participant.evolve(&mut loaded, event);
            self.participant.evolve(&mut self.tables, event);
            let follow = self.participant.follow_up(event);
            // The engine parks an input that leads to this.
            if let Err(twice) = each_once(&follow, &about.to_string()) {
                panic!("follow_up() of {} {twice}", event.name());
            }
            tasks.extend(follow);
        }
        if let Some(row) = loaded.take_missed() {
            match self.tables.take_missed() {
                Some(row) => panic!("the story's `rows!` doesn't name {row}, which touches() does, on {input:?}"),
                None => panic!("touches() doesn't name {row}, which is read or changed, on {input:?}"),
            }
        }
        assert!(self.tables.take_missed().is_none(), "a row that the story doesn't name, on {input:?}");
        self.follow(&about, tasks.clone());
        Told { decided, tasks }
    }

    fn follow(&mut self, about: &P::Id, tasks: Tasks<P>) {
        for task in tasks {
            let of = task.of.as_deref().map_or_else(|| Some(about.clone()), |of| of.parse().ok());
            let Some(of) = of else { panic!("{:?} is no id", task.of) };
            match task.what {
                What::Deadline(deadline, _) => self.deadlines.push((of, deadline)),
                What::Effect(effect) => self.effects.push((of, effect)),
                What::Close(name) => {
                    let of = of.to_string();
                    self.deadlines.retain(|(about, deadline)| deadline.name() != name || about.to_string() != of);
                }
            }
        }
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
{
    /// It led to exactly these events.
    #[track_caller]
    pub fn then(&self, events: impl IntoIterator<Item = impl Into<P::Event>>) -> &Self {
        let events: Vec<P::Event> = events.into_iter().map(Into::into).collect();
        match &self.decided {
            Ok(decision) => assert_eq!(decision.events, events),
            Err(refusal) => panic!("refused: {refusal:?}; expected {events:?}"),
        }
        self
    }

    /// It led to nothing.
    #[track_caller]
    pub fn nothing(&self) -> &Self {
        self.then(Vec::<P::Event>::new())
    }

    /// Its events open and close exactly these.
    #[track_caller]
    pub fn tasks(&self, tasks: impl IntoIterator<Item = Task<P::Deadline, P::Effect>>) -> &Self {
        assert_eq!(self.tasks, tasks.into_iter().collect::<Vec<_>>());
        self
    }

    /// Its caller is refused with a problem of this kind: `not-found`, `invalid-request`, or one of the participant's own.
    #[track_caller]
    pub fn refused(&self, kind: &str) -> &Self {
        match &self.decided {
            Err(Refusal::Answer(problem)) => assert_eq!(problem.kind, format!("/problems/{kind}"), "{problem}"),
            other => panic!("expected a problem `{kind}`, got {other:?}"),
        }
        self
    }
}

/// How one input of a [`state_table`] is told: `&|story| story.hears(…)`.
pub type Tell<'a, P> = &'a dyn Fn(&mut Story<P>) -> Told<P>;

/// Tries every input in every state and gives a Markdown table of what happens: a row for each input, a column for each state, which is
/// reached by its events. [`Story`] has an example.
///
/// # Panics
/// When a type that the participant subscribes to is missing among the inputs.
pub fn state_table<P: Participant>(
    story: impl Fn() -> Story<P>,
    states: &[(&str, Vec<P::Event>)],
    inputs: &[(&str, Tell<'_, P>)],
) -> String {
    let mut heard = BTreeSet::new();
    let mut table = format!("# {}: every state, every input\n\nWritten by a test. –: nothing happens.\n\n| input |", P::NAME);
    for (name, _) in states {
        let _ = write!(table, " {name} |");
    }
    let _ = writeln!(table, "\n|---|{}", "---|".repeat(states.len()));
    for (name, tell) in inputs {
        let _ = write!(table, "| {name} |");
        for (_, events) in states {
            let mut story = story().given(events.clone());
            let told = tell(&mut story);
            heard.append(&mut story.heard);
            let _ = write!(table, " {} |", cell(&told));
        }
        table.push('\n');
    }
    for (i, of) in P::Heard::TYPES.iter().enumerate() {
        assert!(heard.contains(&i), "{} is heard, and missing among the inputs of the table", of.name);
    }
    table
}

fn cell<P: Participant>(told: &Told<P>) -> String {
    match &told.decided {
        Err(Refusal::Answer(problem)) => refused(problem),
        Err(Refusal::Retry(_)) => WAITS.to_owned(),
        Err(Refusal::Park(_)) => PARKS.to_owned(),
        Ok(decision) => {
            let events = decision.events.iter().map(Message::short_name);
            let tasks = told.tasks.iter().map(|t| task(t.opens(), t.name()));
            decided(events, decision.answer.as_ref(), tasks)
        }
    }
}

/// What a cell of a state table says of an input that parks and is retried, and of one that parks.
#[doc(hidden)]
pub const WAITS: &str = "waits, retried";
#[doc(hidden)]
pub const PARKS: &str = "parks";

/// The same of a command that is refused.
#[doc(hidden)]
pub fn refused(problem: &Problem) -> String {
    format!("refused: {} {}", problem.status, problem.title)
}

/// The same of what was decided: events in order, an answer without any, and what tasks they open and close.
#[doc(hidden)]
pub fn decided<'a>(
    events: impl Iterator<Item = &'a str>,
    answer: Option<&Answer>,
    tasks: impl Iterator<Item = String>,
) -> String {
    let mut words: Vec<String> = events.map(str::to_owned).collect();
    words.extend(answer.map(|answer| format!("answered {}", answer.status())));
    if words.is_empty() {
        return "–".to_owned();
    }
    std::iter::once(words.join(", ")).chain(tasks).collect::<Vec<_>>().join("; ")
}

/// The same of a task.
#[doc(hidden)]
pub fn task(opens: bool, name: &str) -> String {
    format!("{} `{name}`", if opens { "opens" } else { "closes" })
}

/// Compares `text` with the file that is committed at `path`, or writes the file when the variable `UPDATE_FILES` is set.
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
