//! Inputs with their origin, and their results.

use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::parking::Fault;
use crate::participant::problem::{Answer, Problem};
use crate::participant::{Body, Input, Participant};

/// What a record or task was decoded into.
#[derive(Debug)]
pub enum Decoded<W> {
    /// An input.
    Input(W),
    /// A type that the service lists as ignored.
    Ignored,
    /// A type that it doesn't know, and that `intake.unknown` has it ignore.
    Unknown,
    /// It can't be read.
    Fault(Fault),
}

/// One input and where it came from.
#[derive(Debug)]
pub struct Work<P: Participant> {
    /// What is to be decided. The engine sets its time.
    pub input: Input<P>,
    /// What it is about.
    pub id: P::Id,
    /// Where it came from.
    pub origin: Origin,
}

impl<P: Participant> Work<P> {
    /// An input about `id`.
    pub fn new(id: P::Id, body: Body<P>, origin: Origin) -> Self {
        Self { input: Input { id: Uuid::now_v7(), at: Timestamp::default(), body }, id, origin }
    }

    /// A command about something that it makes, whose id is the input's.
    pub fn fresh(command: P::Command, origin: Origin) -> Self
    where
        P::Id: From<Uuid>,
    {
        let id = Uuid::now_v7();
        Self { input: Input { id, at: Timestamp::default(), body: Body::Command(command) }, id: id.into(), origin }
    }
}

/// Where an input came from: what its events' headers will say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// `topic/partition/offset`, `command/<id>`, and for tasks `deadline/<name>/<id of the event that opened it>` or `outcome/…`.
    pub cause: String,
    /// Shared by everything that one first command led to; `None` begins a new one.
    pub correlation: Option<Uuid>,
    /// W3C trace context of the cause.
    pub traceparent: Option<String>,
    /// For commands that came with a key: who asked, the key, and what was asked.
    pub idempotency: Option<Idempotency>,
    /// The name of a record's or task's key: what is parked under it holds this up as well.
    pub key: Option<String>,
}

/// A caller's `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Caller and route: two callers' equal keys are two keys.
    pub scope: String,
    /// The key.
    pub key: String,
    /// SHA-256 of what was asked.
    pub body_hash: [u8; 32],
}

/// What became of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Decided and stored; with the caller's answer if it was a command.
    Done(Option<Answer>),
    /// A command that was refused, with the problem for its caller.
    Refused(Problem),
    /// The input can't be processed; the caller of the engine parks it.
    Parked(Fault),
    /// Its aggregate or key is parked, so this input has to wait behind what is.
    Held {
        /// Under what.
        behind: String,
    },
    /// Its claim no longer stands: somebody else has done it. Nothing was decided.
    Lost,
}
