//! A participant with one thing changed: how a bug gets into a world without standing in the service.

use std::fmt;

use farandole::{Answer, Body, Decision, IdempotencyKey, Input, Keys, Participant, Refusal, Tasks};
use serde::Serialize;
use serde::de::DeserializeOwned;

type Decide<P> = Box<
    dyn Fn(
            &P,
            &<P as Participant>::Tables,
            &<P as Participant>::Id,
            &Input<P>,
        ) -> Result<Decision<<P as Participant>::Event>, Refusal>
        + Send
        + Sync,
>;
type Evolve<P> = Box<dyn Fn(&P, &mut <P as Participant>::Tables, &<P as Participant>::Event) + Send + Sync>;
type FollowUp<P> = Box<dyn Fn(&P, &<P as Participant>::Event) -> Tasks<P> + Send + Sync>;
type Idempotency<P> = Box<dyn Fn(&<P as Participant>::Effect) -> IdempotencyKey + Send + Sync>;
type Touches<P> = Box<dyn Fn(&P, &<P as Participant>::Id, &Input<P>) -> Keys + Send + Sync>;

/// `P`, of which some functions are others.
pub struct Changed<P: Participant> {
    inner: P,
    decide: Option<Decide<P>>,
    evolve: Option<Evolve<P>>,
    follow_up: Option<FollowUp<P>>,
    touches: Option<Touches<P>>,
    idempotency: Option<Idempotency<P>>,
}

impl<P: Participant> fmt::Debug for Changed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Changed({:?})", self.inner)
    }
}

impl<P: Participant> Changed<P> {
    /// As it is.
    pub fn new(inner: P) -> Self {
        Self { inner, decide: None, evolve: None, follow_up: None, touches: None, idempotency: None }
    }

    /// Decides otherwise.
    #[must_use]
    pub fn decide(
        mut self,
        decide: impl Fn(&P, &P::Tables, &P::Id, &Input<P>) -> Result<Decision<P::Event>, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.decide = Some(Box::new(decide));
        self
    }

    /// Applies events otherwise.
    #[must_use]
    pub fn evolve(mut self, evolve: impl Fn(&P, &mut P::Tables, &P::Event) + Send + Sync + 'static) -> Self {
        self.evolve = Some(Box::new(evolve));
        self
    }

    /// Opens and closes other tasks.
    #[must_use]
    pub fn follow_up(mut self, follow_up: impl Fn(&P, &P::Event) -> Tasks<P> + Send + Sync + 'static) -> Self {
        self.follow_up = Some(Box::new(follow_up));
        self
    }

    /// Asks under other keys.
    #[must_use]
    pub fn idempotency(mut self, key: impl Fn(&P::Effect) -> IdempotencyKey + Send + Sync + 'static) -> Self {
        self.idempotency = Some(Box::new(key));
        self
    }

    /// Names other rows.
    #[must_use]
    pub fn touches(mut self, touches: impl Fn(&P, &P::Id, &Input<P>) -> Keys + Send + Sync + 'static) -> Self {
        self.touches = Some(Box::new(touches));
        self
    }
}

/// The input as the participant itself takes it.
fn own<P: Participant>(input: &Input<Changed<P>>) -> Input<P> {
    let body = match &input.body {
        Body::Heard(heard) => Body::Heard(heard.clone()),
        Body::Command(command) => Body::Command(copy(command)),
        Body::Deadline(deadline) => Body::Deadline(*deadline),
        Body::Outcome { effect, outcome } => Body::Outcome { effect: effect.clone(), outcome: copy(outcome) },
    };
    Input { id: input.id, at: input.at, body }
}

/// Commands and outcomes are stored and sent, so they can be written and read; they needn't be `Clone`.
fn copy<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let copied = serde_json::to_value(value).and_then(serde_json::from_value);
    copied.unwrap_or_else(|error| panic!("a command or outcome can't be read back: {error}"))
}

impl<P: Participant> Participant for Changed<P> {
    const NAME: &'static str = P::NAME;
    type Id = P::Id;
    type Event = P::Event;
    type Heard = P::Heard;
    type Command = P::Command;
    type Deadline = P::Deadline;
    type Effect = P::Effect;
    type Tables = P::Tables;

    fn aggregate(&self, heard: &P::Heard) -> Option<P::Id> {
        self.inner.aggregate(heard)
    }
    fn touches(&self, id: &P::Id, input: &Input<Self>) -> Keys {
        let input = own(input);
        self.touches.as_ref().map_or_else(|| self.inner.touches(id, &input), |touches| touches(&self.inner, id, &input))
    }
    fn touches_more(&self, tables: &P::Tables, id: &P::Id, input: &Input<Self>) -> Keys {
        self.inner.touches_more(tables, id, &own(input))
    }
    fn decide(&self, tables: &P::Tables, id: &P::Id, input: &Input<Self>) -> Result<Decision<P::Event>, Refusal> {
        let input = own(input);
        match &self.decide {
            Some(decide) => decide(&self.inner, tables, id, &input),
            None => self.inner.decide(tables, id, &input),
        }
    }
    fn evolve(&self, tables: &mut P::Tables, event: &P::Event) {
        match &self.evolve {
            Some(evolve) => evolve(&self.inner, tables, event),
            None => self.inner.evolve(tables, event),
        }
    }
    fn follow_up(&self, event: &P::Event) -> Tasks<Self> {
        self.follow_up.as_ref().map_or_else(|| self.inner.follow_up(event), |follow_up| follow_up(&self.inner, event))
    }
    fn answer(&self, events: &[P::Event]) -> Answer {
        self.inner.answer(events)
    }
    fn idempotency(&self, effect: &P::Effect) -> IdempotencyKey {
        self.idempotency.as_ref().map_or_else(|| self.inner.idempotency(effect), |key| key(effect))
    }
}
