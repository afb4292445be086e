//! A participant in a world, whatever its type.

use std::any::Any;
use std::sync::Arc;

use farandole::engine::{CachedAnswer, Net, Verdict};
use farandole::table::Find;
use farandole::{Codec, IdempotencyKey, Keys};
use farandole_outbox::RecordType;
use uuid::Uuid;

use crate::ask::Command;
use crate::fault::Fault;
use crate::state::{Changed, Given, State, Task};

/// What running an input gave.
pub(crate) struct Ran {
    pub verdict: Verdict,
    /// Rows that changed.
    pub rows: Vec<Changed>,
    pub events: Vec<Happened>,
    /// The rows that it had.
    pub keys: Arc<Keys>,
    pub net: Net,
    /// Answers that were given under a key.
    pub known: Vec<CachedAnswer>,
    /// What it is about.
    pub aggregate: String,
    /// The key of its record or task.
    pub key: String,
    /// What tasks it opens and closes, in order, as a state table says it.
    pub tasks: Vec<String>,
    /// State and input, in the words of the participant's state table.
    pub case: Option<(String, String)>,
}

/// An event that was decided.
pub(crate) struct Happened {
    pub kind: &'static str,
    pub payload: Vec<u8>,
    pub event: Arc<dyn Any + Send + Sync>,
    pub text: String,
}

/// What the outside world may answer.
pub(crate) struct Answered {
    /// `(P::Effect, OutcomeOf<P>)`.
    pub both: Arc<dyn Any + Send + Sync>,
    /// As people read it.
    pub text: String,
    /// The answer itself, by which states are told apart.
    pub value: String,
}

/// What running rests on.
pub(crate) struct Ground<'a> {
    pub state: &'a State,
    pub commands: &'a [Command],
    pub codec: &'a Codec,
    /// Of this participant.
    pub me: usize,
    /// The input was parked, and what is parked doesn't hold it.
    pub releases: bool,
    pub cause: String,
    /// The input's id.
    pub id: Uuid,
    /// Whether it is asked what a state table calls it.
    pub cases: bool,
}

/// A participant, whatever its type.
pub(crate) trait Actor: Send + Sync {
    #[cfg(test)]
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn name(&self) -> &'static str;
    /// Types that it publishes.
    fn publishes(&self) -> &'static [RecordType];
    /// Whether it has effects, and nobody says what the outside world answers.
    fn lacks_answers(&self) -> bool;
    /// Whether it declares that nobody need consume its events of this type.
    fn ends(&self, kind: &str) -> bool;
    fn hears(&self, kind: &str) -> bool;
    /// Whether it lists the type among those that it ignores, or has no such list.
    fn ignores(&self, kind: &str) -> bool;
    /// The types that it handles.
    fn handles(&self) -> &'static [RecordType];
    /// The topics that it subscribes to.
    fn topics(&self) -> Vec<&'static str>;
    /// How many answers an effect may have.
    fn outcomes(&self, name: &str, effect: &serde_json::Value) -> usize;
    /// One of them.
    fn outcome(&self, name: &str, effect: &serde_json::Value, i: usize) -> Option<Answered>;
    /// Under what an effect is asked for.
    fn idempotency(&self, name: &str, effect: &serde_json::Value) -> Option<IdempotencyKey>;
    fn run(&self, ground: &Ground<'_>, given: &Given) -> Result<Ran, Fault>;
    /// Runs an input of which only the events are known that it led to; none where nobody says what it was.
    fn happened(&self, ground: &Ground<'_>, about: &str, real: &Real<'_>) -> Result<Option<Ran>, Fault>;
    /// An event that is known to have happened before the world begins.
    fn read(&self, kind: &str, payload: &[u8], codec: &Codec) -> Option<Arc<dyn Any + Send + Sync>>;
    /// An event in words.
    fn text(&self, event: &(dyn Any + Send + Sync)) -> String;
    /// Effect and answer, `(P::Effect, OutcomeOf<P>)`, as far as these events tell.
    fn both(&self, task: &Task, led_to: &[Arc<dyn Any + Send + Sync>]) -> Option<Arc<dyn Any + Send + Sync>>;
    /// Applies an event to rows: what `evolve` changes, given what is there, and which rows it needs if these aren't all.
    fn evolve(&self, event: &dyn Any, keys: &Keys, find: Find<'_>) -> Result<(Vec<Changed>, Option<Keys>), Fault>;
    /// The event's deadlines and effects.
    fn follow(&self, event: &dyn Any, aggregate: &str, id: Uuid) -> Result<Net, Fault>;
}

/// An input that is known by what it led to.
pub(crate) enum Real<'a> {
    /// A command; its input's id.
    Command { id: Uuid, led_to: &'a [Arc<dyn Any + Send + Sync>] },
    /// What the outside world answered about a task.
    Outcome { task: &'a Task, led_to: &'a [Arc<dyn Any + Send + Sync>] },
}
